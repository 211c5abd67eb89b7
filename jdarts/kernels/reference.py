"""Each map of the candidate ops in a few lines of `lax`: the definition of all fast forms, and their test oracle.

Letters: N images, H × W pixels, C channels of one edge, k the size of a kernel. Arrays are channels-last,
`[N, H, W, C]`; a stride divides H and W, rounding up. Semantics are those of PyTorch: padding is symmetric, and pooling
ignores pixels outside the image. All maps can be differentiated any number of times, in both modes.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_map = lambda *static: partial(jax.jit, static_argnames=static)  # noqa: E731  traced once for each shape
_POOL = {"window_dimensions": (1, 3, 3, 1), "padding": ((0, 0), (1, 1), (1, 1), (0, 0))}


@jax.jit
def relu(x):
    """max(x, 0); its derivative at 0 is 0."""
    return jnp.where(x > 0, x, 0)


@_map("stride", "padding")
def convolution(x, kernel, *, stride: int = 1, padding: int = 0):
    """Dense convolution with `kernel [k, k, C, D]` → `[N, H', W', D]`."""
    return lax.conv_general_dilated(x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=_LAYOUT)


@_map("stride", "dilation")
def depthwise(x, kernel, *, stride: int = 1, dilation: int = 1):
    """Depthwise convolution with `kernel [k, k, C]`, k odd, padded so that only a stride reduces the image size."""
    pad = dilation * (kernel.shape[0] - 1) // 2
    options = {"rhs_dilation": (dilation, dilation), "dimension_numbers": _LAYOUT, "feature_group_count": x.shape[-1]}
    return lax.conv_general_dilated(x, kernel[:, :, None], (stride, stride), [(pad, pad)] * 2, **options)


@jax.jit
def pointwise(x, kernel):
    """1 × 1 convolution with `kernel [C, D]` → `[N, H, W, D]`."""
    return jnp.einsum("nhwc,cd->nhwd", x, kernel)


@_map("stride", "dilation")
def separable(x, depth_kernel, point_kernel, *, stride: int = 1, dilation: int = 1):
    """ReLU, depthwise convolution, 1 × 1 convolution: kernels `[k, k, C]` and `[C, D]`."""
    return pointwise(depthwise(relu(x), depth_kernel, stride=stride, dilation=dilation), point_kernel)


@jax.jit
def halve(x, first, second):
    """Two 1 × 1 convolutions of stride 2, with kernels `[C, D]`, the second shifted by one pixel on both axes → 2D
    channels.
    """
    return jnp.concatenate([pointwise(x[:, ::2, ::2], first), pointwise(x[:, 1::2, 1::2], second)], axis=-1)


@_map("stride")
def max_pool(x, *, stride: int = 1):
    """3 × 3 max pooling. Among equal pixels the gradient goes to the first in row order."""
    h, w = x.shape[1:3]
    padded = jnp.pad(x, _POOL["padding"], constant_values=-jnp.inf)
    taps = jnp.stack([padded[:, i : i + h : stride, j : j + w : stride] for i in range(3) for j in range(3)])
    first = jnp.argmax(lax.stop_gradient(taps), axis=0)
    return jnp.take_along_axis(taps, first[None], axis=0)[0]


@_map("stride")
def avg_pool(x, *, stride: int = 1):
    """3 × 3 average pooling over the pixels inside the image (`count_include_pad=False`)."""
    strides = (1, stride, stride, 1)
    sums, counts = (
        lax.reduce_window(a, np.zeros((), x.dtype), lax.add, window_strides=strides, **_POOL)
        for a in (x, jnp.ones_like(x))
    )
    return sums / counts


@_map("eps")
def standardise(x, eps: float):
    """`(x − mean) / √(var + eps)` per channel over the batch → `(y, mean [C], biased variance [C])`.

    It is computed in float32 or wider; `y` has the dtype of `x`.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean, var = jnp.mean(wide, (0, 1, 2)), jnp.var(wide, (0, 1, 2))
    return ((wide - mean) * lax.rsqrt(var + eps)).astype(x.dtype), mean, var
