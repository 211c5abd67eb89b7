"""The networks of NAS-Bench-201 (`jdarts.spaces.nasbench201`): supernet and derived network.

Node 0 of a cell is the input, node i the sum of its edges, node 3 the output. Network: stem, three stages of `cells`
cells (5 in the benchmark) with C, 2C and 4C channels, a residual block of stride 2 between them, batch norm, ReLU,
global average pooling, linear.

The batch norms inside the cells of the supernet have neither scale and shift nor running averages: they normalise by
the batch at all times (the setting behind the published numbers, "BN0"). The supernet of 16 channels and 5 cells a
stage has 1,692,826 weights for 10 classes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts import kernels, staging
from jdarts.devices.replicas import Share
from jdarts.genotypes import Cell, Genotype
from jdarts.kernels import relu
from jdarts.networks import plain_nasbench201
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
from jdarts.networks.fast import pieces
from jdarts.networks.image_sizes import check_halvings, image_sides
from jdarts.networks.plain import Classifier
from jdarts.networks.plain_nasbench201 import EDGES, NODES, STAGES
from jdarts.networks.stem import Stem
from jdarts.networks.wiring import OpTable, OpWeights
from jdarts.ops.initializers import identity, uniform_fan_in
from jdarts.ops.layers import BatchNorm

_EPS = 1e-5


def check_stages(height: int, width: int) -> None:
    """Raise `UserError` unless the image can be halved exactly between the three stages."""
    check_halvings(height, width, STAGES - 1, "cannot be halved twice, as NAS-Bench-201 networks do")


class SearchCell201(nn.Module):
    """A cell of mixed edges; all edges out of a node share one call of each op.

    `from_{source}_{op}` is the kernel of that op on the edges out of `source`, stacked in order of the target, `_bias`
    its bias (which the batch norm behind it removes; it is there because the published networks have it).
    """

    table: OpTable
    channels: int
    axis_name: str | None = None
    edge: EdgeSettings = PLAIN

    @nn.compact
    def __call__(self, x, weights, train: bool, edge_weights=None, edge_values: EdgeValues | None = None):
        """`x [N, H, W, C]`, `weights [6, ops]` → `[N, H, W, C]`."""
        del train
        if self.is_initializing():
            form = plain_nasbench201.Cell201(self.table, self.channels, self.edge)
            nn.share_scope(self, form)
            return form(x, weights, edge_weights, edge_values)
        values = edge_values or {}
        nodes: list = [x, None, None, None]
        for source in range(NODES - 1):
            for target, y in self._edges_from(source, kernels.cut(nodes[source]), weights, values).items():
                if edge_weights is not None:
                    y = y * edge_weights[EDGES.index((source, target))]
                if "drop_path" in values:
                    y = drop_path(self.make_rng("drop_path"), y, values["drop_path"], self._share)
                nodes[target] = y if nodes[target] is None else nodes[target] + y
        return kernels.cut(nodes[-1])

    def _edges_from(self, source: int, x, weights, values: EdgeValues) -> dict[int, jax.Array]:
        parts = self.edge.partial_channels
        inner, bypass = split_channels(x, parts) if parts > 1 else (x, x)
        targets = list(range(source + 1, NODES))
        ops = self._parameters(source, targets, inner.shape[-1])
        mix = self._sampled if self.edge.sampled else self._dense
        rows = {t: weights[EDGES.index((source, t))] for t in targets}
        mixed = mix(source, inner, rows, ops, values)
        if self.edge.auxiliary_skip != "none":
            beta = jnp.asarray(values["auxiliary_skip"], x.dtype)
            for i, t in enumerate(targets):
                mixed[t] = mixed[t] + beta * self._auxiliary(source, i, len(targets), inner)
        return {t: join_channels(y, bypass, parts, 1) for t, y in mixed.items()} if parts > 1 else mixed

    def _parameters(self, source: int, targets: list[int], c: int) -> dict[str, tuple[jax.Array, jax.Array]]:
        """Kernels `[T, k, k, C, C]` and biases `[T, C]` of the convolutions out of `source`."""
        made = {}
        for op, k in (("nor_conv_1x1", 1), ("nor_conv_3x3", 3)):
            count = len(self._with(op, source, targets))
            if count:
                init = uniform_fan_in(k * k * c)
                kernel = self.param(f"from_{source}_{op}", init, (count, k, k, c, c))
                made[op] = kernel, self.param(f"from_{source}_{op}_bias", init, (count, c))
        return made

    def _with(self, op: str, source: int, targets: list[int]) -> list[int]:
        return [t for t in targets if op in self.table[EDGES.index((source, t))]]

    def _dense(self, source: int, x, rows, ops, values: EdgeValues) -> dict[int, jax.Array]:
        """All ops of all edges, the convolutions of several targets in one call."""
        targets, c = list(rows), x.shape[-1]
        mixed = {t: jnp.zeros_like(x) for t in targets}
        active = relu(x)
        outputs: dict[str, Callable[[int], jax.Array]] = {}
        for op, (kernel, bias) in ops.items():
            wide = kernel.transpose(1, 2, 3, 0, 4).reshape(*kernel.shape[1:4], -1)
            y = self._normalised(kernels.convolution(active, wide, padding=kernel.shape[1] // 2) + bias.reshape(-1))
            mine = self._with(op, source, targets)
            outputs[op] = lambda t, y=y, mine=mine: y[..., mine.index(t) * c : (mine.index(t) + 1) * c]
        pooled = kernels.avg_pool(x) if self._with("avg_pool_3x3", source, targets) else x
        outputs["avg_pool_3x3"] = lambda t: pooled
        outputs["skip_connect"] = lambda t: self._skip(x, values)
        for t in targets:
            for column, op in enumerate(self.table[EDGES.index((source, t))]):
                if op != "none":
                    mixed[t] = mixed[t] + rows[t][column] * outputs[op](t)
        return mixed

    def _sampled(self, source: int, x, rows, ops, values: EdgeValues) -> dict[int, jax.Array]:
        """Only the op with the largest weight on every edge, by a real conditional (GDAS' `forward_gdas`); under vmap
        (several seeds on one accelerator) it becomes a selection, and all ops run.

        The weights of the other ops enter as numbers added to every pixel. They are 0, but their gradient, the sum of
        the output's, is what the published code gives an op that was not run.
        """
        mixed = {}
        for t in rows:
            table = self.table[EDGES.index((source, t))]

            def branch(op, t=t):
                if op == "none":
                    return lambda x: jnp.zeros_like(x)
                if op == "skip_connect":
                    return lambda x: x
                if op == "avg_pool_3x3":
                    return lambda x: kernels.avg_pool(x)
                place = self._with(op, source, list(rows)).index(t)
                kernel, bias = ops[op][0][place], ops[op][1][place]
                return lambda x: pieces.sampled_convolution(self.axis_name, _EPS, staging.unit())(x, kernel, bias)

            chosen = jnp.argmax(rows[t])
            y = lax.switch(chosen, [branch(op) for op in table], x)
            others = jnp.sum(rows[t]) - rows[t][chosen]
            mixed[t] = rows[t][chosen] * y + others
        return mixed

    def _normalised(self, y: jax.Array) -> jax.Array:
        return kernels.standardise(y, _EPS, self.axis_name)[0].astype(y.dtype)

    def _skip(self, x, values: EdgeValues) -> jax.Array:
        if "skip_dropout" not in values:
            return x
        return dropout(self.make_rng("drop_path"), x, values["skip_dropout"], self._share)

    @property
    def _share(self) -> Share:
        return Share(self.axis_name)

    def _auxiliary(self, source: int, place: int, edges: int, x) -> jax.Array:
        if self.edge.auxiliary_skip == "identity":
            return x
        c = x.shape[-1]
        name = f"from_{source}_auxiliary_{place}_identity"
        return x @ self.param(name, identity, (c, c))


class DerivedCell201(nn.Module):
    """A cell with one op an edge and affine batch norms with running averages behind the convolutions."""

    cell: Cell
    channels: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, C]` → `[N, H, W, C]`."""
        nodes = [x]
        for target, edges in enumerate(self.cell.nodes, start=1):
            outputs = [
                self._edge(op, f"node_{target}_from_{source}_{op}", nodes[source], train) for op, source in edges
            ]
            nodes.append(sum(outputs[1:], outputs[0]))
        return nodes[-1]

    def _edge(self, op: str, name: str, x, train: bool):
        match op:
            case "none":
                return jnp.zeros_like(x)
            case "skip_connect":
                return x
            case "avg_pool_3x3":
                return kernels.avg_pool(x)
        return ReLUConvBN201(self.channels, int(op[-1]), axis_name=self.axis_name, name=name)(x, train)


class ReLUConvBN201(nn.Module):
    """ReLU, k × k convolution without bias, affine batch norm."""

    channels: int
    kernel: int
    stride: int = 1
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, C_in]` → `[N, H/stride, W/stride, channels]`."""
        k, c_in = self.kernel, x.shape[-1]
        kernel = self.param("conv", uniform_fan_in(k * k * c_in), (k, k, c_in, self.channels))
        y = kernels.convolution(relu(x), kernel, stride=self.stride, padding=k // 2)
        return BatchNorm(self.channels, axis_name=self.axis_name, name="norm")([y], train)[0]


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
        return pooled @ self.param("shortcut", uniform_fan_in(c), (c, self.channels)) + y


class Network201(nn.Module):
    """The skeleton of supernet and derived network; `genotype` None is the supernet."""

    channels: int
    cells: int
    classes: int
    table: OpTable = ()
    genotype: Genotype | None = None
    axis_name: str | None = None
    edge: EdgeSettings = PLAIN
    remat: bool = False

    def edges_of(self, path: tuple[str, ...]) -> None:
        """For `Packing`: no variable is split by edges."""
        del path

    def body_of(self, path: tuple[str, ...]) -> None:
        """For `Packing`: a cell has few arrays, which stay as they are."""
        del path

    def _forward(self, images, train: bool, cell: Callable[[int, int, jax.Array], jax.Array]):
        check_stages(*image_sides(images))
        x = Stem(self.channels, self.axis_name, name="stem")(images, train)
        channels = self.channels
        for stage in range(STAGES):
            if stage:
                channels *= 2
                x = ResidualReduction(channels, self.axis_name, name=f"reduction_{stage}")(x, train)
            for i in range(self.cells):
                x = cell(stage * self.cells + i, channels, x)
        x = nn.relu(BatchNorm(channels, axis_name=self.axis_name, name="norm")([x], train)[0])
        return Classifier(self.classes, name="classifier")(x)


class Supernet201(Network201):
    """The weight-sharing network."""

    @nn.compact
    def __call__(self, op_weights: OpWeights, images, train: bool, edge_values: EdgeValues | None = None):
        """`images [N, H, W, ·]`, `op_weights {"cell": [6, ops]}` → logits `[N, classes]`."""
        if self.is_initializing():
            check_stages(*image_sides(images))
            form = plain_nasbench201.Supernet201(self.channels, self.cells, self.classes, self.table, self.edge)
            nn.share_scope(self, form)
            return form(op_weights, images, train, edge_values)
        cell_class = nn.remat(SearchCell201, static_argnums=(3,)) if self.remat else SearchCell201  # 3 is `train`

        random = edge_values is not None and not {"drop_path", "skip_dropout"}.isdisjoint(edge_values)
        # Sampled edges are pieces of their own: Python then chooses the branch, see `pieces.sampled_convolution`.
        by_piece = staging.in_pieces() and not random and not self.edge.sampled

        def cell(i, channels, x):
            weights, edge_weights = jax.tree.map(
                lambda p: jnp.asarray(p, x.dtype), (op_weights["cell"], op_weights.get("cell" + EDGES_SUFFIX))
            )
            make = partial(cell_class, self.table, channels, self.axis_name, self.edge)
            if by_piece:  # a cell has no running statistics and then draws no noise: a function of its arguments
                params = self.variables["params"].get(f"cell_{i}", {})
                alone: Any = make(parent=None)
                return pieces.cell(alone, train)(x, params, weights, edge_weights, dict(edge_values or {}))
            return make(name=f"cell_{i}")(x, weights, train, edge_weights, edge_values)

        return self._forward(images, train, cell)


class DerivedNetwork201(Network201):
    """The network of one architecture, as the benchmark trains it."""

    @nn.compact
    def __call__(self, images, train: bool, drop_path: jax.Array | float | None = None):
        """`images [N, H, W, ·]` → logits `[N, classes]` and None; the benchmark's networks know no drop-path."""
        del drop_path
        assert self.genotype is not None
        normal = self.genotype.normal

        def cell(i, channels, x):
            return DerivedCell201(normal, channels, self.axis_name, name=f"cell_{i}")(x, train)

        return self._forward(images, train, cell), None
