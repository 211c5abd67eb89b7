"""The search network of ENAS micro: every edge of a cell has weights of its own for each input it may read.

It follows micro_child.py of the release (melodyguan/enas). An architecture is one-hot: `{"normal": [nodes, 2, sources,
ops], "reduce": …}` with a 1 at (node, side, source, op) for the two inputs of every node. All ops are computed and the
chosen one is selected, so that only chosen weights have a gradient. As in the release, batch norms always use the
statistics of the batch. DIFF: there are no auxiliary head, no dropout and no drop-path.
"""

from collections.abc import Callable, Mapping
from functools import cache

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts import kernels, staging
from jdarts.genotypes.enas import MICRO_OPS
from jdarts.kernels.reference import relu
from jdarts.networks.edges import EdgeValues
from jdarts.networks.enas.classifier import LinearClassifier
from jdarts.networks.enas.micro import micro_reductions
from jdarts.networks.image_sizes import check_halvings, image_sides
from jdarts.networks.nasnet.layers import ConvNorm, FactorizedReduction, NormSettings, pool, separable
from jdarts.networks.wiring import WholeVariables
from jdarts.ops.initializers import constant, uniform_fan_out

_EPS, _MOMENTUM, _EDGE_EPS = 1e-3, 0.1, 1e-5
_STEM_MULTIPLIER = 3
INPUTS = 2
_CONVOLUTIONS = tuple(f"sep_conv_{k}x{k}_{i}" for k in (3, 5) for i in range(2))

Weights = dict[str, jax.Array]


class EnasMicroSupernet(WholeVariables, nn.Module):
    """Stem, `cells` normal and two reduction cells, ReLU, global average pooling, a linear layer without bias.

    Attributes:
      channels: F, of the first cells; each reduction doubles them.
      cells: normal cells; the reduction cells stand at `micro_reductions(cells)`.
      classes: outputs of the classifier.
      nodes: of a cell, without its inputs.
      axis_name: mesh axis over which batch norm takes its statistics.
    """

    channels: int
    cells: int
    classes: int
    nodes: int = 5
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        architecture: Mapping[str, jax.Array],
        images: jax.Array,
        train: bool,
        edge_values: EdgeValues | None = None,
    ) -> jax.Array:
        """`images [N, H, W, C]` → logits `[N, classes]`, the same in training and in evaluation."""
        del train, edge_values
        check_halvings(*image_sides(images), 2, "cannot pass the 2 reductions of ENAS micro")
        norm, width = NormSettings(_EPS, _MOMENTUM, self.axis_name), self.channels
        stem = ConvNorm(_STEM_MULTIPLIER * width, norm, (3, 3), activated=False, name="stem")
        before = last = stem(images, True)
        for i in range(self.cells + 2):
            kind = "reduce" if i in micro_reductions(self.cells) else "normal"
            if kind == "reduce":
                width *= 2
                before, last = last, FactorizedReduction(width, norm, name=f"reduction_{i}")(last, True)
            cell = EnasSearchCell(width, self.nodes, norm, name=f"cell_{i}")
            before, last = last, cell(before, last, architecture[kind])
        return LinearClassifier(self.classes, name="classifier")(relu(last))


class EnasSearchCell(nn.Module):
    """A cell: two calibrated inputs, nodes that add up two ops, and a convolution over all unused nodes."""

    channels: int
    nodes: int
    norm: NormSettings

    @nn.compact
    def __call__(self, s0: jax.Array, s1: jax.Array, chosen: jax.Array) -> jax.Array:
        """`s0, s1 [N, H, W, ·]`, `chosen [nodes, 2, sources, ops]` → `[N, H', W', channels]` (that of `s1`)."""
        if s0.shape[1:3] != s1.shape[1:3]:
            s0 = FactorizedReduction(self.channels, self.norm, name="calibrate_0")(relu(s0), True)
        elif s0.shape[-1] != self.channels:
            s0 = ConvNorm(self.channels, self.norm, name="calibrate_0")(s0, True)
        if s1.shape[-1] != self.channels:
            s1 = ConvNorm(self.channels, self.norm, name="calibrate_1")(s1, True)
        chosen = chosen.astype(s1.dtype)
        values = [s0, s1]
        for node in range(self.nodes):
            sides = [
                EnasEdge(self.channels, self.norm, name=f"node_{node + INPUTS}_{side}")(
                    jnp.stack(values), chosen[node, i, : len(values)]
                )
                for i, side in enumerate(("left", "right"))
            ]
            values.append(sides[0] + sides[1])
        unused = (jnp.sum(chosen, (0, 1, 3)) == 0).astype(s1.dtype)
        unused = jnp.concatenate([unused, jnp.ones(len(values) - len(unused), s1.dtype)])  # nobody can read the last
        return self._joined(jnp.stack(values), unused)

    def _joined(self, values: jax.Array, unused: jax.Array) -> jax.Array:
        """A 1 × 1 convolution of the unused nodes, with weights of its own for each node."""
        count, width = len(values), self.channels
        kernels_ = self.param("join", uniform_fan_out(width), (count, width, width))
        y = jnp.einsum("j,jnhwc,jcd->nhwd", unused, relu(values), kernels_)
        scale, bias = (
            self.param(f"join_{name}", constant(at), (width,)) for name, at in (("scale", 1.0), ("bias", 0.0))
        )
        return kernels.normalise(y, scale, bias, _EPS, self.norm.axis_name)[0]


class EnasEdge(nn.Module):
    """One input of a node: the chosen op on the chosen value, with the weights of that value."""

    channels: int
    norm: NormSettings

    @nn.compact
    def __call__(self, values: jax.Array, chosen: jax.Array) -> jax.Array:
        """`values [sources, N, H, W, C]`, one-hot `chosen [sources, ops]` → `[N, H, W, C]`."""
        source, op = chosen.sum(1), chosen.sum(0)
        x = jnp.einsum("s,snhwc->nhwc", source, values)
        weights = {name: self._weights(name, source) for name in _CONVOLUTIONS}
        return _chosen_op(self.norm.axis_name)(x, op, weights)

    def _weights(self, name: str, source: jax.Array) -> Weights:
        """The weights of one separable convolution for the chosen source, and scale and shift of its batch norm."""
        width, k = self.channels, int(name[len("sep_conv_")])
        inits = {
            "depthwise": (uniform_fan_out(k * k), (k, k, 1, width)),
            "pointwise": (uniform_fan_out(width), (1, 1, width, width)),
            "scale": (constant(1.0), (width,)),
            "bias": (constant(0.0), (width,)),
        }
        own = {}
        for part, (init, shape) in inits.items():
            all_sources = self.param(f"{name}_{part}", init, (len(source), *shape))
            own[part] = jnp.tensordot(source, all_sources, 1)
        return own


@cache
def _chosen_op(axis_name: str | None) -> Callable[[jax.Array, jax.Array, Mapping[str, Weights]], jax.Array]:
    """A function `(x, one-hot op, weights by convolution)` of all ops, which is a unit of compilation.

    All edges of cells of one size share it, whatever the number of their sources.
    """

    def separable_twice(x: jax.Array, name: str, weights: Mapping[str, Weights]) -> jax.Array:
        for i in range(2):
            own = weights[f"{name}_{i}"]
            y = separable(relu(x), own["depthwise"], own["pointwise"])
            x = kernels.normalise(y, own["scale"], own["bias"], _EDGE_EPS, axis_name)[0]
        return x

    def chosen_op(x: jax.Array, op: jax.Array, weights: Mapping[str, Weights]) -> jax.Array:
        outputs = {
            "sep_conv_3x3": separable_twice(x, "sep_conv_3x3", weights),
            "sep_conv_5x5": separable_twice(x, "sep_conv_5x5", weights),
            "avg_pool_3x3": pool(x, "avg", 3, 1),
            "max_pool_3x3": pool(x, "max", 3, 1),
            "skip_connect": x,
        }
        return sum((op[k] * outputs[name] for k, name in enumerate(MICRO_OPS)), jnp.zeros_like(x))

    return staging.edge_piece(chosen_op)
