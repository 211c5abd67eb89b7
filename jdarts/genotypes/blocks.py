"""Cells of two-input blocks and their genotypes: NASNet, AmoebaNet, PNASNet, ENAS micro."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jdarts.errors import UserError, unknown
from jdarts.genotypes.genotype import Cell, Edge, Genotype

Family = Literal["nasnet", "amoebanet", "pnasnet", "enas"]
FAMILIES: tuple[Family, ...] = ("nasnet", "amoebanet", "pnasnet", "enas")


@dataclass(frozen=True)
class BlockCell(Cell):
    """A cell of blocks: each intermediate node adds up the outputs of two ops (Zoph et al. 2018, §3.2).

    `concat` may name the two inputs of the cell too. Raises `UserError` like `Cell`, and for a node without exactly
    two edges.
    """

    def lowest_output(self) -> int:
        """The inputs may be a part of the output."""
        return 0

    def __post_init__(self):
        super().__post_init__()
        for target, edges in enumerate(self.nodes, start=self.inputs):
            if len(edges) != 2:
                raise UserError(f"node {target} has {len(edges)} edges; a block has two inputs and two ops")


@dataclass(frozen=True)
class BlockGenotype(Genotype):
    """A normal and a reduction cell of blocks, and the kind of network that stacks them.

    Attributes:
      family: "nasnet" and "amoebanet" put a reduction cell in front of each normal cell where the width doubles; in the
        latter, dense convolutions are bottlenecks and drop-path does not depend on the depth. "pnasnet" has one cell,
        which halves the image by stride 2. "enas" is the network of ENAS micro.
      skip_reduction_layer_input: the wiring around reductions (`jdarts.networks.nasnet.layout`); False for "amoebanet"
        and "enas".

    The text form is JSON. Raises `UserError` for cells of another kind and for fields that do not go together.
    """

    family: Family = "nasnet"
    skip_reduction_layer_input: bool = False

    def __post_init__(self):
        if self.family not in FAMILIES:
            raise unknown("family of a genotype", str(self.family)[:60], FAMILIES)
        if not isinstance(self.skip_reduction_layer_input, bool):
            raise UserError(f"skip_reduction_layer_input is {self.skip_reduction_layer_input!r}; use true or false")
        for name, cell in (("normal", self.normal), ("reduce", self.reduce)):
            if not isinstance(cell, BlockCell) or cell.inputs != 2:
                raise UserError(f"the {name} cell of a {self.family} genotype must be a BlockCell with 2 inputs")
        if self.family == "pnasnet" and self.normal != self.reduce:
            raise UserError("the normal and the reduction cell differ; a pnasnet genotype has one cell")
        if self.skip_reduction_layer_input and self.family not in ("nasnet", "pnasnet"):
            raise UserError(f"skip_reduction_layer_input is true; {self.family} networks do not have this wiring")

    def to_text(self, *, without: str = "") -> str:
        """JSON on one line; `without` is the name of a cell to leave out, for people."""
        fields = json.loads(self.to_json())
        return json.dumps({name: value for name, value in fields.items() if name != without})

    def to_json(self) -> str:
        """JSON on one line: the fields of `Genotype`, `family` and `skip_reduction_layer_input`."""
        fields = {"family": self.family, "skip_reduction_layer_input": self.skip_reduction_layer_input}
        return json.dumps(fields | json.loads(super().to_json()), sort_keys=True)


def block_cell(nodes: Sequence[Sequence[Edge]]) -> BlockCell:
    """The cell with these blocks, whose output is the concatenation of all nodes that no block reads.

    Nodes 0 and 1 are the outputs of cells c−2 and c−1; they are a part of the output too if no block reads them.
    """
    blocks = tuple((edges[0], edges[1]) for edges in nodes)
    read = {source for edges in blocks for _, source in edges}
    return BlockCell(blocks, tuple(node for node in range(2 + len(blocks)) if node not in read))
