"""The maps of the candidate ops on arrays, each in the forms that `jdarts.kernels` describes, with its letters."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jdarts.kernels import norm_primitives, platform
from jdarts.kernels.joint_norm import standardise_each
from jdarts.kernels.linear_primitives import Geometry, box_sum, depthwise_shift, shifted_max_tap, take_tap
from jdarts.kernels.platform import Impl


def cut(x: jax.Array) -> jax.Array:
    """Identity that ends a fusion, forward and backward; does nothing off the CPU.

    XLA:CPU fuses a node's whole gradient into each of its consumers, which repeats the work and defeats
    vectorisation. A barrier cuts the graph where a person would. XLA:CPU keeps it only under
    `jdarts.staging.compiler_options`.
    """
    return x if platform.on_accelerator() else lax.optimization_barrier(x)


def depthwise(x, kernel, *, stride: int = 1, dilation: int = 1, impl: Impl = "auto", margin: int = 0):
    """Depthwise k × k convolution with symmetric padding `dilation·(k−1)/2`.

    `x [N, H, W, C]`, `kernel [k, k, C]` (k odd) → `[N, ⌈H/stride⌉, ⌈W/stride⌉, C]`. Alone it has no form `dense`,
    which is `conv` here. Convolutions of the same `x` that agree on a `margin`, the largest padding among them, share
    one padded image in the form `shift`; it changes no numbers.
    """
    k = kernel.shape[0]
    geometry = Geometry(k, stride, dilation, x.shape[1], x.shape[2])
    if platform.resolve(impl) == "shift":
        return depthwise_shift(x, kernel, geometry._replace(margin=margin))
    padding = dilation * (k - 1) // 2
    return lax.conv_general_dilated(
        x,
        kernel[:, :, None, :],
        window_strides=(stride, stride),
        padding=[(padding, padding)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def pointwise(x, kernel):
    """1 × 1 convolution of T parallel edges: `x [N, H, W, T·C]`, `kernel [T, C, D]` → `[N, H, W, T·D]`.

    T > 1 multiplies by the block-diagonal matrix of the T kernels: T times the arithmetic of separate products, but
    one operation, and small products are bound by their number.
    """
    edges, c, d = kernel.shape
    if edges == 1:
        return cut(product(x, kernel[0]))
    blocks = kernel[:, :, None, :] * jnp.eye(edges, dtype=kernel.dtype)[:, None, :, None]
    return product(x, blocks.reshape(edges * c, edges * d))


def product(x, matrix):
    """`x @ matrix` for `x […, n]` and `matrix [n, m]`, computed as a product of two matrices.

    XLA:CPU would copy a transposed operand for the gradient by `matrix` if `x` had more axes.
    """
    return (x.reshape(-1, x.shape[-1]) @ matrix).reshape(*x.shape[:-1], matrix.shape[-1])


def separable(
    x, depth_kernel, point_kernel, *, stride: int = 1, dilation: int = 1, impl: Impl = "auto", margin: int = 0
):
    """Depthwise, then 1 × 1 convolution, of T parallel edges.

    `x [N, H, W, C]`, which all edges read, or `[N, H, W, T·C]`; `depth_kernel [T, k, k, C]`, `point_kernel [T, C, D]`
    → `[N, ⌈H/stride⌉, ⌈W/stride⌉, T·D]`. `margin`: see `depthwise`.
    """
    edges, k, _, c = depth_kernel.shape
    if platform.resolve(impl) == "dense":
        if takes_phases(x, stride, dilation, impl):
            return from_phases(separable(to_phases(x), depth_kernel, point_kernel, impl=impl))
        kernel = jnp.moveaxis(depth_kernel[..., None] * point_kernel[:, None, None], 0, 3)  # [k, k, C, T, D]
        return _dense(x, kernel, stride, dilation)
    if x.shape[-1] != edges * c:
        x = cut(jnp.tile(x, (1, 1, 1, edges)))
    side_by_side = depth_kernel[0] if edges == 1 else jnp.moveaxis(depth_kernel, 0, 2).reshape(k, k, edges * c)
    y = depthwise(x, side_by_side, stride=stride, dilation=dilation, impl=impl, margin=margin)
    return pointwise(y, point_kernel)


_BLOCK_CHANNELS = 16  # up to so many an edge, zeros beside the blocks cost less than a call for each


def _dense(x, kernel, stride: int, dilation: int):
    """Convolution of T edges with dense kernels `[k, k, C, T, D]`; `x [N, H, W, C]`, or `[N, H, W, T·C]`.

    cuDNN takes grouped convolutions apart into calls for each group where groups are narrow; those are block-diagonal
    here. A dilation of 2 at stride 2 sees every other pixel alone.
    """
    k, _, c, edges, d = kernel.shape
    groups = x.shape[-1] // c
    if groups > 1 and c <= _BLOCK_CHANNELS:
        kernel = kernel[:, :, None] * jnp.eye(edges, dtype=kernel.dtype)[:, None, :, None]
        groups = 1
    if dilation == stride == 2 and x.shape[1] % 2 == x.shape[2] % 2 == 0:
        x, stride, dilation = x[:, ::2, ::2], 1, 1
    padding = dilation * (k - 1) // 2
    return lax.conv_general_dilated(
        x,
        kernel.reshape(k, k, -1, edges * d),
        window_strides=(stride, stride),
        padding=[(padding, padding)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def takes_phases(x, stride: int, dilation: int, impl: Impl = "auto") -> bool:
    """True if a convolution of `x` is carried out on the four images of every other pixel.

    There a dilation of 2 is a plain convolution; cuDNN is several times slower at dilated ones.
    """
    dense = platform.resolve(impl) == "dense"
    return dense and stride == 1 and dilation == 2 and x.shape[1] % 2 == x.shape[2] % 2 == 0


def to_phases(x):
    """Every other pixel as an image of its own: `[N, H, W, C]` with even H and W → `[4·N, H/2, W/2, C]`."""
    n, h, w, c = x.shape
    phases = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 2, 4, 1, 3, 5)
    return phases.reshape(4 * n, h // 2, w // 2, c)


def from_phases(x):
    """The inverse of `to_phases`."""
    n, h, w, c = x.shape
    whole = x.reshape(n // 4, 2, 2, h, w, c).transpose(0, 3, 1, 4, 2, 5)
    return whole.reshape(n // 4, 2 * h, 2 * w, c)


def halve(x, first, second, *, impl: Impl = "auto"):
    """Two 1 × 1 convolutions of stride 2 of T parallel edges, the second shifted by one pixel each way.

    `x [N, H, W, C]` with even H and W, `first, second [T, C, D]` → `[N, H/2, W/2, T·2D]`, an edge's D channels of the
    first before those of the second. Form `dense` is one convolution of 2 × 2 pixels with zeros off the diagonal.
    """
    edges, c, d = first.shape
    if platform.resolve(impl) == "dense":
        zero = jnp.zeros((c, edges, d), first.dtype)
        corners = (jnp.stack((first.swapaxes(0, 1), zero), 2), jnp.stack((zero, second.swapaxes(0, 1)), 2))
        nothing = jnp.zeros_like(corners[0])
        kernel = jnp.stack((corners[0], nothing, nothing, corners[1])).reshape(2, 2, c, edges * 2 * d)
        return convolution(x, kernel, stride=2)
    halves = []
    for view, kernel in ((x[:, ::2, ::2], first), (x[:, 1::2, 1::2], second)):
        y = product(view, kernel.transpose(1, 0, 2).reshape(c, edges * d))
        halves.append(y.reshape(*y.shape[:3], edges, d))
    y = jnp.concatenate(halves, axis=-1)
    return y.reshape(*y.shape[:3], edges * 2 * d)


def convolution(x, kernel, *, stride: int | tuple[int, int] = 1, padding: int | tuple[int, int] = 0):
    """Dense convolution, `x [N, H, W, C]`, `kernel [kh, kw, C, D]`; stride and padding for (rows, columns)."""
    strides = (stride, stride) if isinstance(stride, int) else stride
    pads = (padding, padding) if isinstance(padding, int) else padding
    return lax.conv_general_dilated(
        x, kernel, strides, [(p, p) for p in pads], dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def max_pool(x, *, stride: int = 1, impl: Impl = "auto"):
    """3 × 3 max pooling, padding 1 with −∞: `[N, H, W, C]` → `[N, ⌈H/stride⌉, ⌈W/stride⌉, C]`.

    Among equal pixels the gradient goes to the first in row order, as in PyTorch.
    """
    if platform.resolve(impl) != "conv":
        geometry = Geometry(3, stride, 1, x.shape[1], x.shape[2])
        return take_tap(x, shifted_max_tap(lax.stop_gradient(x), geometry), geometry)
    window = (1, 3, 3, 1)
    pads = ((0, 0), (1, 1), (1, 1), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, window, (1, stride, stride, 1), pads)


def avg_pool(x, *, stride: int = 1, impl: Impl = "auto"):
    """3 × 3 average pooling, padding 1, divided by the taps inside the image (`count_include_pad=False`)."""
    geometry = Geometry(3, stride, 1, x.shape[1], x.shape[2])
    if platform.resolve(impl) in ("shift", "dense"):
        sums = box_sum(x, geometry)
    else:
        pads = ((0, 0), (1, 1), (1, 1), (0, 0))
        sums = lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, stride, stride, 1), pads)
    return sums / _taps_inside(geometry).astype(x.dtype)


def _taps_inside(geometry: Geometry) -> np.ndarray:
    """Number of the nine taps that lie inside the image, `[1, H', W', 1]`."""
    counts = []
    for size, out in zip((geometry.height, geometry.width), geometry.out_size, strict=True):
        start = np.arange(out) * geometry.stride - 1
        counts.append(np.minimum(start + 3, size) - np.maximum(start, 0))
    return (counts[0][:, None] * counts[1][None, :])[None, :, :, None]


def standardise(x, eps: float, axis_name: str | None = None):
    """`(x − mean) / √(var + eps)` per channel with the batch statistics of `x [N, H, W, C]`.

    Returns `(y, mean [C], biased variance [C])`, in float32 also for 16-bit `x`; with `axis_name` the statistics are
    means over that mesh axis too.
    """
    if platform.on_accelerator():
        (y,), mean, var = standardise_each([x], (False,), eps, axis_name)
        return y, mean, var
    return norm_primitives.standardise(x, eps, axis_name)


def normalise(x, scale, bias, eps: float, axis_name: str | None = None):
    """`scale · (x − mean) / √(var + eps) + bias` with the batch statistics of `x [N, H, W, C]`; see `standardise`.

    Returns `(result, mean [C], biased variance [C])`; the result has the dtype of `x` where scale and bias have it.
    """
    if not platform.on_accelerator() and axis_name is None and x.dtype == scale.dtype and x.dtype.itemsize >= 4:
        return norm_primitives.normalise(x, scale, bias, eps)
    y, mean, var = standardise(x, eps, axis_name)
    return y.astype(x.dtype) * scale + bias, mean, var
