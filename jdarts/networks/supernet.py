"""The cell-based supernet shared by the DARTS space S0 and the RobustDARTS spaces S1–S4.

A cell has two inputs (nodes 0 and 1, the outputs of the two cells before), four intermediate nodes 2–5 and 14 edges;
row `OFFSETS[i] + j` of an op-weight matrix belongs to the edge from node j to node i. Node i is the sum of its mixed
edges, the cell's output the concatenation of its four nodes (Liu et al. 2019, §2.1 and code). Spaces of a user's own
may have other nodes and edges; then a row belongs to the edge at its place in `edges`.

The network never sees alphas: it takes op weights `{"normal": [14, ops], "reduce": [14, ops]}`, any real numbers.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts import kernels, staging
from jdarts.networks import plain
from jdarts.networks.cells import BODY, SearchCell, stacked_edges
from jdarts.networks.edges import EDGES_SUFFIX, PLAIN, EdgeSettings, EdgeValues
from jdarts.networks.image_sizes import image_sides
from jdarts.networks.plain import STEM_MULTIPLIER, Classifier
from jdarts.networks.reductions import check_reductions, reduction_cells
from jdarts.networks.stem import Stem
from jdarts.networks.wiring import DARTS_EDGES, Edges, OpTable, OpWeights, rows_of
from jdarts.ops.layers import Layout


class Supernet(nn.Module):
    """The weight-sharing network: stem, cells, global average pooling, linear classifier."""

    normal: OpTable
    reduce: OpTable
    channels: int
    cells: int
    classes: int
    axis_name: str | None = None
    layout: Layout = "auto"
    impl: kernels.Impl = "auto"
    edge: EdgeSettings = PLAIN
    remat: bool = False
    edges: Edges = DARTS_EDGES

    def edges_of(self, path: tuple[str, ...]) -> list[tuple[str, ...]] | None:
        """For `Packing`: the edges over which the variable at `path` is stacked, None if it is not."""
        if len(path) < 3 or not path[1].startswith("from_"):
            return None
        reduction = int(path[0].removeprefix("cell_")) in reduction_cells(self.cells)
        table = self.reduce if reduction else self.normal
        edges = stacked_edges(path[1:], table, reduction, self.edges)
        return edges and [(path[0], *edge) for edge in edges]

    def body_of(self, path: tuple[str, ...]) -> tuple[str, ...] | None:
        """For `Packing`: the cell whose body the variable or edge at `path` belongs to."""
        match path:
            case (cell, part, *_) if cell.startswith("cell_") and not part.startswith("preprocess"):
                return cell, BODY
        return None

    @nn.compact
    def __call__(self, op_weights: OpWeights, images, train: bool, edge_values: EdgeValues | None = None):
        """`images [N, H, W, image channels]`, `op_weights` of one row an edge → logits `[N, classes]`.

        The rows may be a list of arrays. `op_weights` may hold `normal_edges` and `reduce_edges [edges]`, factors of
        the edges' outputs; `edge_values` are the numbers that `edge` and drop-path need (`jdarts.networks.edges`). With
        `remat` a cell's activations are computed again when its gradient is, instead of being kept.

        Raises `UserError` for images that the reduction cells cannot halve.
        """
        check_reductions(*image_sides(images), self.cells)
        if self.is_initializing():
            form = plain.Supernet(
                self.normal, self.reduce, self.channels, self.cells, self.classes, self.edge, self.edges
            )
            nn.share_scope(self, form)
            return form(op_weights, images, train, edge_values)
        s1 = s0 = Stem(STEM_MULTIPLIER * self.channels, self.axis_name, name="stem")(images, train)
        cell_class = nn.remat(SearchCell, static_argnums=(4,)) if self.remat else SearchCell  # argument 4 is `train`
        by_edge = staging.unit() == "edges"  # one array an edge, shared by all cells
        op_weights = jax.tree.map(lambda p: jnp.asarray(p, s1.dtype), op_weights)
        op_weights = {name: rows_of(p) if by_edge else jnp.asarray(p) for name, p in op_weights.items()}
        channels, reduction_before = self.channels, False
        for i in range(self.cells):
            reduction = i in reduction_cells(self.cells)
            if reduction:
                channels *= 2
            cell = cell_class(
                table=self.reduce if reduction else self.normal,
                channels=channels,
                reduction=reduction,
                reduction_before=reduction_before,
                axis_name=self.axis_name,
                layout=self.layout,
                impl=self.impl,
                edge=self.edge,
                edges=self.edges,
                name=f"cell_{i}",
            )
            kind = "reduce" if reduction else "normal"
            edge_weights = op_weights.get(kind + EDGES_SUFFIX)
            s0, s1 = s1, cell(s0, s1, op_weights[kind], train, edge_weights, edge_values)
            reduction_before = reduction
        return Classifier(self.classes, name="classifier")(s1)
