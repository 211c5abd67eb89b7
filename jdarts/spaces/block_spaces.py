"""The spaces of cells of two-input blocks: NASNet, PNAS and ENAS micro.

A block has four decisions, `normal.4.input_1`, `normal.4.input_2`, `normal.4.op_1` and `normal.4.op_2`; node numbers
are those of the genotype. Both inputs may be the same node. The order of the two inputs of a block has no meaning; in
the canonical choices the first (input, op) is not greater than the second.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from jdarts.errors import UserError
from jdarts.genotypes import BLOCK_OPS, BlockCell, BlockGenotype, Edge, Genotype, block_cell, excerpt
from jdarts.genotypes.blocks import Family
from jdarts.spaces.decisions import Choices, Decision, FreeChoices, checked_choices

_PER_BLOCK = 4
INPUTS = 2


@dataclass(frozen=True)
class BlockSpace(FreeChoices):
    """Cells of `blocks` blocks with the same ops on all edges.

    Attributes:
      name: of the space.
      ops: the options of every op.
      family: of the genotypes; "pnasnet" has one cell, the others a normal and a reduction cell.
      blocks: in a cell.
      output: the nodes that are concatenated: those that no block reads, or all blocks (Liu et al. 2018, §3.1).
    """

    name: str
    ops: tuple[str, ...]
    family: Family
    blocks: int = 5
    output: Literal["unused", "all"] = "unused"

    @cached_property
    def cell_types(self) -> tuple[str, ...]:
        """The names of the cells that are decided on."""
        return ("normal",) if self.family == "pnasnet" else ("normal", "reduce")

    def make_decisions(self) -> tuple[Decision, ...]:
        """Four decisions a block, cell by cell."""
        return tuple(
            Decision(f"{cell}.{target}.{kind}_{i}", len(labels), f"{cell}/{kind}", labels)
            for cell in self.cell_types
            for target in range(INPUTS, INPUTS + self.blocks)
            for kind, labels in (("input", tuple(map(str, range(target)))), ("op", self.ops))
            for i in (1, 2)
        )

    @property
    def size(self) -> int:
        """The number of different architectures: n(n + 1)/2 pairs of the n (input, op) of each block."""
        operands = [target * len(self.ops) for target in range(INPUTS, INPUTS + self.blocks)]
        return math.prod(n * (n + 1) // 2 for n in operands) ** len(self.cell_types)

    def decode(self, choices: Sequence[int]) -> BlockGenotype:
        """The genotype; raises `UserError` unless the choices are valid."""
        checked = checked_choices(self, choices)
        length = _PER_BLOCK * self.blocks
        cells = [self._cell(checked[i : i + length]) for i in range(0, len(checked), length)]
        return BlockGenotype(cells[0], cells[-1], self.family, self.family == "pnasnet")

    def encode(self, genotype: Genotype) -> Choices:
        """The canonical choices of a genotype; raises `UserError` for one of another space."""
        if not isinstance(genotype, BlockGenotype) or genotype.family != self.family:
            found = getattr(genotype, "family", type(genotype).__name__)
            raise UserError(f"space {self.name} has genotypes of the family {self.family}; found {excerpt(found)}")
        return tuple(choice for name in self.cell_types for choice in self._choices(name, genotype.cells[name]))

    def _cell(self, choices: Choices) -> BlockCell:
        nodes = []
        for start in range(0, len(choices), _PER_BLOCK):
            inputs, ops = choices[start : start + 2], choices[start + 2 : start + 4]
            nodes.append([(self.ops[op], source) for source, op in sorted(zip(inputs, ops, strict=True))])
        return self._with_output(block_cell(nodes))

    def _with_output(self, cell: BlockCell) -> BlockCell:
        blocks = tuple(range(INPUTS, INPUTS + len(cell.nodes)))
        return block_cell(cell.nodes) if self.output == "unused" else BlockCell(cell.nodes, blocks)

    def _choices(self, name: str, cell: object) -> Choices:
        if not isinstance(cell, BlockCell) or len(cell.nodes) != self.blocks:
            raise UserError(f"the {name} cell does not belong to space {self.name}, which has {self.blocks} blocks")
        expected = self._with_output(cell).concat
        if cell.concat != expected:
            raise UserError(
                f"the {name} cell has the output {list(cell.concat)}; in space {self.name} it is {list(expected)}"
            )
        return tuple(choice for edges in cell.nodes for choice in self._block(name, edges))

    def _block(self, name: str, edges: Sequence[Edge]) -> Choices:
        for op, _ in edges:
            if op not in self.ops:
                raise UserError(f"the {name} cell has the op {op}; space {self.name} has {', '.join(self.ops)}")
        operands = sorted((source, self.ops.index(op)) for op, source in edges)
        return (*(source for source, _ in operands), *(op for _, op in operands))


nasnet = BlockSpace("nasnet", BLOCK_OPS, "nasnet")
nasnet_8 = BlockSpace("nasnet_8", BLOCK_OPS[:8], "nasnet")
pnas = BlockSpace("pnas", BLOCK_OPS[:8], "pnasnet", output="all")
