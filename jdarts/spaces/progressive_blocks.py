"""The space of progressive search: cells of one to B blocks (Liu et al. 2018, arXiv:1712.00559, §3.1)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import BlockCell, BlockGenotype, Genotype
from jdarts.spaces.block_spaces import INPUTS, BlockSpace, pnas
from jdarts.spaces.decisions import Choices, Decision, FreeChoices, checked_choices, labelled
from jdarts.spaces.growth import Growth, Stage

_PER_BLOCK = 4


@dataclass(frozen=True)
class ProgressiveBlocks(FreeChoices):
    """The cells of a space of blocks together with all smaller ones.

    The first decision, `blocks`, is the number of blocks less one. The others are those of the largest cells. Decisions
    on blocks that do not exist have no meaning; they are 0 in the canonical choices.

    Attributes:
      name: of the space.
      largest: the space of the largest cells; its genotypes have one cell.
    """

    name: str
    largest: BlockSpace

    def __post_init__(self):
        if len(self.largest.cell_types) != 1 or self.largest.blocks < 2:
            raise UserError(
                f"space {self.largest.name} cannot grow block by block; it needs one cell of 2 blocks or more"
            )

    def make_decisions(self) -> tuple[Decision, ...]:
        """The number of blocks, then four decisions a block."""
        return (labelled("blocks", "normal/blocks", range(1, self.largest.blocks + 1)), *self.largest.decisions)

    @cached_property
    def levels(self) -> tuple[BlockSpace, ...]:
        """The spaces of cells of 1, 2, … blocks."""
        return tuple(replace(self.largest, blocks=blocks) for blocks in range(1, self.largest.blocks + 1))

    @property
    def size(self) -> int:
        """The number of different architectures."""
        return sum(level.size for level in self.levels)

    def decode(self, choices: Sequence[int]) -> BlockGenotype:
        """The genotype; raises `UserError` unless the choices are valid."""
        checked = checked_choices(self, choices)
        blocks = checked[0] + 1
        return self.levels[blocks - 1].decode(checked[1 : 1 + _PER_BLOCK * blocks])

    def encode(self, genotype: Genotype) -> Choices:
        """The canonical choices of a genotype; raises `UserError` for one of another space."""
        blocks = len(genotype.normal.nodes) if isinstance(genotype, BlockGenotype) else self.largest.blocks
        if not 1 <= blocks <= self.largest.blocks or not isinstance(genotype.normal, BlockCell):
            raise UserError(
                f"the cell has {blocks} blocks; in space {self.name} it has 1 to {self.largest.blocks} of two inputs"
            )
        found = self.levels[blocks - 1].encode(genotype)
        return (blocks - 1, *found, *(0,) * (len(self.decisions) - 1 - len(found)))

    @cached_property
    def growth(self) -> Growth:
        """One block a stage: n(n + 1)/2 unordered pairs of its n (input, op)."""
        stages = []
        for block in range(self.largest.blocks):
            operands = itertools.product(range(INPUTS + block), range(len(self.largest.ops)))
            pairs = itertools.combinations_with_replacement(operands, 2)
            options = [(block, first, second, op_1, op_2) for (first, op_1), (second, op_2) in pairs]
            start = 1 + _PER_BLOCK * block
            stages.append(Stage((0, *range(start, start + _PER_BLOCK)), np.array(options)))
        return Growth(tuple(stages), (0,) * len(self.decisions), counter=0)


pnas_progressive = ProgressiveBlocks("pnas_progressive", pnas)
