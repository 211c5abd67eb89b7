"""The parts of candidate ops: batch norm of stacked edges, the class `Op`, the factorised reduction.

See `jdarts.ops` for the letters and shapes.
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts import kernels
from jdarts.kernels import relu
from jdarts.ops.initializers import constant, uniform_fan_in
from jdarts.ops.plain import RUNNING_MOMENTUM

Layout = Literal["auto", "grouped", "per_edge"]

# Beyond this many values the grouped form no longer fits the cache of one CPU core and edges are faster one by one.
_GROUPED_LIMIT = 400_000


def spans(edges: int, values_per_edge: int, layout: Layout) -> list[tuple[int, int]]:
    """The edges that share one call: `[(0, T)]` for the grouped form, `[(0, 1), (1, 2), …]` edge by edge."""
    if layout == "auto":
        small = edges * values_per_edge <= _GROUPED_LIMIT
        layout = "grouped" if small or kernels.on_accelerator() else "per_edge"
    return [(0, edges)] if layout == "grouped" else [(t, t + 1) for t in range(edges)]


def edge_slice(chunks: Sequence[jax.Array], edge: int, channels: int) -> jax.Array:
    """The output of one edge, `[N, H, W, C]`, out of a module's chunks."""
    if len(chunks) == 1:
        chunk = chunks[0]
        return chunk if chunk.shape[-1] == channels else chunk[..., edge * channels : (edge + 1) * channels]
    return chunks[edge]


class BatchNorm(nn.Module):
    """Batch normalisation of T stacked edges with PyTorch semantics.

    Normalises by the biased batch variance (eps 1e-5), keeps the running variance unbiased, running momentum 0.1.
    With `axis_name` the statistics are those of the global batch. Running averages move only when the caller makes
    the collection `batch_stats` mutable.
    """

    channels: int
    edges: int = 1
    affine: bool = True
    axis_name: str | None = None
    eps: float = 1e-5
    momentum: float = RUNNING_MOMENTUM

    def setup(self):
        """Running averages, and scale and shift."""
        shape = (self.edges, self.channels)
        self.mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        self.var = self.variable("batch_stats", "var", jnp.ones, shape)
        if self.affine:
            self.scale = self.param("scale", constant(1.0), shape)
            self.bias = self.param("bias", constant(0.0), shape)

    def __call__(self, chunks: Sequence[jax.Array], train: bool) -> list[jax.Array]:
        """Normalise chunks `[N, H, W, t·C]` that together hold all T edges."""
        if self.is_initializing():  # only the parameters are wanted
            return list(chunks)
        outputs, means, variances = [], [], []
        first = 0
        for x in chunks:
            last = first + x.shape[-1] // self.channels
            if train:
                y, mean, var = kernels.standardise(x, self.eps, self.axis_name)
                means.append(mean)
                variances.append(var)
            else:
                var = self.var.value[first:last].reshape(-1)
                y = (x - self.mean.value[first:last].reshape(-1)) * lax.rsqrt(var + self.eps)
            y = y.astype(x.dtype)
            if self.affine:
                y = y * self.scale[first:last].reshape(-1) + self.bias[first:last].reshape(-1)
            outputs.append(y)
            first = last
        if train:
            x = chunks[0]
            self.record(jnp.concatenate(means), jnp.concatenate(variances), x.shape[0] * x.shape[1] * x.shape[2])
        return outputs

    def record(self, mean: jax.Array, var: jax.Array, samples: int) -> None:
        """Move the running averages to the moments `[T·C]` of a batch of so many pixels, if they may move.

        They have no derivative: a network in training does not read them.
        """
        if not self.is_mutable_collection("batch_stats"):
            return
        mean, var = lax.stop_gradient(mean), lax.stop_gradient(var)
        if self.axis_name is not None:
            samples = samples * lax.axis_size(self.axis_name)
        for variable, new in ((self.mean, mean), (self.var, var * (samples / max(samples - 1, 1)))):
            variable.value = (1 - self.momentum) * variable.value + self.momentum * new.reshape(variable.value.shape)


class Op(nn.Module):
    """A candidate operation on T edges that leave one node: `[N, H, W, C]` → chunks of `[N, H', W', t·C]`."""

    channels: int
    stride: int = 1
    edges: int = 1
    affine: bool = True
    axis_name: str | None = None
    layout: Layout = "auto"
    impl: kernels.Impl = "auto"
    activated: bool = False
    """The input has passed its ReLU already."""
    margin: int = 0
    """For the convolutions of the input, see `jdarts.kernels.depthwise`."""

    @property
    def padding(self) -> int:
        """Pixels of padding on each side that a depthwise convolution of the input needs, 0 if there is none."""
        return 0

    def norm(self, edges: int | None = None) -> BatchNorm:
        """A batch norm over this op's edges."""
        return BatchNorm(self.channels, edges or self.edges, self.affine, self.axis_name)

    def spans_for(self, x: jax.Array) -> list[tuple[int, int]]:
        """The grouping of this op's edges for input `x`."""
        return spans(self.edges, x.size // self.stride**2, self.layout)

    def norms(self) -> list[BatchNorm]:
        """The batch norms, in order.

        An op is `before_norm(0, x)`, norm, and with a second norm ReLU, `before_norm(1, ·)`, norm.
        Without norms it is `before_norm(0, x)` alone, or has a `__call__` of its own.
        """
        return []

    def before_norm(self, stage: int, x: jax.Array | Sequence[jax.Array]) -> list[jax.Array]:
        """The input of the batch norm of that stage: chunks `[N, H', W', t·C]`."""
        raise NotImplementedError

    def in_phases(self, x: jax.Array) -> list[jax.Array] | None:
        """`before_norm(0, x)` in the order of `kernels.to_phases`, if that is how it is computed."""
        del x

    def before_last_norm(self, x: jax.Array, train: bool) -> list[jax.Array] | None:
        """The input of the last batch norm; None for an op that does not end in one."""
        norms = self.norms()
        if not norms:
            return None
        chunks = self.before_norm(0, x)
        for stage, norm in enumerate(norms[:-1], 1):
            # the cut is for the way back: the norm reads the convolution's gradient several times
            chunks = self.before_norm(stage, [relu(kernels.cut(chunk)) for chunk in norm(chunks, train)])
        return chunks

    def record_last(self, mean: jax.Array, var: jax.Array, samples: int) -> None:
        """`BatchNorm.record` of the last batch norm."""
        self.norms()[-1].record(mean, var, samples)

    def __call__(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """`[N, H, W, C]` → chunks `[N, H', W', t·C]`."""
        chunks = self.before_last_norm(x, train)
        return self.before_norm(0, x) if chunks is None else self.norms()[-1](chunks, train)


class FactorizedReduce(nn.Module):
    """Halve the image: ReLU, two 1 × 1 stride-2 convolutions (the second shifted by one pixel), batch norm.

    `[N, H, W, inputs]` with even H and W → chunk `[N, H/2, W/2, T·channels]`.
    """

    inputs: int
    channels: int
    edges: int = 1
    affine: bool = True
    axis_name: str | None = None
    activated: bool = False
    impl: kernels.Impl = "auto"

    def setup(self):
        """Parameters and batch norms."""
        shape = self.edges, self.inputs, self.channels // 2
        self.conv_1, self.conv_2 = (self.param(f"conv_{i}", uniform_fan_in(self.inputs), shape) for i in (1, 2))
        self.norm_1 = BatchNorm(self.channels, self.edges, self.affine, self.axis_name)

    def before_norm(self, x: jax.Array) -> list[jax.Array]:
        """The convolutions."""
        r = x if self.activated else relu(x)
        return [kernels.halve(r, self.conv_1, self.conv_2, impl=self.impl)]

    def __call__(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """Apply to `[N, H, W, inputs]`."""
        return self.norm_1(self.before_norm(x), train)


class ReLUConvBN(nn.Module):
    """ReLU, 1 × 1 convolution, batch norm: `[N, H, W, C_in]` → `[N, H, W, channels]`."""

    channels: int
    affine: bool = True
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to `[N, H, W, C_in]`."""
        c_in = x.shape[-1]
        kernel = self.param("conv_1", uniform_fan_in(c_in), (1, c_in, self.channels))
        y = relu(x) @ kernel[0]
        norm = BatchNorm(self.channels, 1, self.affine, self.axis_name, name="norm_1")
        return norm([y], train)[0]
