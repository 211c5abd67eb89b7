"""The network: a backbone, a feature pyramid (Lin et al. 2017, arXiv:1612.03144), and two heads for all levels."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts import kernels
from jdarts.config.training import PYRAMID_CHANNELS
from jdarts.detection.anchors import PER_PLACE
from jdarts.errors import UserError
from jdarts.ops.initializers import constant, uniform

CONVOLUTIONS = 4
"""In front of the last one of a head."""
PRIOR = 0.01
"""Probability of every class at the start."""


class LevelOutputs(NamedTuple):
    """Outputs of a level: logits `[N, h, w, 9, K]` and coded boxes `[N, h, w, 9, 4]`."""

    classes: jax.Array
    boxes: jax.Array


class BiasedConvolution(nn.Module):
    """A convolution with bias; its initial weights have the standard deviation `spread`."""

    channels: int
    kernel: int
    spread: float
    stride: int = 1
    bias: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[N, h, w, ·]` → `[N, ⌈h/stride⌉, ⌈w/stride⌉, channels]`."""
        shape = (self.kernel, self.kernel, x.shape[-1], self.channels)
        kernel = self.param("kernel", uniform(self.spread * math.sqrt(3)), shape)
        bias = self.param("bias", constant(self.bias), (self.channels,))
        return kernels.convolution(x, kernel, stride=self.stride, padding=self.kernel // 2) + bias


def _xavier(fan_in: int, fan_out: int, kernel: int) -> float:
    """Glorot & Bengio's standard deviation."""
    return math.sqrt(2 / (kernel * kernel * (fan_in + fan_out)))


class Pyramid(nn.Module):
    """Features of the strides 8, 16, 32 → features of `channels` of the strides 8, 16, 32, 64, 128.

    The coarsest two are convolutions of stride 2, of the last feature of the backbone and of each other.
    """

    channels: int

    @nn.compact
    def __call__(self, features: list[jax.Array]) -> list[jax.Array]:
        """`[N, h, w, ·]` of falling resolution, each half of the one before, rounded up."""
        channels = self.channels
        sides = [
            BiasedConvolution(channels, 1, _xavier(x.shape[-1], channels, 1), name=f"lateral_{i}")(x)
            for i, x in enumerate(features)
        ]
        for i in reversed(range(len(sides) - 1)):
            _, height, width, _ = sides[i].shape
            larger = jnp.repeat(jnp.repeat(sides[i + 1], 2, 1), 2, 2)[:, :height, :width]
            sides[i] = sides[i] + larger
        spread = _xavier(channels, channels, 3)
        levels = [BiasedConvolution(channels, 3, spread, name=f"output_{i}")(x) for i, x in enumerate(sides)]
        x = features[-1]
        for i in range(len(sides), len(sides) + 2):
            x = BiasedConvolution(channels, 3, _xavier(x.shape[-1], channels, 3), stride=2, name=f"output_{i}")(x)
            levels.append(x)
        return levels


class Heads(nn.Module):
    """Classes and boxes at every place, with the same weights for all levels.

    The initial standard deviation is 0.01 for 256 channels, as in RetinaNet; for fewer channels it is larger, so that
    the outputs keep their spread.
    """

    classes: int
    channels: int

    def setup(self):
        """Two times four convolutions, and a last one each."""
        spread = 0.01 * math.sqrt(PYRAMID_CHANNELS / self.channels)
        self.class_layers = [BiasedConvolution(self.channels, 3, spread) for _ in range(CONVOLUTIONS)]
        self.box_layers = [BiasedConvolution(self.channels, 3, spread) for _ in range(CONVOLUTIONS)]
        bias = -math.log((1 - PRIOR) / PRIOR)
        self.class_output = BiasedConvolution(PER_PLACE * self.classes, 3, spread, bias=bias)
        self.box_output = BiasedConvolution(PER_PLACE * 4, 3, spread)

    def __call__(self, levels: list[jax.Array]) -> list[LevelOutputs]:
        """Apply to the features of every level."""
        return [
            LevelOutputs(
                self._applied(self.class_layers, self.class_output, x),
                self._applied(self.box_layers, self.box_output, x),
            )
            for x in levels
        ]

    def _applied(self, layers: Any, last: BiasedConvolution, x: jax.Array) -> jax.Array:
        for layer in layers:
            x = kernels.relu(layer(x))
        y = last(x)
        return y.reshape(*y.shape[:3], PER_PLACE, -1)


class RetinaNet(nn.Module):
    """Backbone, pyramid and heads.

    Attributes:
      backbone: `(images, train, drop_path) -> (features, None)` with features of the strides 8, 16 and 32
        (`jdarts.networks.backbones`, `jdarts.detection.resnet`); finer ones are not used.
      classes: of objects.
      channels: of the pyramid and the hidden layers of the heads.

    With a ResNet-50 and 80 classes it has 37,968,692 parameters, as in MMDetection.
    """

    backbone: Any
    classes: int
    channels: int = PYRAMID_CHANNELS

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool, drop_path: jax.Array | float = 0.0
    ) -> tuple[list[LevelOutputs], None]:
        """`images [N, H, W, 3]`, sides divisible by 32 → the outputs of each level."""
        features, _ = self.backbone(images, train, drop_path)
        wanted = [x for x in features if images.shape[1] // x.shape[1] >= 8]
        check_strides([images.shape[1] // x.shape[1] for x in wanted])
        levels = Pyramid(self.channels, name="neck")(wanted)
        return Heads(self.classes, self.channels, name="head")(levels), None


def check_strides(strides: list[int]) -> None:
    """Raise `UserError` unless a backbone ends in features of the strides 8, 16 and 32."""
    if strides != [8, 16, 32]:
        raise UserError(
            f"the backbone has features of the strides {strides or 'below 8'}, and a detector needs 8, 16 and 32; use "
            "--train.stem imagenet, or a mobile network"
        )
