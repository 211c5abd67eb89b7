"""The classes of exported networks of cells, in Flax alone: their source is copied into the exported file.

Images are `[N, H, W, C]`. Names of variables are those of jdarts' own modules, so that weights need no other order.
"""

from functools import reduce

import jax
import jax.numpy as jnp
from flax import linen as nn

EPSILON, MOMENTUM = 1e-5, 0.9


def norm(train: bool, name: str):
    """Batch norm over batch and pixels, with scale and shift."""
    return nn.BatchNorm(use_running_average=not train, momentum=MOMENTUM, epsilon=EPSILON, name=name)


def conv(channels: int, kernel: int | tuple[int, int], stride: int | tuple[int, int] = 1, name: str = "conv"):
    """A convolution without bias, padded by half of its kernel on all sides."""
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = [(side // 2, side // 2) for side in sides]
    return nn.Conv(channels, sides, stride, padding, use_bias=False, name=name)


def depthwise(channels: int, kernel: int, stride: int = 1, dilation: int = 1, name: str = "depthwise"):
    """A convolution of every channel by itself, without bias, padded so that stride 1 keeps the size."""
    reach = dilation * (kernel // 2)
    return nn.Conv(
        channels,
        (kernel, kernel),
        stride,
        [(reach, reach), (reach, reach)],
        kernel_dilation=dilation,
        feature_group_count=channels,
        use_bias=False,
        name=name,
    )


def max_pool(x, stride: int):
    """3 × 3 max pooling, as maxima of three shifted images each way, which converters to other formats understand."""
    for axis in (1, 2):
        size, first = x.shape[axis], jax.lax.slice_in_dim(x, 0, 1, axis=axis)
        outside = jnp.full_like(first, -jnp.inf)
        x = jnp.concatenate([outside, x, outside], axis)
        x = reduce(jnp.maximum, [jax.lax.slice_in_dim(x, i, i + size, stride, axis) for i in range(3)])
    return x


def avg_pool(x, stride: int):
    """3 × 3 average pooling over the pixels inside the image."""
    sides = {"window_shape": (3, 3), "strides": (stride, stride), "padding": ((1, 1), (1, 1))}
    return nn.avg_pool(x, **sides, count_include_pad=False)


class PlainStem(nn.Module):
    """3 × 3 convolution and batch norm."""

    channels: int

    @nn.compact
    def __call__(self, images, train: bool):
        """`[N, H, W, ·]` → `[N, H, W, channels]`."""
        return norm(train, "norm")(conv(self.channels, 3)(images))


class StemByEight(nn.Module):
    """Three 3 × 3 convolutions of stride 2 with batch norm; ReLU in front of the second and third."""

    channels: int

    @nn.compact
    def __call__(self, images, train: bool):
        """`[N, H, W, ·]` → `[N, H/4, W/4, channels]` and `[N, H/8, W/8, channels]`."""
        half = norm(train, "norm_1")(conv(self.channels // 2, 3, 2, "conv_1")(images))
        s0 = norm(train, "norm_2")(conv(self.channels, 3, 2, "conv_2")(nn.relu(half)))
        return s0, norm(train, "norm_3")(conv(self.channels, 3, 2, "conv_3")(nn.relu(s0)))


class ConvOfCell(nn.Module):
    """ReLU, k × k convolution, batch norm."""

    channels: int
    kernel: int
    stride: int = 1

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, ·]` → `[N, H/stride, W/stride, channels]`."""
        return norm(train, "norm")(conv(self.channels, self.kernel, self.stride)(nn.relu(x)))


class Preprocess(nn.Module):
    """ReLU, 1 × 1 convolution, batch norm: gives an input of a cell the number of its channels."""

    channels: int

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, ·]` → `[N, H, W, channels]`."""
        return norm(train, "norm_1")(conv(self.channels, 1, name="conv_1")(nn.relu(x)))


class FactorizedHalving(nn.Module):
    """Halve the image: ReLU, two 1 × 1 convolutions of stride 2, the second shifted by one pixel, batch norm."""

    channels: int

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, ·]` with even H and W → `[N, H/2, W/2, channels]`."""
        x = nn.relu(x)
        even = conv(self.channels // 2, 1, 2, "conv_1")(x)
        odd = conv(self.channels // 2, 1, 2, "conv_2")(x[:, 1:, 1:])
        return norm(train, "norm_1")(jnp.concatenate([even, odd], axis=-1))


class SeparableConv(nn.Module):
    """ReLU, depthwise convolution, 1 × 1 convolution, batch norm; twice, with the stride in the first."""

    channels: int
    kernel: int
    stride: int = 1

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, channels]` → `[N, H/stride, W/stride, channels]`."""
        for i, stride in ((1, self.stride), (2, 1)):
            x = depthwise(self.channels, self.kernel, stride, name=f"depthwise_{i}")(nn.relu(x))
            x = norm(train, f"norm_{i}")(conv(self.channels, 1, name=f"pointwise_{i}")(x))
        return x


class DilatedConv(nn.Module):
    """ReLU, depthwise convolution with dilation 2, 1 × 1 convolution, batch norm."""

    channels: int
    kernel: int
    stride: int = 1

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, channels]` → `[N, H/stride, W/stride, channels]`."""
        x = depthwise(self.channels, self.kernel, self.stride, dilation=2, name="depthwise_1")(nn.relu(x))
        return norm(train, "norm_1")(conv(self.channels, 1, name="pointwise_1")(x))


class ConvOneBySeven(nn.Module):
    """ReLU, 1 × 7 convolution, 7 × 1 convolution, batch norm."""

    channels: int
    stride: int = 1

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, channels]` → `[N, H/stride, W/stride, channels]`."""
        x = conv(self.channels, (1, 7), (1, self.stride), "conv_1x7")(nn.relu(x))
        return norm(train, "norm_1")(conv(self.channels, (7, 1), (self.stride, 1), "conv_7x1")(x))


class ResidualHalving(nn.Module):
    """Halve the image: two 3 × 3 convolutions beside 2 × 2 averages and a 1 × 1 convolution."""

    channels: int

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, channels/2]` → `[N, H/2, W/2, channels]`."""
        y = ConvOfCell(self.channels, 3, 2, name="conv_a")(x, train)
        y = ConvOfCell(self.channels, 3, name="conv_b")(y, train)
        averages = nn.avg_pool(x, window_shape=(2, 2), strides=(2, 2))
        return nn.Dense(self.channels, use_bias=False, name="shortcut")(averages) + y
