"""Blocks of mobile networks: `[N, H, W, ·]` → `[N, ⌈H/stride⌉, ⌈W/stride⌉, width]`."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts.devices.replicas import Share
from jdarts.genotypes.mobile import MobileFamily, MobileLayer
from jdarts.networks.edges import drop_path as drop_samples
from jdarts.networks.mobile.layers import MobileConv, SqueezeExcite, split_by_parity
from jdarts.networks.nasnet.layers import pool

DropPath = jax.Array | float | None


class MobileBlock(nn.Module):
    """A layer of a mobile architecture (`jdarts.genotypes.mobile.MobileLayer`).

    Attributes:
      layer: its sizes.
      family: conventions of batch norm and padding, and the activation of layers that name none.
      skips: the layer adds its input, or the maxima of its input.
      axis_name: mesh axis over which batch norm takes its statistics.
    """

    layer: MobileLayer
    family: MobileFamily
    skips: bool = False
    axis_name: str | None = None

    def conv(self, channels: int, kernel: int = 1, *, name: str, **changes: Any) -> MobileConv:
        """A convolution with batch norm, and with the activation of the layer unless `activation` is given."""
        activation = self.layer.activation or self.family.activation
        settings = {"activation": activation, "axis_name": self.axis_name, **changes}
        return MobileConv(channels, self.family, kernel, name=name, **settings)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, drop_path: DropPath = None) -> jax.Array:
        """Apply to `[N, H, W, ·]`; `drop_path` is the probability of dropping the output next to a skip."""
        ops = {"conv": self._dense, "mb": self._inverted, "identity": self._identity}
        y = ops.get(self.layer.op, self._shuffled)(x, train)
        if not self.skips:
            return y
        if drop_path is not None:
            y = drop_samples(self.make_rng("drop_path"), y, drop_path, Share(self.axis_name))
        return y + (pool(x, "max", 3, 1) if self.layer.skip == "pool" else x)

    def _dense(self, x: jax.Array, train: bool) -> jax.Array:
        y = self.conv(self.layer.width, self.layer.kernel, stride=self.layer.stride, name="conv")(x, train)
        return self._excited(y, x.shape[-1])

    def _inverted(self, x: jax.Array, train: bool) -> jax.Array:
        """1 × 1 convolution to expansion · inputs, depthwise convolution, linear 1 × 1 convolution to the width."""
        layer, inner = self.layer, x.shape[-1] * self.layer.expansion
        y = x if layer.expansion == 1 else self.conv(inner, name="expand")(x, train)
        y = self.conv(inner, layer.kernel, stride=layer.stride, depthwise=True, name="depthwise")(y, train)
        y = self._excited(y, x.shape[-1])
        return self.conv(layer.width, activation="", name="project")(y, train)

    def _identity(self, x: jax.Array, train: bool) -> jax.Array:
        if self.layer.stride == 1 and self.layer.width == x.shape[-1]:
            return x
        return self.conv(self.layer.width, stride=self.layer.stride, activation="", name="project")(x, train)

    def _shuffled(self, x: jax.Array, train: bool) -> jax.Array:
        """The choice blocks of SPOS: half of the channels pass by, or, at stride 2, through a projection."""
        layer, stride, width = self.layer, self.layer.stride, self.layer.width
        bypass, main = split_by_parity(x) if stride == 1 else (x, x)
        inputs, middle = main.shape[-1], width // 2
        depthwise = partial(self.conv, kernel=layer.kernel, depthwise=True, activation="")
        if stride == 2:
            bypass = depthwise(inputs, stride=2, name="bypass_depthwise")(bypass, train)
            bypass = self.conv(inputs, name="bypass_project")(bypass, train)
        if layer.op == "shuffle":
            main = self.conv(middle, name="expand")(main, train)
            main = depthwise(middle, stride=stride, name="depthwise")(main, train)
        else:
            main = depthwise(inputs, stride=stride, name="depthwise_1")(main, train)
            main = self.conv(middle, name="point_1")(main, train)
            main = depthwise(middle, name="depthwise_2")(main, train)
            main = self.conv(middle, name="point_2")(main, train)
            main = depthwise(middle, name="depthwise_3")(main, train)
        main = self.conv(width - inputs, name="project")(main, train)
        return jnp.concatenate([bypass, main], axis=-1)

    def _excited(self, y: jax.Array, inputs: int) -> jax.Array:
        """`y` with squeeze-and-excitation, if the layer has it: ⌊squeeze · inputs⌋ values, at least 1."""
        if not self.layer.squeeze:
            return y
        squeezed = max(1, int(self.layer.squeeze * inputs))
        activation = self.layer.activation or self.family.activation
        return SqueezeExcite(squeezed, activation, name="squeeze_excite")(y)
