"""Spaces whose supernets have alphas for each cell: `space.shared` false.

The usual searches share the alphas among all cells of a kind. Here the cell at position i has its own, named `cell_i`,
of the shape and with the candidates of its kind, and architectures have a cell for every position
(`jdarts.genotypes.StackedGenotype`). The candidates, the weights of the supernet and the rules of derivation are those
of the shared space; every rule is applied to each cell by itself.

DARTS+ shows the collapse cell by cell with such alphas (Liang et al. 2019, arXiv:1909.06035), and GOLD-NAS prunes them
(Bi et al. 2020, arXiv:2007.03331).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import Cell, Genotype, StackedGenotype
from jdarts.genotypes.stacked import CELL, MOST_CELLS, STAGES
from jdarts.networks.edges import PLAIN, EdgeSettings
from jdarts.networks.reductions import reduction_cells
from jdarts.networks.wiring import OpTable, OpWeights
from jdarts.spaces.cell_space import CellSpace
from jdarts.spaces.decisions import Choices, Decision, checked_choices, in_range
from jdarts.spaces.nasbench201 import NASBench201Space
from jdarts.spaces.space import normal_alphas
from jdarts.spaces.weight_checks import checked_weights, finite_weights

SharedSpace = CellSpace | NASBench201Space


@dataclass(frozen=True)
class OneCell:
    """The space of the cell at one position: a shared space in which every kind of cell has its candidates."""

    space: SharedSpace

    @property
    def kinds(self) -> int:
        """The kinds of cells of `space`, which are all the same here."""
        return len(self.space.tables)

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """The decisions of one cell."""
        return self.space.decisions[: len(self.space.decisions) // self.kinds]

    @property
    def size(self) -> int:
        """The number of different cells."""
        return self.space.size if self.kinds == 1 else math.isqrt(self.space.size)

    def weights(self, p: Any) -> OpWeights:
        """Op weights of `space` from those of the cell."""
        return dict.fromkeys(self.space.tables, p)

    def genotype(self, cell: Cell) -> Genotype:
        """A genotype of `space` from the cell."""
        return Genotype(cell, cell if self.kinds > 1 else None)


@dataclass(frozen=True)
class PerCellSpace:
    """A space of cells with alphas for each cell of the supernet.

    Attributes:
      shared: the space with alphas for each kind of cell: DARTS cells or NAS-Bench-201.
      cells: the cells of the supernet, in NAS-Bench-201 those of all three stages.

    Raises `UserError` for no cells or more than 100, and for cells of NAS-Bench-201 that do not fill three stages.

    Example::

        space = PerCellSpace(spaces.robust_s2, 8)
        space.alpha_shapes["cell_2"]                  # (14, 2), of a reduction cell
        space.derive(softmax(space.init_alphas(key))).stack[2]
    """

    shared: SharedSpace
    cells: int

    def __post_init__(self):
        if not 1 <= self.cells <= MOST_CELLS:
            raise UserError(
                f"the supernet has {self.cells} cells; with space.shared false it may have 1 to {MOST_CELLS}"
            )
        if self.one_input and self.cells % STAGES:
            raise UserError(f"the supernet has {self.cells} cells; NAS-Bench-201 has as many in each of 3 stages")

    @property
    def name(self) -> str:
        """The name of the shared space."""
        return self.shared.name

    @property
    def one_input(self) -> bool:
        """True for NAS-Bench-201, where every edge keeps one op."""
        return isinstance(self.shared, NASBench201Space)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """`(source, target)` of every row of the alphas of a cell."""
        return self.shared.edges

    @cached_property
    def kinds(self) -> dict[str, str]:
        """The kind of every cell, `{"cell_0": "normal", …}`: "normal", "reduce", or "cell" in NAS-Bench-201."""
        if self.one_input:
            return {f"{CELL}{i}": "cell" for i in range(self.cells)}
        reductions = reduction_cells(self.cells)
        return {f"{CELL}{i}": "reduce" if i in reductions else "normal" for i in range(self.cells)}

    @property
    def tables(self) -> dict[str, OpTable]:
        """The candidate ops by the name of the cell."""
        return {name: self.shared.tables[kind] for name, kind in self.kinds.items()}

    @property
    def alpha_shapes(self) -> dict[str, tuple[int, int]]:
        """`{"cell_0": (edges, ops), …}`."""
        return {name: self.shared.alpha_shapes[kind] for name, kind in self.kinds.items()}

    def init_alphas(self, key: jax.Array, scale: float = 1e-3) -> dict[str, jax.Array]:
        """Alphas drawn from N(0, scale²), float32 (under `jax_enable_x64` float64)."""
        return normal_alphas(self.alpha_shapes, key, scale)

    def supernet(
        self,
        *,
        channels: int,
        cells: int,
        classes: int,
        axis_name: str | None = None,
        edge: EdgeSettings = PLAIN,
        remat: bool = False,
    ) -> Any:
        """The supernet of the shared space, which also takes op weights by the names of its cells."""
        if cells * (STAGES if self.one_input else 1) != self.cells:
            raise UserError(f"the alphas are those of {self.cells} cells; a supernet of {cells} cells needs others")
        fields = {"channels": channels, "cells": cells, "classes": classes, "axis_name": axis_name}
        return self.shared.supernet(**fields, edge=edge, remat=remat)

    def check_weights(self, op_weights: OpWeights, what: str = "op_weights") -> None:
        """Raise `UserError` unless `op_weights` (or alphas) have this space's names and shapes."""
        checked_weights(self, op_weights, what)

    def check_image(self, height: int, width: int, cells: int, what: str = "space.cells") -> None:
        """Raise `UserError` unless the network accepts such images."""
        self.shared.check_image(height, width, cells, what)

    def derive(self, op_weights: OpWeights) -> StackedGenotype:
        """The derivation of the shared space, for each cell. Raises `UserError` for other shapes, NaN and infinity."""
        ops = {name: p for name, p in op_weights.items() if name in self.tables}
        return self.by_cell(finite_weights(self, ops), lambda space, p: space.derive(p))

    def by_cell(
        self, op_weights: Mapping[str, Any], rule: Callable[[SharedSpace, OpWeights], Genotype]
    ) -> StackedGenotype:
        """The genotype whose cells `rule` derives, each in the shared space from the op weights of its cell."""
        found = []
        for name, own in self.alone.items():
            found.append(rule(own.space, own.weights(op_weights[name])).normal)
        return StackedGenotype(tuple(found))

    @cached_property
    def alone(self) -> dict[str, OneCell]:
        """The space of each cell by itself."""
        made: dict[str, OneCell] = {}
        for kind, table in self.shared.tables.items():
            made[kind] = OneCell(
                self.shared
                if isinstance(self.shared, NASBench201Space)
                else replace(self.shared, normal=table, reduce=table)
            )
        return {name: made[kind] for name, kind in self.kinds.items()}

    def genotype_of(self, cells: Mapping[str, Cell]) -> StackedGenotype:
        """The genotype with these cells by name."""
        return StackedGenotype(tuple(cells[name] for name in self.kinds))

    def one_hot(self, genotype: Genotype) -> OpWeights:
        """Op weights that switch on exactly the ops of `genotype`; raises `UserError` for one of another space."""
        weights = {}
        for (name, own), cell in zip(self.alone.items(), self._stack(genotype), strict=True):
            weights[name] = next(iter(own.space.one_hot(own.genotype(cell)).values()))
        return weights

    def random_genotype(self, seed: int) -> StackedGenotype:
        """A random cell of the shared space at every position."""
        seeds = np.random.default_rng(seed).integers(2**31, size=self.cells)
        drawn = (own.space.random_genotype(int(s)) for own, s in zip(self.alone.values(), seeds, strict=True))
        return StackedGenotype(tuple(genotype.normal for genotype in drawn))

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The decisions of every cell, as in `cell_3.4.op_1`; of NAS-Bench-201 `cell_3.edge_0_1`."""
        return self._decisions

    @cached_property
    def _decisions(self) -> tuple[Decision, ...]:
        found = []
        for name, own in self.alone.items():
            for decision in own.decisions:
                node = decision.name.removeprefix(f"{decision.part}.")
                found.append(Decision(f"{name}.{node}", decision.options, f"{name}/{decision.kind}"))
        return tuple(found)

    @property
    def size(self) -> int:
        """The number of different genotypes."""
        return math.prod(own.size for own in self.alone.values())

    def is_valid(self, choices: Sequence[int]) -> bool:
        """True if the choices are in range and describe a cell at every position."""
        if not in_range(self.decisions, choices):
            return False
        return all(own.space.is_valid(part * own.kinds) for own, part in self._parts(choices))

    def decode(self, choices: Sequence[int]) -> StackedGenotype:
        """The genotype of the choices; raises `UserError` unless they are valid."""
        parts = self._parts(checked_choices(self, choices))
        return StackedGenotype(tuple(own.space.decode(part * own.kinds).normal for own, part in parts))

    def encode(self, genotype: Genotype) -> Choices:
        """The canonical choices of a genotype; raises `UserError` for one of another space."""
        found: list[int] = []
        for own, cell in zip(self.alone.values(), self._stack(genotype), strict=True):
            found += own.space.encode(own.genotype(cell))[: len(own.decisions)]
        return tuple(found)

    def _parts(self, choices: Sequence[int]) -> list[tuple[OneCell, Choices]]:
        parts, start = [], 0
        for own in self.alone.values():
            end = start + len(own.decisions)
            parts.append((own, tuple(choices[start:end])))
            start = end
        return parts

    def _stack(self, genotype: Genotype) -> tuple[Cell, ...]:
        if not isinstance(genotype, StackedGenotype) or len(genotype.stack) != self.cells:
            found = f"{len(genotype.stack)} cells" if isinstance(genotype, StackedGenotype) else "no cell for each"
            raise UserError(
                f"the genotype has {found}; space {self.name} with space.shared false has {self.cells} positions"
            )
        if genotype.nasbench201 != self.one_input:
            raise UserError(f"the genotype has cells with {genotype.normal.inputs} inputs, unlike space {self.name}")
        return genotype.stack
