"""Networks with a cell of its own at every position: `StackedGenotype`, and the cells of any genotype in order.

Searches with alphas for each cell (`space.shared` false) derive them, and so does GOLD-NAS.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jdarts.errors import UserError
from jdarts.genotypes.genotype import Cell, Genotype, check_nasbench201, excerpt, sequence

CELL = "cell_"
"""The name of the cell at position i is `cell_i`, in genotypes, alphas and op weights."""
MOST_CELLS = 100
STAGES = 3
"""Stages of a network of NAS-Bench-201, each with as many cells."""


def reduction_cells(cells: int) -> tuple[int, ...]:
    """Indices of the cells that halve the image: ⌊L/3⌋ and ⌊2L/3⌋ (one index for very short networks)."""
    return tuple(sorted({cells // 3, 2 * cells // 3}))


@dataclass(frozen=True)
class StackedGenotype(Genotype):
    """A network of DARTS cells, or of NAS-Bench-201 cells, that may all differ.

    Attributes:
      stack: the cells in the order of the network. Cells with two inputs at ⌊L/3⌋ and ⌊2L/3⌋ halve the image. Cells
        with one input are those of NAS-Bench-201, a third of them in each stage.
      normal, reduce: the first cell of each kind, for functions that look at one; `reduce` is None for NAS-Bench-201.

    The text form is JSON. Raises `UserError` for no cells or more than 100, for cells with different numbers of inputs,
    and for cells of NAS-Bench-201 that do not fill three stages.

    Example::

        genotype = StackedGenotype((cell_a, cell_b, cell_c))
        genotype.cells["cell_1"] == cell_b
        parse(genotype.to_text()) == genotype
    """

    normal: Cell = field(init=False, repr=False, compare=False)
    reduce: Cell | None = field(init=False, repr=False, compare=False)
    stack: tuple[Cell, ...]

    def __post_init__(self):
        stack = sequence(self.stack, "stack")
        if not 1 <= len(stack) <= MOST_CELLS:
            raise UserError(f"stack has {len(stack)} cells; a network has at least one, at most {MOST_CELLS}")
        for i, cell in enumerate(stack):
            if not isinstance(cell, Cell):
                raise UserError(f"cell {i} of stack is {excerpt(cell)}; expected a Cell")
            if cell.inputs != stack[0].inputs or cell.inputs not in (1, 2):
                raise UserError(
                    f"cell {i} of stack has {cell.inputs} input nodes; all cells have 2, or all have 1 (NAS-Bench-201)"
                )
        object.__setattr__(self, "stack", stack)
        reductions = self.reductions
        object.__setattr__(self, "normal", (self.normal_cells or stack)[0])
        object.__setattr__(self, "reduce", stack[reductions[0]] if reductions else None)
        if self.nasbench201:
            for cell in stack:
                check_nasbench201(cell)
            if len(stack) % STAGES:
                raise UserError(f"stack has {len(stack)} cells of NAS-Bench-201; three stages need a multiple of 3")

    @property
    def nasbench201(self) -> bool:
        """True if the cells have one input, as those of NAS-Bench-201."""
        return self.stack[0].inputs == 1

    @property
    def reductions(self) -> tuple[int, ...]:
        """The positions of the cells that halve the image; none for NAS-Bench-201."""
        return () if self.nasbench201 else reduction_cells(len(self.stack))

    @property
    def normal_cells(self) -> tuple[Cell, ...]:
        """All cells that are not reduction cells."""
        reductions = self.reductions
        return tuple(cell for i, cell in enumerate(self.stack) if i not in reductions)

    @property
    def cells(self) -> dict[str, Cell]:
        """The cells by name, `cell_0`, `cell_1`, …"""
        return {f"{CELL}{i}": cell for i, cell in enumerate(self.stack)}

    def to_text(self, *, without: str = "") -> str:
        """JSON on one line; `without` has no effect, as every cell is searched."""
        del without
        return self.to_json()

    def to_json(self) -> str:
        """JSON on one line: `{"stack": [{"nodes": …, "concat": …, "inputs": 2}, …]}`."""
        cells = [{"nodes": cell.nodes, "concat": cell.concat, "inputs": cell.inputs} for cell in self.stack]
        return json.dumps({"stack": cells}, sort_keys=True)

    def to_nasbench201(self) -> str:
        """Raises `UserError`: several cells have no arch string."""
        raise UserError("a genotype with a cell for every position has no NAS-Bench-201 arch string; use to_text()")


def normal_cells(genotype: Any) -> tuple[Cell, ...]:
    """The cells of a genotype that are not reduction cells; of a chain or a recurrent cell its graph."""
    return genotype.normal_cells if isinstance(genotype, StackedGenotype) else (genotype.normal,)


def cells_in_order(genotype: Genotype, cells: int, what: str = "cells") -> Sequence[Cell]:
    """The cell at every position of a network of `cells` cells; of NAS-Bench-201, in all three stages together.

    Raises `UserError`, which names the setting `what`, if the genotype has another number of cells of its own.
    """
    if isinstance(genotype, StackedGenotype):
        if len(genotype.stack) != cells:
            stages = STAGES if genotype.nasbench201 else 1
            own = f"{len(genotype.stack)} cells, each for its own position"
            raise UserError(
                f"the genotype has {own}, and the network would have {cells}; set {what} to "
                f"{len(genotype.stack) // stages}"
            )
        return genotype.stack
    if genotype.reduce is None:
        return (genotype.normal,) * cells
    reductions = reduction_cells(cells)
    return tuple(genotype.reduce if i in reductions else genotype.normal for i in range(cells))


def refuse_stacked(genotype: Any) -> None:
    """Raise `UserError` if `genotype` has a cell for every position; for what needs a normal and a reduction cell."""
    if isinstance(genotype, StackedGenotype):
        raise UserError(
            f"the genotype has {len(genotype.stack)} cells, each for its own position; one with a normal and a "
            "reduction cell (of NAS-Bench-201, one cell) is needed here"
        )
