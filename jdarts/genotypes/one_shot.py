"""Cells of the One-Shot space (Bender et al., ICML 2018): choice blocks that select their inputs and their ops."""

import json
import re
from dataclasses import dataclass, field

from jdarts.errors import UserError, unknown
from jdarts.genotypes.genotype import Cell, Genotype, excerpt, sequence, whole_number

CHOICE_OPS = (
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "conv_7x1_1x7",
    "max_pool_3x3",
    "avg_pool_3x3",
)
"""The ops of a choice block. A separable convolution is a pair of them, one behind the other."""
CELL_INPUTS = 2
"""A cell reads the outputs of the two cells before it."""
MOST_OPS = 2
"""The paper selects at most two ops of a choice block."""
ONE_SHOT_LIST = re.compile(r"\s*one_shot\s*:(?=[\s\d])", re.IGNORECASE)
"""The beginning of the text of a One-Shot cell."""

_BLOCK = re.compile(r"(\d{1,3}(?:,\d{1,3})*)>(\w{1,60}(?:\+\w{1,60})*)", re.ASCII)


@dataclass(frozen=True)
class ChoiceBlock:
    """A choice block: the inputs that it adds up, and the ops on their sum.

    Attributes:
      inputs: 0 and 1 are the outputs of cells c−2 and c−1, 2 + k that of choice block k; in order, at least one.
      ops: of `CHOICE_OPS`, in that order, one or two; their outputs are added up.
    """

    inputs: tuple[int, ...]
    ops: tuple[str, ...]


@dataclass(frozen=True)
class ChoiceCell(Cell):
    """The graph of a One-Shot cell: block b is node 2 + 2·b, the sum of its inputs, and node 3 + 2·b, its output."""


@dataclass(frozen=True)
class OneShotGenotype(Genotype):
    """A cell of choice blocks; all cells of a network are the same.

    Attributes:
      blocks: at least one.
      normal: the cell as a graph, for drawings and counts of ops; `reduce` is None.

    Raises `UserError` for inputs that do not come before the block, for unknown ops, and for more than two of them.

    Example::

        OneShotGenotype.read("0,1>sep_conv_3x3 2>skip_connect+max_pool_3x3").blocks[1].inputs    # (2,)
    """

    normal: Cell = field(init=False, repr=False, compare=False)
    reduce: Cell | None = field(init=False, repr=False, compare=False)
    blocks: tuple[ChoiceBlock, ...]

    def __post_init__(self):
        blocks = tuple(_checked(block, number) for number, block in enumerate(sequence(self.blocks, "blocks")))
        if not blocks:
            raise UserError("a One-Shot cell has no choice blocks; it needs at least one")
        nodes = []
        for block in blocks:
            sums = tuple(("conv_1x1", i if i < CELL_INPUTS else 2 * i - 1) for i in block.inputs)
            nodes += [sums, tuple((op, CELL_INPUTS + len(nodes)) for op in block.ops)]
        outputs = tuple(CELL_INPUTS + 2 * b + 1 for b in range(len(blocks)))
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "normal", ChoiceCell(tuple(nodes), outputs, CELL_INPUTS))
        object.__setattr__(self, "reduce", None)

    @classmethod
    def read(cls, text: str) -> "OneShotGenotype":
        """The cell that `to_text` writes as `text`, with or without `one_shot:` in front. Raises `UserError`."""
        marked = ONE_SHOT_LIST.match(text)
        blocks = []
        for word in text[marked.end() if marked else 0 :].split():
            match = _BLOCK.fullmatch(word)
            if match is None:
                raise UserError(f"{excerpt(word)} is no choice block; expected INPUTS>OPS, as in 0,1>sep_conv_3x3")
            blocks.append(ChoiceBlock(tuple(map(int, match[1].split(","))), tuple(match[2].split("+"))))
        return cls(tuple(blocks))

    def to_text(self, *, without: str = "") -> str:
        """`one_shot:` and the blocks on one line; `without` has no effect, as there is one cell."""
        del without
        words = (f"{','.join(map(str, block.inputs))}>{'+'.join(block.ops)}" for block in self.blocks)
        return " ".join(("one_shot:", *words))

    def to_json(self) -> str:
        """JSON on one line: `{"blocks": [{"inputs": [0, 1], "ops": ["sep_conv_3x3"]}, …]}`."""
        return json.dumps({"blocks": [{"inputs": block.inputs, "ops": block.ops} for block in self.blocks]})

    def to_nasbench201(self) -> str:
        """Raises `UserError`: a One-Shot cell has no arch string."""
        raise UserError("a One-Shot cell has no NAS-Bench-201 arch string; use to_text()")


def choice_block(data: object, number: int) -> ChoiceBlock:
    """The choice block of a JSON object with the keys `inputs` and `ops`. Raises `UserError`."""
    if not isinstance(data, dict) or set(data) != {"inputs", "ops"}:
        raise UserError(f"choice block {number} is {excerpt(data)}; expected an object with the keys inputs and ops")
    return ChoiceBlock(data["inputs"], data["ops"])


def _checked(block: ChoiceBlock, number: int) -> ChoiceBlock:
    if not isinstance(block, ChoiceBlock):
        raise UserError(f"choice block {number} is {excerpt(block)}; expected a ChoiceBlock")
    inputs = [whole_number(each, f"inputs of choice block {number}") for each in sequence(block.inputs, "inputs")]
    if not inputs or inputs != sorted(set(inputs)) or not set(inputs) <= set(range(CELL_INPUTS + number)):
        raise UserError(
            f"the inputs of choice block {number} are {inputs}; list at least one of 0 to {CELL_INPUTS + number - 1}, "
            "in order"
        )
    ops = sequence(block.ops, "ops")
    for op in ops:
        if op not in CHOICE_OPS:
            raise unknown(f"op of choice block {number}", str(op)[:60], CHOICE_OPS)
    if not 1 <= len(ops) <= MOST_OPS or list(ops) != sorted(set(ops), key=CHOICE_OPS.index):
        raise UserError(
            f"the ops of choice block {number} are {', '.join(ops) or 'none'}; list one or {MOST_OPS} different ones, "
            f"in the order of {', '.join(CHOICE_OPS)}"
        )
    return ChoiceBlock(tuple(inputs), tuple(ops))


def refuse_one_shot(genotype: object) -> None:
    """Raise `UserError` if `genotype` is a One-Shot cell; for what needs cells with one op an edge."""
    if isinstance(genotype, OneShotGenotype):
        raise UserError("a One-Shot cell has choice blocks; give a genotype of cells with one op an edge")
