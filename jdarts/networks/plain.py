"""The cell-based supernet as the papers write it: stem, cells of mixed ops, classifier.

A mixed op replaces the choice of an op on an edge by a weighted sum of all candidates, ō(x) = Σ_o p_o · o(x) (Liu et
al. 2019, eq. 2). A node is the sum of its mixed edges, a cell's output the concatenation of its nodes (§2.1).

This form initialises the parameters and is the oracle of the forms that a search runs (`jdarts.networks.supernet`),
which compute the same numbers faster. It runs on one device.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts.errors import UserError
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
from jdarts.networks.reductions import reduction_cells
from jdarts.networks.wiring import DARTS_EDGES, Edges, OpTable, OpWeights
from jdarts.ops import plain
from jdarts.ops.initializers import identity, uniform_fan_in
from jdarts.ops.table import plain_candidate

STEM_MULTIPLIER = 3


class Supernet(nn.Module):
    """Stem, cells, global average pooling, linear classifier. Two of the cells halve the image and double the width."""

    normal: OpTable
    reduce: OpTable
    channels: int
    cells: int
    classes: int
    edge: EdgeSettings = PLAIN
    edges: Edges = DARTS_EDGES

    @nn.compact
    def __call__(self, op_weights: OpWeights, images, train: bool, edge_values: EdgeValues | None = None):
        """`images [N, H, W, ·]`, `op_weights` of one row an edge → logits `[N, classes]`."""
        s1 = s0 = Stem(STEM_MULTIPLIER * self.channels, name="stem")(images, train)
        p = jax.tree.map(lambda x: jnp.asarray(x, s1.dtype), op_weights)
        channels, reduction_before = self.channels, False
        for i in range(self.cells):
            reduction = i in reduction_cells(self.cells)
            kind, table = ("reduce", self.reduce) if reduction else ("normal", self.normal)
            channels *= 2 if reduction else 1
            cell = Cell(table, channels, reduction, reduction_before, self.edge, self.edges, name=f"cell_{i}")
            s0, s1 = s1, cell(s0, s1, p[kind], train, p.get(kind + EDGES_SUFFIX), edge_values)
            reduction_before = reduction
        return Classifier(self.classes, name="classifier")(s1)


class Cell(nn.Module):
    """A search cell: two inputs, intermediate nodes, their concatenation."""

    table: OpTable
    channels: int
    reduction: bool
    reduction_before: bool
    edge: EdgeSettings = PLAIN
    edges: Edges = DARTS_EDGES
    preprocessed: bool = False

    @nn.compact
    def __call__(self, s0, s1, p, train: bool, edge_weights=None, edge_values: EdgeValues | None = None):
        """`s0, s1 [N, H, W, ·]`, op weights `p [edges, ops]` → `[N, H', W', nodes·channels]`."""
        values = edge_values or {}
        if not self.preprocessed:
            if self.reduction_before:
                s0 = plain.FactorizedReduce(self.channels, name="preprocess_0")(s0, train)[0]
            else:
                s0 = plain.ReLUConvBN(self.channels, name="preprocess_0")(s0, train)
            s1 = plain.ReLUConvBN(self.channels, name="preprocess_1")(s1, train)
        nodes: dict[int, Any] = {0: s0, 1: s1}
        for source in sorted({source for source, _ in self.edges}):
            for target, y in self._edges_from(source, nodes[source], p, train, values).items():
                if edge_weights is not None:
                    y = y * edge_weights[self.edges.index((source, target))]
                if "drop_path" in values:
                    y = drop_path(self.make_rng("drop_path"), y, values["drop_path"])
                nodes[target] = nodes[target] + y if target in nodes else y
        return jnp.concatenate([nodes[target] for target in sorted({target for _, target in self.edges})], axis=-1)

    def _edges_from(self, source: int, x, p, train: bool, values: EdgeValues) -> dict[int, jax.Array]:
        """The output of every edge out of `source`, by its target: a mixed op on the first 1/K of the channels."""
        stride, parts = 2 if self.reduction and source < 2 else 1, self.edge.partial_channels
        inner, bypass = split_channels(x, parts) if parts > 1 else (x, x)
        mixed = self.mix(source, inner, p, train, values, stride)
        if self.edge.auxiliary_skip != "none":
            skips = self._auxiliary(source, inner, stride, len(mixed), train)
            mixed = {t: y + values["auxiliary_skip"] * s for (t, y), s in zip(mixed.items(), skips, strict=True)}
        return {t: join_channels(y, bypass, parts, stride) for t, y in mixed.items()} if parts > 1 else mixed

    def mix(self, source: int, x, p, train: bool, values: EdgeValues, stride: int) -> dict[int, jax.Array]:
        """ō(x) = Σ_o p_o · o(x) on every edge out of `source`, by its target; the op `none` contributes nothing."""
        targets = [t for s, t in self.edges if s == source]
        ops = {t: self.table[self.edges.index((source, t))] for t in targets}
        entries = lax.split(jnp.ravel(p), [1] * p.size)  # indexing takes much longer to trace
        mixed = {t: jnp.zeros_like(x[:, ::stride, ::stride]) for t in targets}
        for op in dict.fromkeys(op for t in targets for op in ops[t] if op != "none"):
            mine = [t for t in targets if op in ops[t]]
            module = plain_candidate(op, x.shape[-1], len(mine), stride, name=f"from_{source}_{op}")
            outputs = module(x, train)
            if op == "skip_connect" and stride == 1 and "skip_dropout" in values:
                outputs = [dropout(self.make_rng("drop_path"), x, values["skip_dropout"]) for _ in mine]
            for place, target in enumerate(mine):
                first = self.edges.index((source, target)) * p.shape[1]
                y = outputs[place % len(outputs)]  # a user's op without weights has one output for all edges
                for column in (k for k, name in enumerate(ops[target]) if name == op):
                    mixed[target] = mixed[target] + entries[first + column] * y
        return mixed

    def _auxiliary(self, source: int, x, stride: int, edges: int, train: bool) -> Any:
        """The skip of DARTS- beside the mixed op of every edge out of `source`."""
        name, c = f"from_{source}_auxiliary", x.shape[-1]
        if stride == 2:
            return plain.FactorizedReduce(c, edges, name=name)(x, train)
        if self.edge.auxiliary_skip == "identity":
            return [x] * edges
        kernels = self.param(f"{name}_identity", identity, (edges, c, c))
        return [reference.pointwise(x, kernel) for kernel in kernels]


def in_type_of(kernel: jax.Array, images: jax.Array) -> jax.Array:
    """`images` in the type of the first kernel, in which the whole network computes; `UserError` if not floating."""
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise UserError(
            f"a network was given images of type {images.dtype}; give floating-point ones (jdarts.data.normalize)"
        )
    return images.astype(kernel.dtype)


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
