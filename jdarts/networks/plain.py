"""The cell-based supernet as the papers write it: stem, cells of mixed ops, classifier.

A mixed op replaces the choice of an op on an edge by a weighted sum of all candidates, ō(x) = Σ_o p_o · o(x) (Liu et
al. 2019, eq. 2). This form initialises the parameters and is the oracle of the forms that a search runs
(`jdarts.networks.fast`), which compute the same numbers faster. It runs on one device.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts.errors import UserError
from jdarts.kernels import reference
from jdarts.networks.cells import MixedEdges, SearchCell
from jdarts.networks.edges import EdgeValues
from jdarts.ops import plain
from jdarts.ops.initializers import uniform_fan_in
from jdarts.ops.table import candidate

STEM_MULTIPLIER = 3


class Stem(nn.Module):
    """3 × 3 convolution and affine batch norm (no ReLU): `[N, H, W, ·]` → `[N, H, W, channels]`."""

    channels: int

    @nn.compact
    def __call__(self, images, train: bool):
        """Apply to images."""
        inputs = images.shape[-1]
        kernel = self.param("conv", uniform_fan_in(9 * inputs), (3, 3, inputs, self.channels))
        y = reference.convolution(in_type_of(kernel, images), kernel, padding=1)
        return plain.BatchNorm(self.channels, affine=True, name="norm")(y[None], train)[0]


class ImageNetStem(nn.Module):
    """Three 3 × 3 convolutions of stride 2 with batch norm; ReLU in front of the second and third."""

    channels: int

    @nn.compact
    def __call__(self, images, train: bool):
        """`[N, H, W, ·]` → `(s0 [N, H/4, W/4, channels], s1 [N, H/8, W/8, channels])`, the inputs of the first cell."""
        half = self.convolve(images, self.channels // 2, 1, train)
        s0 = self.convolve(reference.relu(half), self.channels, 2, train)
        return s0, self.convolve(reference.relu(s0), self.channels, 3, train)

    def convolve(self, x, channels: int, stage: int, train: bool):
        """One of the convolutions, and its batch norm."""
        inputs = x.shape[-1]
        kernel = self.param(f"conv_{stage}", uniform_fan_in(9 * inputs), (3, 3, inputs, channels))
        y = reference.convolution(in_type_of(kernel, x), kernel, stride=2, padding=1)
        return plain.BatchNorm(channels, affine=True, name=f"norm_{stage}")(y[None], train)[0]


class Mixing(MixedEdges):
    """The mixed op: all candidates of an edge, weighted and added up."""

    def mix(self, source: int, x, p, train: bool, values: EdgeValues) -> dict[int, jax.Array]:
        """ō(x) = Σ_o p_o · o(x) on every edge out of `source`; the op `none` contributes nothing."""
        stride = self.stride(source)
        entries = lax.split(jnp.ravel(p), [1] * p.size)  # indexing takes much longer to trace
        mixed = {target: jnp.zeros_like(x[:, ::stride, ::stride]) for target in self.targets(source)}
        for op, targets in self.candidates(source).items():
            if op == "skip_connect" and stride == 1:
                outputs = self.skips(x, len(targets), values)
            else:
                module = self.op(op, x.shape[-1], len(targets), stride, name=f"from_{source}_{op}")
                outputs = module(x, train)
            for place, target in enumerate(targets):
                first = self.row(source, target) * p.shape[1]
                y = outputs[place % len(outputs)]  # a user's op without weights has one output for all edges
                for column in self.columns(op, source, target):
                    mixed[target] = mixed[target] + entries[first + column] * y
        return mixed

    def op(self, op: str, channels: int, edges: int, stride: int, *, name: str) -> nn.Module:
        """A candidate op on several edges: `[N, H, W, C]` → an image `[N, H', W', C]` an edge."""
        return candidate(op, channels, edges, stride, name=name)


class PlainCell(Mixing, SearchCell):
    """A search cell of the DARTS spaces."""

    def preprocess(self, name: str, x, train: bool) -> jax.Array:
        """ReLU, 1 × 1 convolution, batch norm."""
        return plain.ReLUConvBN(self.channels, name=name)(x, train)

    def halve(self, name: str, x, channels: int, edges: int, train: bool) -> list[jax.Array]:
        """A factorised reduction on every edge."""
        return list(plain.FactorizedReduce(channels, edges, name=name)(x, train))


class Classifier(nn.Module):
    """Global average pooling and a linear layer with bias: `[N, H, W, C]` → `[N, classes]`."""

    classes: int

    @nn.compact
    def __call__(self, x):
        """Apply to the last cell's output."""
        features = jnp.mean(x, (1, 2))
        init = uniform_fan_in(features.shape[-1])
        kernel = self.param("kernel", init, (features.shape[-1], self.classes))
        return features @ kernel + self.param("bias", init, (self.classes,))


def in_type_of(kernel: jax.Array, images: jax.Array) -> jax.Array:
    """`images` in the type of the first kernel, in which the whole network computes; `UserError` if not floating."""
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise UserError(
            f"a network was given images of type {images.dtype}; give floating-point ones (jdarts.data.normalize)"
        )
    return images.astype(kernel.dtype)
