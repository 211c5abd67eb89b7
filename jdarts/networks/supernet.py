"""The cell-based supernet shared by the DARTS space S0 and the RobustDARTS spaces S1–S4 (Liu et al. 2019, §2).

`jdarts.networks.wiring` numbers the nodes and edges of these spaces. Spaces of a user's own may have others; then a row
of the op weights belongs to the edge at its place in `edges`.

The network never sees alphas: it takes op weights `{"normal": [edges, ops], "reduce": [edges, ops]}`, any real numbers,
or, with weights for each cell, `{"cell_0": [edges, ops], "cell_1": …}`.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts.networks import fast
from jdarts.networks.edges import PLAIN, EdgeSettings, EdgeValues, weights_of_cell
from jdarts.networks.image_sizes import image_sides
from jdarts.networks.plain import STEM_MULTIPLIER, Classifier, ImageNetStem, PlainCell, Stem
from jdarts.networks.reductions import StemName, check_reductions, reduction_cells
from jdarts.networks.wiring import DARTS_EDGES, Edges, OpTable, OpWeights

PLAIN_FORM = fast.Form({"cifar": Stem, "imagenet": ImageNetStem}, PlainCell)


class Supernet(nn.Module):
    """The weight-sharing network: stem, cells, global average pooling, linear classifier.

    Two of the cells halve the image and double the channels.

    Attributes:
      normal, reduce: the candidate ops of every edge.
      channels: of the first cell.
      cells: their number; those at ⌊cells/3⌋ and ⌊2·cells/3⌋ are reduction cells.
      classes: outputs of the classifier.
      axis_name: mesh axis over which the batch is split.
      edge: what a method changes on an edge.
      remat: compute a cell's activations again when its gradient is, instead of keeping them.
      edges: `(source, target)` of every row of the op weights.
      stem: "cifar" is one convolution, "imagenet" three of stride 2, which divide the sides of the image by 8 (the
        searches on ImageNet of PC-DARTS, arXiv:1907.05737, and Single-DARTS).
      heads: the cells behind which a further classifier stands; with any, the network gives a tuple of logits, those of
        the heads in front (CDARTS).
      form: "plain" computes as `jdarts.networks.plain` does, "fast" as suits the platform. Parameters are initialised
        in the plain form.
    """

    normal: OpTable
    reduce: OpTable
    channels: int
    cells: int
    classes: int
    axis_name: str | None = None
    edge: EdgeSettings = PLAIN
    remat: bool = False
    edges: Edges = DARTS_EDGES
    stem: StemName = "cifar"
    heads: tuple[int, ...] = ()
    form: Literal["fast", "plain"] = "fast"

    @nn.compact
    def __call__(self, op_weights: OpWeights, images, train: bool, edge_values: EdgeValues | None = None):
        """`images [N, H, W, image channels]`, `op_weights` of one row an edge → logits `[N, classes]`.

        The rows may be a list of arrays. `op_weights` may hold `normal_edges` and `reduce_edges [edges]` (or
        `cell_0_edges`, …), factors of the edges' outputs; `edge_values` are the numbers that `edge` and drop-path need
        (`jdarts.networks.edges`).

        Raises `UserError` for images that the reduction cells cannot halve.
        """
        check_reductions(*image_sides(images), self.cells, stem=self.stem)
        stems, make_cell, rows = PLAIN_FORM if self._plain else fast.form(self.axis_name, self.remat)
        if self.stem == "cifar":
            s1 = s0 = stems["cifar"](STEM_MULTIPLIER * self.channels, name="stem")(images, train)
        else:
            s0, s1 = stems[self.stem](self.channels, name="stem")(images, train)
        p = {
            name: rows(jax.tree.map(lambda x: jnp.asarray(x, s1.dtype), matrix)) for name, matrix in op_weights.items()
        }
        channels, reduction_before, early = self.channels, self.stem != "cifar", []
        for i in range(self.cells):
            reduction = i in reduction_cells(self.cells)
            kind, table = ("reduce", self.reduce) if reduction else ("normal", self.normal)
            channels *= 2 if reduction else 1
            cell = make_cell(
                table,
                channels,
                edge=self.edge,
                edges=self.edges,
                reduction=reduction,
                reduction_before=reduction_before,
                name=f"cell_{i}",
            )
            own, edge_weights = weights_of_cell(p, f"cell_{i}", kind)
            s0, s1 = s1, cell(s0, s1, own, train, edge_weights, edge_values)
            reduction_before = reduction
            if i in self.heads:
                early.append(Classifier(self.classes, name=f"head_{i}")(s1))
        logits = Classifier(self.classes, name="classifier")(s1)
        return (*early, logits) if self.heads else logits

    @property
    def _plain(self) -> bool:
        return self.form == "plain" or self.is_initializing()

    def edges_of(self, path: tuple[str, ...]) -> list[tuple[str, ...]] | None:
        """For `Packing`: the edges over which the variable at `path` is stacked, None if it is not."""
        if len(path) < 3 or not path[1].startswith("from_"):
            return None
        reduction = int(path[0].removeprefix("cell_")) in reduction_cells(self.cells)
        table = self.reduce if reduction else self.normal
        edges = fast.stacked_edges(path[1:], table, reduction, self.edges)
        return edges and [(path[0], *edge) for edge in edges]

    def body_of(self, path: tuple[str, ...]) -> tuple[str, ...] | None:
        """For `Packing`: the cell whose body the variable or edge at `path` belongs to."""
        match path:
            case (cell, part, *_) if cell.startswith("cell_") and not part.startswith("preprocess"):
                return cell, fast.BODY
        return None
