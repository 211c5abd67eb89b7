"""Architectures of ENAS (Pham et al. 2018) in the notation of its release: `arc` texts of whole numbers."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jdarts.errors import UserError
from jdarts.genotypes.blocks import BlockCell, BlockGenotype, block_cell
from jdarts.genotypes.genotype import Cell, Genotype, excerpt, sequence, whole_number

MICRO_OPS = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect")
"""The ops of a micro cell, in the order of their numbers in the release."""
MACRO_OPS = ("conv_3x3", "sep_conv_3x3", "conv_5x5", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3")
"""The ops of a macro layer, in the order of their numbers in the release."""

MICRO_ARC = (
    "0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1",
    "1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1",
)
"""The released normal and reduction cell."""
MACRO_ARC = """
0
3 0
0 1 0
2 0 0 1
2 0 0 0 0
3 1 1 0 1 0
2 0 0 0 0 0 1
2 0 1 1 0 1 1 1
1 0 1 1 1 0 1 0 1
0 0 0 0 0 0 0 0 0 0
2 0 0 0 0 0 1 0 0 0 0
0 1 0 0 1 1 0 0 0 0 1 1
2 0 1 0 0 0 0 0 1 0 1 1 0
1 0 0 1 0 0 0 1 1 1 0 1 0 1
0 1 1 0 1 0 1 0 0 0 0 0 1 0 0
2 0 0 1 0 0 0 0 0 0 0 1 0 1 0 1
2 0 1 0 0 0 1 0 0 1 1 1 1 0 0 1 0
2 0 0 0 0 1 0 1 0 1 0 0 1 0 1 0 0 1
3 0 1 1 0 1 0 0 0 0 0 1 0 1 0 1 0 0 0
3 0 1 1 0 0 0 0 0 0 0 0 0 1 1 0 0 0 0 1
0 1 0 0 1 0 1 1 0 0 0 1 0 0 0 0 0 1 1 0 0
3 0 1 0 1 1 0 0 1 0 1 1 0 1 1 0 1 0 0 1 0 0
0 1 0 1 0 1 0 0 0 0 0 0 0 0 1 0 1 0 0 1 0 0 0
0 1 1 0 0 0 1 1 1 0 1 0 0 0 1 0 1 0 0 1 1 0 0 0
"""
"""The released macro architecture, one layer a line."""


def micro_cell(arc: str) -> BlockCell:
    """The cell that `arc` denotes: for each node two pairs of input and op; inputs 0 and 1 are cells c−2 and c−1."""
    tokens = _numbers(arc)
    if not tokens or len(tokens) % 4:
        raise UserError(f"the arc of a cell has {len(tokens)} numbers; a node has four: input, op, input, op")
    nodes = []
    for node in range(len(tokens) // 4):
        edges = []
        for source, op in (tokens[4 * node : 4 * node + 2], tokens[4 * node + 2 : 4 * node + 4]):
            if not (0 <= source < node + 2 and 0 <= op < len(MICRO_OPS)):
                raise UserError(
                    f"node {node} of the arc has input {source} and op {op}; inputs are 0 to {node + 1}, "
                    f"ops 0 to {len(MICRO_OPS) - 1}"
                )
            edges.append((MICRO_OPS[op], source))
        nodes.append(edges)
    return block_cell(nodes)


def released_micro() -> BlockGenotype:
    """The cells of the ENAS release."""
    normal, reduce = (micro_cell(arc) for arc in MICRO_ARC)
    return BlockGenotype(normal, reduce, "enas")


MACRO_LIST = re.compile(r"\s*enas_macro\s*:(?=[\s\d])", re.IGNORECASE)
"""The beginning of the text of a macro architecture."""
MOST_LAYERS = 100
"""Layers of a macro architecture: far above the 24 of the release."""


@dataclass(frozen=True)
class MacroCell(Cell):
    """The graph of a macro architecture: node 0 is the stem, node l + 1 adds up the op of layer l and its skips."""

    def known_ops(self) -> tuple[str, ...]:
        """The ops of a layer, and the skip."""
        return (*MACRO_OPS, "skip_connect")


@dataclass(frozen=True)
class MacroArchitecture(Genotype):
    """A network of ENAS's macro space: an op and incoming skips for every layer.

    Attributes:
      ops: an op of `MACRO_OPS` for each layer.
      skips: for each layer the earlier outputs that it reads besides the one before it: 0 is the stem, k the output of
        layer k − 1. Layer l may read 0 to l − 1.
      normal: the whole network as a graph, for drawings and counts of ops; `reduce` is None.

    Raises `UserError` for an unknown op, for skips out of order or out of range, and for more than 100 layers.

    Example::

        MacroArchitecture.read("0 3 1").skips    # ((), (0,))
    """

    normal: Cell = field(init=False, repr=False, compare=False)
    reduce: Cell | None = field(init=False, repr=False, compare=False)
    ops: tuple[str, ...]
    skips: tuple[tuple[int, ...], ...]

    def __post_init__(self):
        ops = sequence(self.ops, "ops")
        skips = tuple(sequence(each, "skips") for each in sequence(self.skips, "skips"))
        if not ops or len(ops) != len(skips):
            raise UserError(f"{len(ops)} ops and {len(skips)} lists of skips; every layer has one of each")
        if len(ops) > MOST_LAYERS:
            raise UserError(f"the network has {len(ops)} layers; it may have at most {MOST_LAYERS}")
        for layer, (op, read) in enumerate(zip(ops, skips, strict=True)):
            if op not in MACRO_OPS:
                raise UserError(f"the op of layer {layer} is {excerpt(op)}; it must be one of {', '.join(MACRO_OPS)}")
            numbers = [whole_number(each, f"the skips of layer {layer}") for each in read]
            if numbers != sorted(set(numbers)) or not set(numbers) <= set(range(layer)):
                raise UserError(f"the skips of layer {layer} are {list(read)}; list outputs 0 to {layer - 1} in order")
        nodes = [
            ((op, layer), *(("skip_connect", k) for k in read))
            for layer, (op, read) in enumerate(zip(ops, skips, strict=True))
        ]
        object.__setattr__(self, "ops", ops)
        object.__setattr__(self, "skips", skips)
        object.__setattr__(self, "normal", MacroCell(tuple(nodes), (len(nodes),), 1))
        object.__setattr__(self, "reduce", None)

    @classmethod
    def read(cls, arc: str) -> "MacroArchitecture":
        """The network that `arc` denotes: for layer l one op and l numbers, 1 for each output that it reads, else 0.

        `enas_macro:` may stand before the numbers, as `to_text` writes it. Raises `UserError` for other numbers.
        """
        marked = MACRO_LIST.match(arc)
        tokens, ops, skips = _numbers(arc[marked.end() :] if marked else arc), [], []
        while tokens:
            layer = len(ops)
            own, tokens = tokens[: 1 + layer], tokens[1 + layer :]
            if len(own) < 1 + layer:
                raise UserError(f"layer {layer} of the arc has {len(own)} numbers; it needs {1 + layer}")
            if not 0 <= own[0] < len(MACRO_OPS) or not set(own[1:]) <= {0, 1}:
                raise UserError(
                    f"layer {layer} of the arc is {own}; expected an op 0 to {len(MACRO_OPS) - 1}, then 0 or 1"
                )
            ops.append(MACRO_OPS[own[0]])
            skips.append(tuple(i for i, bit in enumerate(own[1:]) if bit))
        return cls(tuple(ops), tuple(skips))

    @property
    def tokens(self) -> tuple[int, ...]:
        """The arc of the release: the op of every layer, then 1 for each earlier output that it reads, else 0."""
        rows = enumerate(zip(self.ops, self.skips, strict=True))
        numbers = [[MACRO_OPS.index(op), *(int(i in skips) for i in range(n))] for n, (op, skips) in rows]
        return tuple(number for row in numbers for number in row)

    @property
    def skip_rate(self) -> float:
        """The share of the L(L − 1)/2 possible skips that the network has; 0 for one layer."""
        possible = len(self.ops) * (len(self.ops) - 1) // 2
        return sum(map(len, self.skips)) / max(1, possible)

    def to_text(self, *, without: str = "") -> str:
        """`enas_macro:` and the arc of the release on one line; `without` has no effect, as there are no cells."""
        del without
        return " ".join(("enas_macro:", *map(str, self.tokens)))

    def to_json(self) -> str:
        """JSON on one line: `{"ops": ["conv_3x3", …], "skips": [[], [0], …]}`."""
        return json.dumps({"ops": self.ops, "skips": self.skips})

    def to_nasbench201(self) -> str:
        """Raises `UserError`: a macro architecture has no arch string."""
        raise UserError("an ENAS macro architecture has no NAS-Bench-201 arch string; use to_text()")


def released_macro() -> MacroArchitecture:
    """The released macro network as the release builds it.

    The release replaces the separable convolutions of `MACRO_ARC` by dense ones of the same size (general_child.py).
    """
    arc = MacroArchitecture.read(MACRO_ARC)
    return MacroArchitecture(tuple(op.removeprefix("sep_") for op in arc.ops), arc.skips)


def refuse_macro(genotype: Any) -> None:
    """Raise `UserError` if `genotype` is a macro architecture; for what needs cells."""
    if isinstance(genotype, MacroArchitecture):
        raise UserError("an ENAS macro architecture has layers and no cells; give a genotype of cells")


def _numbers(arc: str) -> Sequence[int]:
    words = arc.split()
    for word in words:
        if not re.fullmatch(r"[0-9]{1,4}", word, re.ASCII):
            raise UserError(f"an arc has whole numbers, separated by spaces; found {excerpt(word)}")
    return [int(word) for word in words]
