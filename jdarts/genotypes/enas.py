"""Architectures of ENAS (Pham et al. 2018) in the notation of its release: `arc` texts of whole numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jdarts.errors import UserError
from jdarts.genotypes.blocks import BlockCell, BlockGenotype, block_cell
from jdarts.genotypes.genotype import excerpt

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


@dataclass(frozen=True)
class MacroArchitecture:
    """A network of ENAS's macro space: an op and incoming skips for every layer.

    Attributes:
      ops: an op of `MACRO_OPS` for each layer.
      skips: for each layer the earlier outputs that it reads besides the one before it: 0 is the stem, k the output of
        layer k − 1. Layer l may read 0 to l − 1.

    Example::

        MacroArchitecture.read("0 3 1").skips    # ((), (0,))
    """

    ops: tuple[str, ...]
    skips: tuple[tuple[int, ...], ...]

    def __post_init__(self):
        if not self.ops or len(self.ops) != len(self.skips):
            raise UserError(f"{len(self.ops)} ops and {len(self.skips)} lists of skips; every layer has one of each")
        for layer, (op, skips) in enumerate(zip(self.ops, self.skips, strict=True)):
            if op not in MACRO_OPS:
                raise UserError(f"the op of layer {layer} is {excerpt(op)}; it must be one of {', '.join(MACRO_OPS)}")
            if list(skips) != sorted(set(skips)) or not set(skips) <= set(range(layer)):
                raise UserError(f"the skips of layer {layer} are {list(skips)}; list outputs 0 to {layer - 1} in order")

    @classmethod
    def read(cls, arc: str) -> "MacroArchitecture":
        """The network that `arc` denotes: for layer l one op and l numbers, 1 for each output that it reads, else 0.

        Raises `UserError` for other numbers.
        """
        tokens, ops, skips = _numbers(arc), [], []
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

    def to_text(self) -> str:
        """The arc of the release on one line."""
        rows = zip(self.ops, self.skips, strict=True)
        numbers = [[MACRO_OPS.index(op), *(int(i in skips) for i in range(n))] for n, (op, skips) in enumerate(rows)]
        return " ".join(str(number) for row in numbers for number in row)


def _numbers(arc: str) -> Sequence[int]:
    words = arc.split()
    for word in words:
        if not re.fullmatch(r"[0-9]{1,4}", word, re.ASCII):
            raise UserError(f"an arc has whole numbers, separated by spaces; found {excerpt(word)}")
    return [int(word) for word in words]
