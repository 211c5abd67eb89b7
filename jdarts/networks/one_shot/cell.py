"""The cell of the One-Shot networks (Bender et al. 2018, §3): choice blocks, each a sum of inputs, then a sum of ops.

Choice block b of a cell with the outputs x_0, x_1 of the two cells before it computes

    h_b     = BN(Σ_i g[b, i] · W_{b,i} relu(x_i))        over x_0, x_1 and the choice blocks before b
    x_{2+b} = BN(Σ_o p[b, o] · o(h_b))                   over the ops

and the cell's output is the concatenation of all choice blocks. g and p select paths; a path that is 0 adds nothing.
A batch norm follows each sum, and none the last convolution of an op, whose order is ReLU, convolution. Sums of 1 × 1
convolutions are the 1 × 1 convolution of a concatenation.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts import kernels
from jdarts.devices.replicas import Share
from jdarts.genotypes.one_shot import CELL_INPUTS
from jdarts.kernels import relu
from jdarts.networks.edges import drop_path as drop_samples
from jdarts.networks.fast.ops import candidate
from jdarts.ops.batch_norm import BatchNorm
from jdarts.ops.initializers import uniform_fan_in

Selected = tuple[Sequence[tuple[int, jax.Array | None]], Sequence[tuple[str, jax.Array | None]]]
"""The inputs and the ops of a choice block, each with its factor; None is 1."""


class ChoiceBlockSum(nn.Module):
    """A choice block.

    Attributes:
      channels: of its output.
      affine: with scale and shift in its batch norms.
      axis_name: mesh axis over which the batch is split.
    """

    channels: int
    affine: bool = True
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, nodes: Sequence[jax.Array], selected: Selected, train: bool, drop_path: jax.Array | float | None = None
    ) -> jax.Array:
        """Apply to the outputs `[N, H, W, ·]` of cells and blocks; with `drop_path` None no op is dropped."""
        sources, ops = selected
        h = self._norm("sum_norm")(_added([_times(self._project(i, nodes[i]), g) for i, g in sources]), train)
        outputs = []
        for op, factor in ops:
            y = self._op(op, h, train)
            if drop_path is not None and op != "skip_connect":
                y = drop_samples(self.make_rng("drop_path"), y, drop_path, Share(self.axis_name))
            outputs.append(_times(y, factor))
        return self._norm("norm")(_added(outputs), train)

    def _project(self, source: int, x: jax.Array) -> jax.Array:
        inputs = x.shape[-1]
        kernel = self.param(f"input_{source}", uniform_fan_in(inputs), (inputs, self.channels))
        return kernels.product(relu(x), kernel)

    def _op(self, op: str, x: jax.Array, train: bool) -> jax.Array:
        fields = {"channels": self.channels, "affine": self.affine, "axis_name": self.axis_name, "name": op}
        module = candidate(op, search=False, **fields)
        y = module.before_last_norm(x, train)
        return module.before_norm(0, x) if y is None else y

    def _norm(self, name: str) -> BatchNorm:
        return BatchNorm(self.channels, 1, self.affine, self.axis_name, name=name)


class ChoiceCellModule(nn.Module):
    """A cell; choice block b is the submodule `block_{b}`.

    Attributes:
      channels: of each choice block.
      halve: 2 × 2 average pooling of both inputs comes first.
      halve_first: it comes first for the first input alone, whose size is still that before the last reduction.
      affine, axis_name: of the batch norms.
    """

    channels: int
    halve: bool = False
    halve_first: bool = False
    affine: bool = True
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        pair: tuple[jax.Array, jax.Array],
        selected: Sequence[Selected],
        train: bool,
        drop_path: jax.Array | float | None = None,
    ) -> jax.Array:
        """The outputs of the two cells before `[N, H, W, ·]` → `[N, H', W', blocks · channels]`."""
        first, last = pair
        if self.halve_first:
            first = halved(first)
        nodes = [halved(first), halved(last)] if self.halve else [first, last]
        for b, block in enumerate(selected):
            module = ChoiceBlockSum(self.channels, self.affine, self.axis_name, name=f"block_{b}")
            nodes.append(kernels.cut(module(nodes, block, train, drop_path)))
        return jnp.concatenate(nodes[CELL_INPUTS:], axis=-1)


def halved(x: jax.Array) -> jax.Array:
    """2 × 2 average pooling of stride 2; height and width are even."""
    n, h, w, c = x.shape
    return jnp.mean(x.reshape(n, h // 2, 2, w // 2, 2, c), axis=(2, 4))


def _times(y: jax.Array, factor: jax.Array | None) -> jax.Array:
    return y if factor is None else factor.astype(y.dtype) * y


def _added(terms: Sequence[jax.Array]) -> jax.Array:
    return sum(terms[1:], terms[0])
