"""The layers around the ops of a cell, in the form that searches and derived networks run."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts import kernels
from jdarts.kernels import relu
from jdarts.networks.plain import in_type_of
from jdarts.ops.batch_norm import BatchNorm
from jdarts.ops.initializers import uniform_fan_in


def edge_by_edge(y: jax.Array, edges: int) -> list[jax.Array]:
    """`[N, H, W, T·C]` of T edges side by side → `[N, H, W, C]` of each."""
    return [y] if edges == 1 else jnp.split(y, edges, axis=-1)


class Stem(nn.Module):
    """3 × 3 convolution and affine batch norm (no ReLU)."""

    channels: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, train: bool):
        """`[N, H, W, ·]` → `[N, H, W, channels]`."""
        inputs = images.shape[-1]
        kernel = self.param("conv", uniform_fan_in(9 * inputs), (3, 3, inputs, self.channels))
        y = kernels.convolution(in_type_of(kernel, images), kernel, padding=1)
        return BatchNorm(self.channels, axis_name=self.axis_name, name="norm")(y, train)


class ImageNetStem(nn.Module):
    """Three 3 × 3 convolutions of stride 2 with batch norm; ReLU in front of the second and third."""

    channels: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, train: bool):
        """`[N, H, W, C_in]` → s0 `[N, H/4, W/4, channels]`, s1 `[N, H/8, W/8, channels]`."""
        half = self._convolve(images, self.channels // 2, 1, train)
        s0 = self._convolve(relu(half), self.channels, 2, train)
        return s0, self._convolve(relu(s0), self.channels, 3, train)

    def _convolve(self, x, channels: int, stage: int, train: bool):
        c_in = x.shape[-1]
        kernel = self.param(f"conv_{stage}", uniform_fan_in(9 * c_in), (3, 3, c_in, channels))
        y = kernels.convolution(in_type_of(kernel, x), kernel, stride=2, padding=1)
        return BatchNorm(channels, axis_name=self.axis_name, name=f"norm_{stage}")(y, train)


class ReLUConvBN(nn.Module):
    """ReLU, 1 × 1 convolution, batch norm: `[N, H, W, ·]` → `[N, H, W, channels]`."""

    channels: int
    affine: bool = True
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to `[N, H, W, ·]`."""
        inputs = x.shape[-1]
        kernel = self.param("conv_1", uniform_fan_in(inputs), (1, inputs, self.channels))
        y = kernels.product(relu(x), kernel[0])
        return BatchNorm(self.channels, 1, self.affine, self.axis_name, name="norm_1")(y, train)


class FactorizedReduce(nn.Module):
    """Halve the image: ReLU, two 1 × 1 stride-2 convolutions (the second shifted by one pixel), batch norm.

    `[N, H, W, inputs]` with even H and W → `[N, H/2, W/2, T·channels]`.
    """

    inputs: int
    channels: int
    edges: int = 1
    affine: bool = True
    axis_name: str | None = None
    activated: bool = False
    """The input has passed its ReLU already."""

    def setup(self):
        """Parameters and batch norm."""
        shape = self.edges, self.inputs, self.channels // 2
        self.conv_1, self.conv_2 = (self.param(f"conv_{i}", uniform_fan_in(self.inputs), shape) for i in (1, 2))
        self.norm_1 = BatchNorm(self.channels, self.edges, self.affine, self.axis_name)

    def before_norm(self, x: jax.Array) -> jax.Array:
        """The convolutions."""
        return kernels.halve(x if self.activated else relu(x), self.conv_1, self.conv_2)

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to `[N, H, W, inputs]`."""
        return self.norm_1(self.before_norm(x), train)
