"""The networks of NAS-Bench-201 (`jdarts.spaces.nasbench201`): supernet and derived network (Dong and Yang 2020, §2).

Node 0 of a cell is the input, node i the sum of its edges, node 3 the output. Network: stem, three stages of `cells`
cells (5 in the benchmark) with C, 2C and 4C channels, a residual block of stride 2 between them, batch norm, ReLU,
global average pooling, linear.

The batch norms inside the cells of the supernet have neither scale and shift nor running averages: they normalise by
the batch at all times (the setting behind the published numbers, "BN0"). The supernet of 16 channels and 5 cells a
stage has 1,692,826 weights for 10 classes.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts import kernels
from jdarts.genotypes import Cell, Genotype
from jdarts.genotypes.stacked import STAGES, cells_in_order
from jdarts.networks import fast
from jdarts.networks.edges import PLAIN, EdgeSettings, EdgeValues, weights_of_cell
from jdarts.networks.fast.layers import Stem
from jdarts.networks.fast.nasbench201 import ReLUConvBN201, ResidualReduction
from jdarts.networks.image_sizes import check_halvings, image_sides
from jdarts.networks.plain import Classifier
from jdarts.networks.plain import Stem as PlainStem
from jdarts.networks.plain_nasbench201 import PlainCell201, PlainNorm, PlainReduction
from jdarts.networks.recomputing import recomputed
from jdarts.networks.wiring import NASBENCH201_EDGES, OpTable, OpWeights, WholeVariables
from jdarts.ops.batch_norm import BatchNorm


def check_stages(height: int, width: int) -> None:
    """Raise `UserError` unless the image can be halved exactly between the three stages."""
    check_halvings(height, width, STAGES - 1, "cannot be halved twice, as NAS-Bench-201 networks do")


class Skeleton(NamedTuple):
    """The layers around the cells, each by its number of channels and name."""

    stem: Callable[..., nn.Module]
    reduction: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]


PLAIN_SKELETON = Skeleton(PlainStem, PlainReduction, PlainNorm)


class Network201(nn.Module):
    """The skeleton of supernet and derived network.

    Attributes:
      channels: of the first stage.
      cells: their number in each of the three stages.
      classes: outputs of the classifier.
      axis_name: mesh axis over which the batch is split.
      heads: with a classifier behind each of the first two stages, too (CDARTS).
    """

    channels: int
    cells: int
    classes: int
    axis_name: str | None = None

    heads = False

    def forward(self, images, train: bool, skeleton: Skeleton, cell: Callable[[str, int, jax.Array], jax.Array]):
        """Logits `[N, classes]`; `cell` applies the cell of a name, of so many channels.

        With `heads` a tuple, in front those of a classifier behind each of the first two stages.
        """
        check_stages(*image_sides(images))
        x = skeleton.stem(self.channels, name="stem")(images, train)
        channels, early = self.channels, []
        for stage in range(STAGES):
            if stage:
                if self.heads:
                    early.append(Classifier(self.classes, name=f"head_{stage}")(x))
                channels *= 2
                x = skeleton.reduction(channels, name=f"reduction_{stage}")(x, train)
            for i in range(stage * self.cells, (stage + 1) * self.cells):
                x = cell(f"cell_{i}", channels, x)
        x = nn.relu(skeleton.norm(channels, name="norm")(x, train))
        logits = Classifier(self.classes, name="classifier")(x)
        return (*early, logits) if self.heads else logits

    @property
    def skeleton(self) -> Skeleton:
        """The layers in the form that searches and derived networks run."""
        return Skeleton(*(partial(layer, axis_name=self.axis_name) for layer in (Stem, ResidualReduction, BatchNorm)))


class Supernet201(WholeVariables, Network201):
    """The weight-sharing network.

    Attributes:
      table: the candidate ops of every edge.
      edge: what a method changes on an edge.
      remat: compute a cell's activations again when its gradient is, instead of keeping them.
      form: "plain" computes as `jdarts.networks.plain_nasbench201` does, "fast" as suits the platform. Parameters are
        initialised in the plain form.
    """

    table: OpTable = ()
    edge: EdgeSettings = PLAIN
    remat: bool = False
    heads: bool = False
    form: Literal["fast", "plain"] = "fast"

    @nn.compact
    def __call__(self, op_weights: OpWeights, images, train: bool, edge_values: EdgeValues | None = None):
        """`images [N, H, W, ·]`, `op_weights {"cell": [6, ops]}` → logits `[N, classes]`.

        Op weights by the cells' names, `{"cell_0": [6, ops], …}`, are those of a cell each.
        """
        plain = self.form == "plain" or self.is_initializing()
        make_cell = PlainCell201 if plain else fast.cell_nasbench201(self.axis_name, self.remat)

        def cell(name: str, channels: int, x):
            p, edge_weights = jax.tree.map(
                lambda array: jnp.asarray(array, x.dtype), weights_of_cell(op_weights, name, "cell")
            )
            module = make_cell(self.table, channels, edge=self.edge, edges=NASBENCH201_EDGES, name=name)
            return module(x, p, train, edge_weights, edge_values)

        return self.forward(images, train, PLAIN_SKELETON if plain else self.skeleton, cell)


class DerivedNetwork201(Network201):
    """The network of one architecture, as the benchmark trains it; `remat` is that of `Supernet201`."""

    genotype: Genotype | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, images, train: bool, drop_path: jax.Array | float | None = None):
        """`images [N, H, W, ·]` → logits `[N, classes]` and None; the benchmark's networks know no drop-path."""
        del drop_path
        assert self.genotype is not None
        cells = {f"cell_{i}": own for i, own in enumerate(cells_in_order(self.genotype, STAGES * self.cells))}
        make_cell = recomputed(DerivedCell201, self, train_argument=2)

        def cell(name: str, channels: int, x):
            return make_cell(cells[name], channels, self.axis_name, name=name)(x, train)

        return self.forward(images, train, self.skeleton, cell), None


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
