"""The smallest real supernet: one cell of NAS-Bench-201 between stem and classifier; compiles in seconds."""

import dataclasses

from flax import linen as nn

from jdarts.networks import fast
from jdarts.networks.edges import PLAIN, EdgeSettings
from jdarts.networks.fast.layers import Stem
from jdarts.networks.plain import Classifier
from jdarts.networks.plain_nasbench201 import PlainCell201
from jdarts.networks.wiring import NASBENCH201_EDGES, OpTable
from jdarts.spaces.nasbench201 import NASBench201Space


class OneCell(nn.Module):
    table: OpTable
    channels: int
    classes: int
    axis_name: str | None = None
    edge: EdgeSettings = PLAIN

    def edges_of(self, path):
        del path

    def body_of(self, path):
        del path

    @nn.compact
    def __call__(self, op_weights, images, train, edge_values=None):
        x = Stem(self.channels, self.axis_name, name="stem")(images, train)
        make_cell = PlainCell201 if self.is_initializing() else fast.cell_nasbench201(self.axis_name, remat=False)
        cell = make_cell(self.table, self.channels, edge=self.edge, edges=NASBENCH201_EDGES, name="cell")
        x = cell(x, op_weights["cell"], train, op_weights.get("cell_edges"), edge_values)
        return Classifier(self.classes, name="classifier")(nn.relu(x))


@dataclasses.dataclass(frozen=True)
class OneCellSpace(NASBench201Space):
    def supernet(self, *, channels, cells, classes, axis_name=None, edge=PLAIN, remat=False):
        return OneCell(self.cell, channels, classes, axis_name, edge)


_OP_FROM = {0: "nor_conv_3x3", 1: "nor_conv_1x1", 2: "avg_pool_3x3"}  # a network computes each of them once
NARROW_CELL = tuple(("none", "skip_connect", _OP_FROM[source]) for source, _ in NASBENCH201_EDGES)
NARROW = OneCellSpace(cell=NARROW_CELL)
