"""Layers of NASNet-type networks: `[N, H, W, ·]` → `[N, ⌈H/stride⌉, ⌈W/stride⌉, channels]`.

Padding is TensorFlow's SAME: at stride 2 an image of even size gets one pixel less at its top and left than at its
bottom and right. Convolutions have no bias and are drawn with variance 2 / fan-out (He et al. 2015): from a uniform
distribution, in the release from a truncated normal one.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from jdarts.kernels.reference import relu
from jdarts.ops.batch_norm import BatchNorm
from jdarts.ops.initializers import uniform_fan_out

Sides = tuple[int, int]
_LAYOUT = ("NHWC", "HWIO", "NHWC")


@dataclass(frozen=True)
class NormSettings:
    """Batch norm: ε, weight of a new batch in the running averages, mesh axis of the statistics."""

    eps: float
    momentum: float
    axis_name: str | None = None


class ConvNorm(nn.Module):
    """Convolution and batch norm; `activated` puts a ReLU in front."""

    channels: int
    norm: NormSettings
    kernel: Sides = (1, 1)
    stride: Sides = (1, 1)
    dilation: int = 1
    padding: str = "SAME"
    activated: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to `[N, H, W, ·]`."""
        shape = (*self.kernel, x.shape[-1], self.channels)
        kernel = self.param("kernel", uniform_fan_out(self.kernel[0] * self.kernel[1] * self.channels), shape)
        y = lax.conv_general_dilated(
            relu(x) if self.activated else x.astype(kernel.dtype),
            kernel,
            self.stride,
            self.padding,
            rhs_dilation=(self.dilation, self.dilation),
            dimension_numbers=_LAYOUT,
        )
        return normalise(self.norm, self.channels)(y, train)


class SeparableNorm(nn.Module):
    """ReLU, depthwise convolution, 1 × 1 convolution, batch norm."""

    channels: int
    norm: NormSettings
    kernel: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to `[N, H, W, ·]`."""
        k, c_in, strides = self.kernel, x.shape[-1], (self.stride, self.stride)
        depth = self.param("depthwise", uniform_fan_out(k * k), (k, k, 1, c_in))
        point = self.param("pointwise", uniform_fan_out(self.channels), (1, 1, c_in, self.channels))
        return normalise(self.norm, self.channels)(separable(relu(x), depth, point, strides), train)


class FactorizedReduction(nn.Module):
    """Two 1 × 1 convolutions of stride 2 side by side, the second shifted by one pixel; batch norm. No ReLU.

    A side of odd length n becomes (n + 1)/2: the shifted path reads zeros behind the image. An odd number of channels
    gives the second path one more.
    """

    channels: int
    norm: NormSettings

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to `[N, H, W, ·]`."""
        shifted = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))[:, 1:, 1:]
        halves, widths = [], (self.channels // 2, self.channels - self.channels // 2)
        for i, (path, width) in enumerate(zip((x, shifted), widths, strict=True), start=1):
            kernel = self.param(f"conv_{i}", uniform_fan_out(width), (1, 1, x.shape[-1], width))
            halves.append(lax.conv_general_dilated(path, kernel, (2, 2), "VALID", dimension_numbers=_LAYOUT))
        return normalise(self.norm, self.channels)(jnp.concatenate(halves, -1), train)


def separable(x: jax.Array, depth: jax.Array, point: jax.Array, strides: Sides = (1, 1)) -> jax.Array:
    """A depthwise convolution with `depth [k, k, 1, C]`, then a 1 × 1 convolution with `point [1, 1, C, D]`."""
    y = lax.conv_general_dilated(x, depth, strides, "SAME", dimension_numbers=_LAYOUT, feature_group_count=x.shape[-1])
    return lax.conv_general_dilated(y, point, (1, 1), "SAME", dimension_numbers=_LAYOUT)


def normalise(norm: NormSettings, channels: int) -> BatchNorm:
    """The batch norm of a layer, with scale and shift."""
    return BatchNorm(channels, eps=norm.eps, momentum=norm.momentum, axis_name=norm.axis_name, name="norm")


def pool(x: jax.Array, kind: str, size: int, stride: int) -> jax.Array:
    """`max` or `avg` pooling over the pixels inside the image, padded as SAME."""
    window = {"window_dimensions": (1, size, size, 1), "window_strides": (1, stride, stride, 1), "padding": "SAME"}
    if kind == "max":
        return lax.reduce_window(x, -jnp.inf, lax.max, **window)
    zero = np.zeros((), x.dtype)
    inside = lax.reduce_window(jnp.ones((1, *x.shape[1:3], 1), x.dtype), zero, lax.add, **window)
    return lax.reduce_window(x, zero, lax.add, **window) / inside
