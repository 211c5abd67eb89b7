"""The supernet of NAS-Bench-201 as the paper writes it (Dong and Yang 2020, §2).

This form initialises the parameters and is the oracle of the forms that a search runs
(`jdarts.networks.nasbench201`), which compute the same numbers faster.

Node 0 of a cell is its input, node j the sum of the mixed ops on the edges i → j, node 3 the output. The batch norms
inside cells have neither parameters nor running averages: they normalise by the batch at all times. One device.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts.kernels import reference
from jdarts.networks.edges import (
    EDGES_SUFFIX,
    PLAIN,
    EdgeSettings,
    EdgeValues,
    drop_path,
    dropout,
    join_channels,
    split_channels,
)
from jdarts.networks.plain import Classifier, Stem
from jdarts.networks.wiring import OpTable, OpWeights
from jdarts.ops import plain
from jdarts.ops.initializers import identity, uniform_fan_in

NODES = 4
EDGES = tuple((source, target) for target in range(1, NODES) for source in range(target))
STAGES = 3


class Supernet201(nn.Module):
    """Stem, three stages of cells with a residual reduction between them, batch norm, pooling, classifier."""

    channels: int
    cells: int
    classes: int
    table: OpTable
    edge: EdgeSettings = PLAIN

    @nn.compact
    def __call__(self, op_weights: OpWeights, images, train: bool, edge_values: EdgeValues | None = None):
        """`images [N, H, W, ·]`, `op_weights {"cell": [6, ops]}` → logits `[N, classes]`."""
        x = Stem(self.channels, name="stem")(images, train)
        p = jax.tree.map(lambda a: jnp.asarray(a, x.dtype), op_weights)
        channels = self.channels
        for stage in range(STAGES):
            if stage:
                channels *= 2
                x = ResidualReduction(channels, name=f"reduction_{stage}")(x, train)
            for i in range(stage * self.cells, (stage + 1) * self.cells):
                cell = Cell201(self.table, channels, self.edge, name=f"cell_{i}")
                x = cell(x, p["cell"], p.get("cell" + EDGES_SUFFIX), edge_values)
        x = plain.BatchNorm(channels, affine=True, name="norm")(x[None], train)[0]
        return Classifier(self.classes, name="classifier")(reference.relu(x))


class Cell201(nn.Module):
    """A search cell: `[N, H, W, C]` → `[N, H, W, C]`."""

    table: OpTable
    channels: int
    edge: EdgeSettings = PLAIN

    @nn.compact
    def __call__(self, x, p, edge_weights=None, edge_values: EdgeValues | None = None):
        """`p [6, ops]`, `edge_weights [6]`."""
        values = edge_values or {}
        nodes = [x] + [jnp.zeros_like(x)] * (NODES - 1)
        for source in range(NODES - 1):
            for target, y in self._edges_from(source, nodes[source], p, values).items():
                if edge_weights is not None:
                    y = y * edge_weights[EDGES.index((source, target))]
                if "drop_path" in values:
                    y = drop_path(self.make_rng("drop_path"), y, values["drop_path"])
                nodes[target] = nodes[target] + y
        return nodes[-1]

    def _edges_from(self, source: int, x, p, values: EdgeValues) -> dict[int, jax.Array]:
        """The output of every edge out of `source`, by its target: a mixed op on the first 1/K of the channels."""
        parts, targets = self.edge.partial_channels, range(source + 1, NODES)
        inner, bypass = split_channels(x, parts) if parts > 1 else (x, x)
        convolutions = self._convolutions(source, inner.shape[-1])
        mixed = {t: self.mix(source, t, inner, p, convolutions, values) for t in targets}
        if self.edge.auxiliary_skip != "none":
            for place, t in enumerate(targets):
                mixed[t] = mixed[t] + values["auxiliary_skip"] * self._auxiliary(source, place, inner)
        return {t: join_channels(y, bypass, parts, 1) for t, y in mixed.items()} if parts > 1 else mixed

    def mix(self, source: int, target: int, x, p, convolutions: dict, values: EdgeValues) -> jax.Array:
        """ō(x) = Σ_o p_o · o(x) on the edge `source → target`; the op `none` contributes nothing."""
        row, total = EDGES.index((source, target)), jnp.zeros_like(x)
        for column, op in enumerate(self.table[row]):
            match op:
                case "none":
                    continue
                case "skip_connect":
                    rate = values.get("skip_dropout")
                    y = x if rate is None else dropout(self.make_rng("drop_path"), x, rate)
                case "avg_pool_3x3":
                    y = reference.avg_pool(x)
                case _:
                    y = convolutions[op, target](x)
            total = total + p[row, column] * y
        return total

    def _convolutions(self, source: int, c: int) -> dict[tuple[str, int], Callable[[jax.Array], jax.Array]]:
        """ReLU, convolution, batch norm of each op and target; parameters are stacked in order of the targets."""
        made = {}
        for op, k in (("nor_conv_1x1", 1), ("nor_conv_3x3", 3)):
            mine = [t for t in range(source + 1, NODES) if op in self.table[EDGES.index((source, t))]]
            if not mine:
                continue
            kernels = self.param(f"from_{source}_{op}", uniform_fan_in(k * k * c), (len(mine), k, k, c, c))
            biases = self.param(f"from_{source}_{op}_bias", uniform_fan_in(k * k * c), (len(mine), c))
            for target, kernel, bias in zip(mine, kernels, biases, strict=True):

                def apply(x, kernel=kernel, bias=bias, k=k):
                    y = reference.convolution(reference.relu(x), kernel, padding=k // 2) + bias
                    return reference.standardise(y, 1e-5)[0]

                made[op, target] = apply
        return made

    def _auxiliary(self, source: int, place: int, x) -> jax.Array:
        """The skip of DARTS- beside the mixed op of an edge."""
        if self.edge.auxiliary_skip == "identity":
            return x
        kernel = self.param(f"from_{source}_auxiliary_{place}_identity", identity, (x.shape[-1], x.shape[-1]))
        return reference.pointwise(x, kernel)


class ResidualReduction(nn.Module):
    """Two 3 × 3 convolutions, the first of stride 2, beside 2 × 2 average pooling and a 1 × 1 convolution."""

    channels: int

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, C]` → `[N, H/2, W/2, channels]`."""
        y = ReLUConvBN(self.channels, 2, name="conv_a")(x, train)
        y = ReLUConvBN(self.channels, 1, name="conv_b")(y, train)
        pooled = sum(x[:, i::2, j::2] for i in range(2) for j in range(2)) / 4
        kernel = self.param("shortcut", uniform_fan_in(x.shape[-1]), (x.shape[-1], self.channels))
        return reference.pointwise(pooled, kernel) + y


class ReLUConvBN(nn.Module):
    """ReLU, 3 × 3 convolution without bias, affine batch norm."""

    channels: int
    stride: int

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, ·]` → `[N, H/stride, W/stride, channels]`."""
        kernel = self.param("conv", uniform_fan_in(9 * x.shape[-1]), (3, 3, x.shape[-1], self.channels))
        y = reference.convolution(reference.relu(x), kernel, stride=self.stride, padding=1)
        return plain.BatchNorm(self.channels, affine=True, name="norm")(y[None], train)[0]
