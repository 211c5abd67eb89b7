"""The classes of exported mobile networks, in Flax alone: their source is copied into the exported file.

Images are `[N, H, W, C]`; a layer of stride 2 turns n pixels into ⌈n/2⌉.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

EPSILON, MOMENTUM = 1e-5, 0.9
AFFINE, SAME_PADDING = True, False


def linear(x):
    """No activation."""
    return x


def relu6(x):
    """The positive part, at most 6."""
    return jnp.minimum(jnp.maximum(x, 0), 6)


class NormedConv(nn.Module):
    """Convolution without bias, batch norm, activation; `depthwise` convolves every channel by itself."""

    channels: int
    kernel: int = 1
    stride: int = 1
    activation: Callable = linear
    depthwise: bool = False

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, ·]` → `[N, ⌈H/stride⌉, ⌈W/stride⌉, channels]`."""
        half = self.kernel // 2
        padding = "SAME" if SAME_PADDING else [(half, half), (half, half)]
        groups = self.channels if self.depthwise else 1
        size = {"kernel_size": (self.kernel, self.kernel), "strides": self.stride, "padding": padding}
        x = nn.Conv(self.channels, **size, feature_group_count=groups, use_bias=False, name="conv")(x)
        moments = {"use_running_average": not train, "momentum": MOMENTUM, "epsilon": EPSILON}
        return self.activation(nn.BatchNorm(**moments, use_bias=AFFINE, use_scale=AFFINE, name="norm")(x))


class SqueezeAndExcite(nn.Module):
    """Every channel times a number in (0, 1) that two linear layers compute from the means of all channels."""

    squeezed: int
    activation: Callable

    @nn.compact
    def __call__(self, x):
        """`[N, H, W, C]` → the same shape."""
        hidden = self.activation(nn.Dense(self.squeezed, name="down")(x.mean((1, 2))))
        gates = jax.nn.sigmoid(nn.Dense(x.shape[-1], name="up")(hidden))
        return x * gates[:, None, None, :]


class InvertedResidual(nn.Module):
    """1 × 1 convolution to expansion · inputs, depthwise k × k convolution, linear 1 × 1 convolution.

    `squeezed` is the width of squeeze-and-excitation, 0 for none. `skip` adds the input ("identity") or its 3 × 3
    maxima ("pool").
    """

    width: int
    expansion: int
    kernel: int
    stride: int
    activation: Callable
    squeezed: int = 0
    skip: str = "none"

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, ·]` → `[N, ⌈H/stride⌉, ⌈W/stride⌉, width]`."""
        inner, y = self.expansion * x.shape[-1], x
        if self.expansion > 1:
            y = NormedConv(inner, activation=self.activation, name="expand")(y, train)
        y = NormedConv(inner, self.kernel, self.stride, self.activation, depthwise=True, name="depthwise")(y, train)
        if self.squeezed:
            y = SqueezeAndExcite(self.squeezed, self.activation, name="squeeze_excite")(y)
        y = NormedConv(self.width, name="project")(y, train)
        return with_skip(x, y, self.skip)


class ConvLayer(nn.Module):
    """Convolution, batch norm, activation; `squeezed` and `skip` as in `InvertedResidual`."""

    width: int
    kernel: int
    stride: int
    activation: Callable
    squeezed: int = 0
    skip: str = "none"

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, ·]` → `[N, ⌈H/stride⌉, ⌈W/stride⌉, width]`."""
        y = NormedConv(self.width, self.kernel, self.stride, self.activation, name="conv")(x, train)
        if self.squeezed:
            y = SqueezeAndExcite(self.squeezed, self.activation, name="squeeze_excite")(y)
        return with_skip(x, y, self.skip)


class Projection(nn.Module):
    """The identity where width or size change: a linear 1 × 1 convolution with batch norm."""

    width: int
    stride: int

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, ·]` → `[N, ⌈H/stride⌉, ⌈W/stride⌉, width]`."""
        return NormedConv(self.width, stride=self.stride, name="project")(x, train)


class ShuffleUnit(nn.Module):
    """A block of ShuffleNet v2: every other channel passes by; at stride 2 all channels pass a bypass and the block."""

    width: int
    kernel: int
    stride: int
    activation: Callable

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, ·]` → `[N, ⌈H/stride⌉, ⌈W/stride⌉, width]`."""
        bypass, main = split_channels_of_shuffle(self, x, train)
        inputs, middle = main.shape[-1], self.width // 2
        main = NormedConv(middle, activation=self.activation, name="expand")(main, train)
        main = NormedConv(middle, self.kernel, self.stride, depthwise=True, name="depthwise")(main, train)
        main = NormedConv(self.width - inputs, activation=self.activation, name="project")(main, train)
        return jnp.concatenate([bypass, main], axis=-1)


class XceptionUnit(nn.Module):
    """The block of SPOS with three depthwise convolutions; bypass as in `ShuffleUnit`."""

    width: int
    stride: int
    activation: Callable
    kernel: int = 3

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, ·]` → `[N, ⌈H/stride⌉, ⌈W/stride⌉, width]`."""
        bypass, main = split_channels_of_shuffle(self, x, train)
        inputs, middle = main.shape[-1], self.width // 2
        main = NormedConv(inputs, 3, self.stride, depthwise=True, name="depthwise_1")(main, train)
        main = NormedConv(middle, activation=self.activation, name="point_1")(main, train)
        main = NormedConv(middle, 3, depthwise=True, name="depthwise_2")(main, train)
        main = NormedConv(middle, activation=self.activation, name="point_2")(main, train)
        main = NormedConv(middle, 3, depthwise=True, name="depthwise_3")(main, train)
        main = NormedConv(self.width - inputs, activation=self.activation, name="project")(main, train)
        return jnp.concatenate([bypass, main], axis=-1)


def split_channels_of_shuffle(unit, x, train: bool):
    """Bypass and input of the block: channels 0, 2, … and 1, 3, …; at stride 2 a projection of all, and all."""
    if unit.stride == 1:
        return x[..., ::2], x[..., 1::2]
    inputs = x.shape[-1]
    bypass = NormedConv(inputs, unit.kernel, 2, depthwise=True, name="bypass_depthwise")(x, train)
    return NormedConv(inputs, activation=unit.activation, name="bypass_project")(bypass, train), x


def with_skip(x, y, skip: str):
    """`y`, plus `x` or the 3 × 3 maxima of `x` if there is a skip."""
    if skip == "identity":
        return y + x
    if skip == "pool":
        return y + nn.max_pool(x, window_shape=(3, 3), strides=(1, 1), padding="SAME")
    return y
