"""Array-level operations of the candidate ops, and the execution form each platform likes best.

Letters: N images, H × W pixels, C channels of one edge, T parallel edges that share a shape. Arrays are channels-last;
T edges lie side by side on the channel axis, `[N, H, W, T·C]`, edge-major, so that one call serves all T.

Every op has a plain reference form (`impl="conv"`: the XLA convolution or window reduction) and a shifted form
(`impl="shift"`: sums of k² shifted slices). They compute the same numbers; `impl="auto"` takes `shift` on CPU, where
XLA's grouped convolution and `reduce_window` are 5 to 20 times slower, and `conv` elsewhere. The shifted forms are
linear primitives (`jdarts.linear_primitives`), so every order and direction of differentiation works in both forms.

Semantics are PyTorch's: symmetric padding, stride counted from the first pixel, `count_include_pad=False`.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jdarts.linear_primitives import Geometry, box_sum, depthwise_shift, shifted_max_tap, take_tap

Impl = Literal["auto", "conv", "shift"]


def resolve(impl: Impl) -> str:
    """The execution form behind `impl` on the default backend."""
    if impl == "auto":
        return "shift" if jax.default_backend() == "cpu" else "conv"
    if impl not in ("conv", "shift"):
        raise ValueError(f"impl is {impl!r}; use 'auto', 'conv' or 'shift'")
    return impl


def cut(x: jax.Array) -> jax.Array:
    """Identity that ends a fusion, forward and backward; does nothing off the CPU.

    XLA:CPU fuses a node's whole gradient into each of its consumers, which repeats the work and defeats
    vectorisation. A barrier cuts the graph where a person would. XLA:CPU keeps it only under
    `CPU_COMPILER_OPTIONS`.
    """
    return lax.optimization_barrier(x) if jax.default_backend() == "cpu" else x


CPU_COMPILER_OPTIONS = {"xla_disable_hlo_passes": "cse_barrier_expander"}


def compiler_options() -> dict[str, str] | None:
    """Options for `jax.jit(..., compiler_options=...)` of a step on the default backend."""
    return dict(CPU_COMPILER_OPTIONS) if jax.default_backend() == "cpu" else None


def depthwise(x, kernel, *, stride: int = 1, dilation: int = 1, impl: Impl = "auto"):
    """Depthwise k × k convolution with symmetric padding `dilation·(k−1)/2`.

    `x [N, H, W, C]`, `kernel [k, k, C]` (k odd) → `[N, ⌈H/stride⌉, ⌈W/stride⌉, C]`.
    """
    k = kernel.shape[0]
    if resolve(impl) == "shift":
        return depthwise_shift(x, kernel, Geometry(k, stride, dilation, x.shape[1], x.shape[2]))
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
    """1 × 1 convolution of T parallel edges: `x [N, H, W, T·C]`, `kernel [T, C, D]` → `[N, H, W, T·D]`."""
    edges, c, _ = kernel.shape
    parts = [x[..., t * c : (t + 1) * c] @ kernel[t] for t in range(edges)]
    return parts[0] if edges == 1 else jnp.concatenate(parts, axis=-1)


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
    if resolve(impl) == "shift":
        geometry = Geometry(3, stride, 1, x.shape[1], x.shape[2])
        return take_tap(x, shifted_max_tap(lax.stop_gradient(x), geometry), geometry)
    window = (1, 3, 3, 1)
    pads = ((0, 0), (1, 1), (1, 1), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, window, (1, stride, stride, 1), pads)


def avg_pool(x, *, stride: int = 1, impl: Impl = "auto"):
    """3 × 3 average pooling, padding 1, divided by the taps inside the image (`count_include_pad=False`)."""
    geometry = Geometry(3, stride, 1, x.shape[1], x.shape[2])
    if resolve(impl) == "shift":
        sums = box_sum(x, geometry)
    else:
        pads = ((0, 0), (1, 1), (1, 1), (0, 0))
        sums = lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, stride, stride, 1), pads)
    return sums / _taps_inside(geometry).astype(x.dtype)


def _taps_inside(geometry: Geometry) -> np.ndarray:
    """How many of the nine taps lie inside the image, `[1, H', W', 1]`."""
    counts = []
    for size, out in zip((geometry.height, geometry.width), geometry.out_size, strict=True):
        start = np.arange(out) * geometry.stride - 1
        counts.append(np.minimum(start + 3, size) - np.maximum(start, 0))
    return (counts[0][:, None] * counts[1][None, :])[None, :, :, None]
