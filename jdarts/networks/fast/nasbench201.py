"""The parts of NAS-Bench-201's networks in the form that searches and derived networks run."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts import kernels, staging
from jdarts.kernels import relu
from jdarts.networks.cells import SearchCell201
from jdarts.networks.edges import EdgeValues
from jdarts.networks.fast import pieces
from jdarts.networks.fast.layers import edge_by_edge
from jdarts.ops.batch_norm import BatchNorm
from jdarts.ops.initializers import uniform_fan_in

_EPS = 1e-5


class CellByNode(SearchCell201):
    """A search cell of NAS-Bench-201: all edges out of a node share one call of each op."""

    def body(self, x, p, train: bool, edge_weights, values: EdgeValues):
        """The cell, as one piece where programs are compiled in pieces."""
        # The ops of sampled edges are pieces of their own: Python then chooses the branch, see `_sampled_convolution`.
        if staging.in_pieces() and not self.edge.sampled and not pieces.DRAWING & values.keys():
            params, _ = pieces.variables(self, train)  # a cell has no running statistics
            alone: Any = self.clone(parent=None, name=None)
            return pieces.cell(alone, train)(x, params, p, edge_weights, dict(values))
        return kernels.cut(super().body(x, p, train, edge_weights, values))

    def ready(self, source: int, x):
        """The node's value."""
        del source
        return kernels.cut(x)

    def mix(self, source: int, x, p, train: bool, values: EdgeValues) -> dict[int, jax.Array]:
        """All ops of all edges, the convolutions of several targets in one call; or only the sampled ones."""
        del train
        found, c = self.candidates(source), x.shape[-1]
        convolutions = {
            op: NorConvs(c, len(targets), int(op[-1]), self.axis_name, name=f"from_{source}_{op}")
            for op, targets in found.items()
            if op.startswith("nor_conv")
        }
        if self.edge.sampled:
            return {t: self._sampled(source, t, x, p, convolutions) for t in self.targets(source)}
        mixed = {t: jnp.zeros_like(x) for t in self.targets(source)}
        active = relu(x)
        for op, targets in found.items():
            if op == "skip_connect":
                outputs = self.skips(x, len(targets), values)
            elif op == "avg_pool_3x3":
                outputs = [kernels.avg_pool(x)] * len(targets)
            else:
                outputs = edge_by_edge(convolutions[op](active), len(targets))
            for y, target in zip(outputs, targets, strict=True):
                row = p[self.row(source, target)]
                for column in self.columns(op, source, target):
                    mixed[target] = mixed[target] + row[column] * y
        return mixed

    def _sampled(self, source: int, target: int, x, p, convolutions: dict[str, "NorConvs"]) -> jax.Array:
        """Only the op with the largest weight, by a real conditional (GDAS' `forward_gdas`); under vmap (several seeds
        on one accelerator) it becomes a selection, and all ops run.

        The weights of the other ops enter as numbers added to every pixel. They are 0, but their gradient, the sum of
        the output's, is what the published code gives an op that was not run.
        """

        def branch(op):
            match op:
                case "none":
                    return jnp.zeros_like
                case "skip_connect":
                    return lambda x: x
                case "avg_pool_3x3":
                    return lambda x: kernels.avg_pool(x)
            kernel, bias = convolutions[op].one(self.candidates(source)[op].index(target))
            return lambda x: _sampled_convolution(self.axis_name, staging.unit())(x, kernel, bias)

        ops, row = self.table[self.row(source, target)], p[self.row(source, target)]
        chosen = jnp.argmax(row)
        y = lax.switch(chosen, [branch(op) for op in ops], x)
        return row[chosen] * y + (jnp.sum(row) - row[chosen])


def _convolution(active: jax.Array, kernel: jax.Array, bias: jax.Array, axis_name: str | None) -> jax.Array:
    """Convolution, bias and normalisation of an op without its ReLU."""
    y = kernels.convolution(active, kernel, padding=kernel.shape[0] // 2) + bias
    return kernels.standardise(y, _EPS, axis_name)[0].astype(active.dtype)


@lru_cache(maxsize=16)
def _sampled_convolution(axis_name: str | None, unit: staging.Unit) -> Callable:
    """A convolution of one edge with its ReLU as a piece: `(x, kernel, bias) -> value`.

    A branch that holds a piece is taken in Python, where the convolution is compiled like any other: XLA:CPU runs those
    inside its own conditionals several times slower, as it does inside loops. An accelerator would have to wait for the
    host at every edge; there (`unit` "cells") it is no piece.
    """

    def convolution(x, kernel, bias):
        return _convolution(relu(x), kernel, bias, axis_name)

    return convolution if unit == "cells" else staging.piece(convolution)


class NorConvs(nn.Module):
    """Convolution with bias and batch norm of T edges side by side; the ReLU before them is the caller's."""

    channels: int
    edges: int
    kernel: int
    axis_name: str | None = None

    def setup(self):
        """Kernels and biases, stacked over the edges."""
        k, c = self.kernel, self.channels
        self.kernels = self.param("kernel", uniform_fan_in(k * k * c), (self.edges, k, k, c, c))
        self.biases = self.param("bias", uniform_fan_in(k * k * c), (self.edges, c))

    def __call__(self, active: jax.Array) -> jax.Array:
        """`[N, H, W, C]` → `[N, H, W, T·C]`."""
        wide = self.kernels.transpose(1, 2, 3, 0, 4).reshape(*self.kernels.shape[1:4], -1)
        return _convolution(active, wide, self.biases.reshape(-1), self.axis_name)

    def one(self, edge: int) -> tuple[jax.Array, jax.Array]:
        """Kernel `[k, k, C, C]` and bias `[C]` of one edge."""
        return self.kernels[edge], self.biases[edge]


class ReLUConvBN201(nn.Module):
    """ReLU, k × k convolution without bias, affine batch norm."""

    channels: int
    kernel: int
    stride: int = 1
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, ·]` → `[N, H/stride, W/stride, channels]`."""
        k, inputs = self.kernel, x.shape[-1]
        kernel = self.param("conv", uniform_fan_in(k * k * inputs), (k, k, inputs, self.channels))
        y = kernels.convolution(relu(x), kernel, stride=self.stride, padding=k // 2)
        return BatchNorm(self.channels, axis_name=self.axis_name, name="norm")(y, train)


class ResidualReduction(nn.Module):
    """Halve the image and double the channels: two 3 × 3 convolutions beside average pooling and a 1 × 1
    convolution.
    """

    channels: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, channels/2]` → `[N, H/2, W/2, channels]`."""
        y = ReLUConvBN201(self.channels, 3, 2, self.axis_name, name="conv_a")(x, train)
        y = ReLUConvBN201(self.channels, 3, 1, self.axis_name, name="conv_b")(y, train)
        n, h, w, c = x.shape
        pooled = x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
        return kernels.product(pooled, self.param("shortcut", uniform_fan_in(c), (c, self.channels))) + y
