"""The One-Shot space (Bender et al., ICML 2018): one cell of choice blocks, which select their inputs and their ops."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import excerpt
from jdarts.genotypes.one_shot import CELL_INPUTS, CHOICE_OPS, MOST_OPS, ChoiceBlock, OneShotGenotype
from jdarts.networks.edges import PLAIN, EdgeSettings
from jdarts.networks.image_sizes import check_whole
from jdarts.networks.one_shot.supernet import OPS, OneShotSupernet, inputs_of
from jdarts.networks.reductions import check_reductions
from jdarts.networks.wiring import Edges, OpTable, OpWeights
from jdarts.spaces.decisions import Choices, Decision, FreeChoices, checked_choices, labelled, uniform
from jdarts.spaces.space import normal_alphas
from jdarts.spaces.weight_checks import finite_weights

OP_SETS = tuple(itertools.chain(*(itertools.combinations(CHOICE_OPS, count) for count in range(1, MOST_OPS + 1))))
"""The 28 choices of one or two ops."""


def input_sets(block: int) -> tuple[tuple[int, ...], ...]:
    """The choices of one or more inputs of a choice block, the smaller ones first."""
    found = CELL_INPUTS + block
    return tuple(itertools.chain(*(itertools.combinations(range(found), count) for count in range(1, found + 1))))


@dataclass(frozen=True)
class OneShotSpace(FreeChoices):
    """Cells of `blocks` choice blocks. With four of them there are 28⁴ · 3 · 7 · 15 · 31 ≈ 6.0e9.

    Op weights and alphas are `{"ops": [blocks, 7], "inputs_0": [1, 2], "inputs_1": [1, 3], …}`. The paths of a row are
    added up, so that a row of an architecture may have several ones.
    """

    name: str = "one_shot"
    blocks: int = 4

    def __post_init__(self):
        check_whole(f"blocks of space {self.name}", self.blocks)

    def make_decisions(self) -> tuple[Decision, ...]:
        """For each block `block_{b}.inputs`, one of `input_sets`, and `block_{b}.ops`, one of `OP_SETS`."""
        found = []
        for b in range(self.blocks):
            inputs = [",".join(map(str, each)) for each in input_sets(b)]
            found.append(labelled(f"block_{b}.inputs", "cell/inputs", inputs))
            found.append(labelled(f"block_{b}.ops", "cell/ops", ["+".join(each) for each in OP_SETS]))
        return tuple(found)

    def decode(self, choices: Sequence[int]) -> OneShotGenotype:
        """The cell; raises `UserError` unless the choices are valid."""
        numbers = checked_choices(self, choices)
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        return OneShotGenotype(tuple(ChoiceBlock(input_sets(b)[i], OP_SETS[k]) for b, (i, k) in enumerate(pairs)))

    def encode(self, genotype: Any) -> Choices:
        """The choices of a cell; raises `UserError` for one of another space."""
        if not isinstance(genotype, OneShotGenotype) or len(genotype.blocks) != self.blocks:
            raise UserError(
                f"{excerpt(genotype)} does not belong to space {self.name}; expected a OneShotGenotype of "
                f"{self.blocks} choice blocks"
            )
        found = []
        for b, block in enumerate(genotype.blocks):
            found += [input_sets(b).index(block.inputs), OP_SETS.index(block.ops)]
        return tuple(found)

    # the interface of a space with a relaxation

    @property
    def tables(self) -> dict[str, OpTable]:
        """The ops, and the inputs by name, of every row."""
        inputs = {inputs_of(b): (self._sources(b),) for b in range(self.blocks)}
        return {OPS: (CHOICE_OPS,) * self.blocks, **inputs}

    @property
    def edges(self) -> Edges:
        """`(b, b + 1)` for every choice block b, in the order of the rows of `ops`."""
        return tuple((b, b + 1) for b in range(self.blocks))

    @property
    def layers_of(self) -> dict[str, tuple[int, ...]]:
        """The choice blocks of each matrix, in the order of its rows."""
        return {OPS: tuple(range(self.blocks)), **{inputs_of(b): (b,) for b in range(self.blocks)}}

    @property
    def alpha_shapes(self) -> dict[str, tuple[int, int]]:
        """`{matrix: (rows, paths)}`."""
        return {name: (len(table), len(table[0])) for name, table in self.tables.items()}

    def init_alphas(self, key: jax.Array, scale: float = 1e-3) -> dict[str, jax.Array]:
        """Alphas drawn from N(0, scale²)."""
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
    ) -> OneShotSupernet:
        """The one-shot model, called as `(op_weights, images, train)`; raises `UserError` for settings of edges."""
        if edge != PLAIN:
            raise UserError(
                f"space {self.name} has paths that are added up, and no edges to change; use method one_shot"
            )
        return OneShotSupernet(self.blocks, channels, cells, classes, axis_name, remat)

    def check_image(self, height: int, width: int, cells: int, what: str = "space.cells") -> None:
        """Raise `UserError` unless the image can be halved exactly at every reduction."""
        check_reductions(height, width, cells, what)

    def derive(self, op_weights: OpWeights) -> OneShotGenotype:
        """The inputs of at least the mean weight of their row, and the two ops of largest weight, if it is above 0.

        Ties go to the lower number. The paper derives nothing from weights; this is the inverse of `one_hot`. Raises
        `UserError`.
        """
        weights, blocks = finite_weights(self, op_weights), []
        for b in range(self.blocks):
            inputs, ops = weights[inputs_of(b)][0], weights[OPS][b]
            best = sorted(np.argsort(-ops, kind="stable")[:MOST_OPS])
            kept = [k for k in best if ops[k] > 0] or [int(np.argmax(ops))]
            # a mean may be rounded to a number above all weights
            sources = np.flatnonzero((inputs >= inputs.mean()) | (inputs == inputs.max()))
            blocks.append(ChoiceBlock(tuple(sources.tolist()), tuple(CHOICE_OPS[k] for k in kept)))
        return OneShotGenotype(tuple(blocks))

    def one_hot(self, genotype: Any) -> OpWeights:
        """Op weights that switch on exactly the paths of a cell of this space; raises `UserError`."""
        self.encode(genotype)
        p = {name: np.zeros(shape, np.float32) for name, shape in self.alpha_shapes.items()}
        for b, block in enumerate(genotype.blocks):
            p[inputs_of(b)][0, list(block.inputs)] = 1
            p[OPS][b, [CHOICE_OPS.index(op) for op in block.ops]] = 1
        return {name: jnp.asarray(matrix) for name, matrix in p.items()}

    def random_genotype(self, seed: int) -> OneShotGenotype:
        """A uniformly random cell."""
        return self.decode(uniform(self, np.random.default_rng(seed)))

    @staticmethod
    def _sources(block: int) -> tuple[str, ...]:
        return (*(f"cell_{CELL_INPUTS - i}_before" for i in range(CELL_INPUTS)), *(f"block_{k}" for k in range(block)))


one_shot = OneShotSpace()
