"""The parts of NAS-Bench-201's supernet as the paper writes them (Dong and Yang 2020, §2).

This form initialises the parameters and is the oracle of the form that a search runs, which computes the same numbers
faster. The batch norms inside cells have neither parameters nor running averages. One device.
"""

import jax
from flax import linen as nn

from jdarts.kernels import reference
from jdarts.networks.cells import SearchCell201
from jdarts.networks.plain import Mixing
from jdarts.ops import plain
from jdarts.ops.initializers import uniform_fan_in
from jdarts.ops.table import candidate


class PlainCell201(Mixing, SearchCell201):
    """A search cell of NAS-Bench-201."""

    def op(self, op: str, channels: int, edges: int, stride: int, *, name: str) -> nn.Module:
        """The convolutions of the benchmark; its pool has no batch norm."""
        match op:
            case "nor_conv_1x1" | "nor_conv_3x3":
                return plain.NorConv(channels, edges, int(op[-1]), name=name)
            case "avg_pool_3x3":
                return plain.Pool(channels, edges, stride, "avg", normalise=False, name=name)
        return candidate(op, channels, edges, stride, name=name)


class PlainReduction(nn.Module):
    """Two 3 × 3 convolutions, the first of stride 2, beside 2 × 2 average pooling and a 1 × 1 convolution."""

    channels: int

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, ·]` → `[N, H/2, W/2, channels]`."""
        y = PlainReLUConvBN(self.channels, 2, name="conv_a")(x, train)
        y = PlainReLUConvBN(self.channels, 1, name="conv_b")(y, train)
        pooled = sum(x[:, i::2, j::2] for i in range(2) for j in range(2)) / 4
        kernel = self.param("shortcut", uniform_fan_in(x.shape[-1]), (x.shape[-1], self.channels))
        return reference.pointwise(pooled, kernel) + y


class PlainReLUConvBN(nn.Module):
    """ReLU, 3 × 3 convolution without bias, affine batch norm."""

    channels: int
    stride: int

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, ·]` → `[N, H/stride, W/stride, channels]`."""
        kernel = self.param("conv", uniform_fan_in(9 * x.shape[-1]), (3, 3, x.shape[-1], self.channels))
        y = reference.convolution(reference.relu(x), kernel, stride=self.stride, padding=1)
        return PlainNorm(self.channels, name="norm")(y, train)


class PlainNorm(plain.BatchNorm):
    """Affine batch norm of one image."""

    affine: bool = True

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[N, H, W, channels]` → the same shape."""
        return super().__call__(x[None], train)[0]
