"""Recurrent cells of DARTS and ENAS: `RecurrentGenotype`, its text forms and the token lists of ENAS."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jdarts.errors import UserError, unknown
from jdarts.genotypes.genotype import Cell, Genotype, excerpt, sequence, whole_number

RECURRENT_OPS = ("none", "tanh", "relu", "sigmoid", "identity")
"""The candidate activations of DARTS, in the order of its alpha columns (Liu et al. 2019, code)."""
ACTIVATIONS = RECURRENT_OPS[1:]
"""The activations that a derived cell may have."""
ENAS_FUNCTIONS = ("tanh", "relu", "identity", "sigmoid")
"""The activations by their numbers in the release of ENAS."""
ENAS_LM_FUNCTIONS = ("tanh", "relu", "sigmoid", "identity")
"""The activations by their numbers in enas_lm, the second release of ENAS."""

RecurrentNode = tuple[str, int]
"""Activation and predecessor of a node."""

_MOST_NODES = 100


@dataclass(frozen=True)
class RecurrentCell(Cell):
    """The graph of a recurrent cell: node 0 is its only input, every other node has one edge.

    Attributes:
      first: the activation of node 0, which reads the word and the hidden state.
    """

    first: str = "tanh"

    def lowest_output(self) -> int:
        """Node 0 may be a part of the output."""
        return 0

    def known_ops(self) -> tuple[str, ...]:
        """The activations."""
        return ACTIVATIONS


@dataclass(frozen=True)
class RecurrentGenotype(Genotype):
    """A recurrent cell: a tree of gated nodes below node 0, which reads the input and the hidden state.

    Node i has one predecessor j < i and computes s_i = s_j + c · (f(h) − s_j) with [c, h] = s_j W_i and c = σ(c).

    Attributes:
      recurrent: `(activation, predecessor)` of the nodes 1, 2, …; 0 is the node of the input.
      concat: the nodes whose mean is the output.
      first: the activation of node 0.
      normal: the cell as a graph, for drawings and counts of ops; `reduce` is None.

    Raises `UserError` for an unknown activation, a predecessor that is not an earlier node, a wrong or repeated node
    in `concat`.

    Example::

        cell = parse("DARTS_RNN")
        cell.recurrent[0]    # ('sigmoid', 0)
        parse(cell.to_text()) == cell
    """

    normal: Cell = field(init=False, repr=False, compare=False)
    reduce: Cell | None = field(init=False, repr=False, compare=False)
    recurrent: tuple[RecurrentNode, ...]
    concat: tuple[int, ...]
    first: str = "tanh"

    def __post_init__(self):
        nodes = [_node(node, i) for i, node in enumerate(sequence(self.recurrent, "recurrent"), start=1)]
        if not 1 <= len(nodes) <= _MOST_NODES:
            raise UserError(f"the recurrent cell has {len(nodes)} nodes; it needs at least one, at most {_MOST_NODES}")
        concat = tuple(whole_number(node, "concat") for node in sequence(self.concat, "concat"))
        for node in concat:
            if not 0 <= node <= len(nodes):
                raise UserError(f"concat contains {node}; the nodes of this cell are 0 to {len(nodes)}")
        if not concat or len(set(concat)) < len(concat):
            raise UserError(f"concat is {excerpt(list(concat))}; name at least one node, and each once")
        if self.first not in ACTIVATIONS:
            raise unknown("activation of node 0", str(self.first)[:60], ACTIVATIONS)
        object.__setattr__(self, "recurrent", tuple(nodes))
        object.__setattr__(self, "concat", concat)
        object.__setattr__(self, "normal", RecurrentCell(tuple((node,) for node in nodes), concat, 1, self.first))
        object.__setattr__(self, "reduce", None)

    def to_text(self, *, without: str = "") -> str:
        """DARTS text on one line, `Genotype(recurrent=[…], concat=range(1, 9))`.

        A node 0 without tanh, which DARTS does not have, is written as `first='relu'`. There is one cell, which
        `without` does not leave out.
        """
        del without
        whole = self.concat == tuple(range(self.concat[0], self.concat[-1] + 1))
        concat = f"range({self.concat[0]}, {self.concat[-1] + 1})" if whole else repr(list(self.concat))
        first = "" if self.first == "tanh" else f", first={self.first!r}"
        return f"Genotype(recurrent={list(self.recurrent)!r}, concat={concat}{first})"

    def to_json(self) -> str:
        """JSON on one line: `{"concat": …, "first": "tanh", "recurrent": [["sigmoid", 0], …]}`."""
        return json.dumps({"recurrent": self.recurrent, "concat": self.concat, "first": self.first}, sort_keys=True)

    def to_nasbench201(self) -> str:
        """Raises `UserError`: a recurrent cell has no arch string."""
        raise UserError("a recurrent cell has no NAS-Bench-201 arch string; use to_text()")

    @property
    def loose_ends(self) -> tuple[int, ...]:
        """The nodes that are no other node's predecessor."""
        read = {source for _, source in self.recurrent}
        return tuple(node for node in range(len(self.recurrent) + 1) if node not in read)


def _node(node: Any, target: int) -> RecurrentNode:
    entries = sequence(node, f"node {target}")
    if len(entries) != 2 or not isinstance(entries[0], str):
        raise UserError(f"node {target} is {excerpt(node)}; expected (activation, predecessor)")
    activation, source = entries[0], whole_number(entries[1], f"node {target}")
    if activation not in ACTIVATIONS:
        raise unknown(f"activation of node {target}", activation[:60], ACTIVATIONS)
    if not 0 <= source < target:
        raise UserError(f"node {target} reads node {source}; its predecessor must be one of 0 to {target - 1}")
    return activation, source


def refuse_recurrent(genotype: Any) -> None:
    """Raise `UserError` if `genotype` is a recurrent cell; for networks of images."""
    if isinstance(genotype, RecurrentGenotype):
        raise UserError(
            "a recurrent cell makes a language model (jdarts.networks.recurrent), not a network of images; give a "
            "genotype of convolutional cells"
        )


def enas_cell(tokens: Sequence[int]) -> RecurrentGenotype:
    """The cell of a token list of ENAS: the function of node 0, then predecessor and function of each node.

    Functions are numbered as in `ENAS_FUNCTIONS`; the output is the mean of the loose ends (Pham et al. 2018, §2.1).
    Raises `UserError` for other numbers.
    """
    if len(tokens) % 2 == 0 or len(tokens) < 3:
        raise UserError(
            f"the token list has {len(tokens)} numbers; ENAS has the function of node 0, then predecessor and "
            "function of each node"
        )
    first, *rest = tokens
    nodes = _pairs(rest, ENAS_FUNCTIONS)
    found = RecurrentGenotype(nodes, (0,), _function(first, 0, ENAS_FUNCTIONS))
    return RecurrentGenotype(nodes, found.loose_ends, found.first)


def enas_tokens(genotype: RecurrentGenotype) -> tuple[int, ...]:
    """The token list that `enas_cell` reads. Raises `UserError` unless the output is the mean of the loose ends."""
    if sorted(genotype.concat) != list(genotype.loose_ends):
        raise UserError(
            f"the output is the mean of the nodes {list(genotype.concat)}; in ENAS it is that of the loose ends, "
            f"{list(genotype.loose_ends)}"
        )
    pairs = ((source, ENAS_FUNCTIONS.index(activation)) for activation, source in genotype.recurrent)
    return (ENAS_FUNCTIONS.index(genotype.first), *(number for pair in pairs for number in pair))


def enas_lm_cell(tokens: Sequence[int]) -> RecurrentGenotype:
    """The cell of a token list of enas_lm: predecessor and function of each node; node 0 has tanh.

    Functions are numbered as in `ENAS_LM_FUNCTIONS`; the output is the mean of all nodes but node 0, as in DARTS
    (google-research/enas_lm, fixed_lib.py). Raises `UserError` for other numbers.
    """
    if len(tokens) % 2 or not tokens:
        raise UserError(f"the token list has {len(tokens)} numbers; enas_lm has predecessor and function of each node")
    nodes = _pairs(tokens, ENAS_LM_FUNCTIONS)
    return RecurrentGenotype(nodes, tuple(range(1, len(nodes) + 1)))


def enas_lm_tokens(genotype: RecurrentGenotype) -> tuple[int, ...]:
    """The token list that `enas_lm_cell` reads. Raises `UserError` for a cell with another output or node 0."""
    if sorted(genotype.concat) != list(range(1, len(genotype.recurrent) + 1)) or genotype.first != "tanh":
        raise UserError("in enas_lm, node 0 has tanh and the output is the mean of all nodes but node 0")
    pairs = ((source, ENAS_LM_FUNCTIONS.index(activation)) for activation, source in genotype.recurrent)
    return tuple(number for pair in pairs for number in pair)


def _pairs(tokens: Sequence[int], functions: tuple[str, ...]) -> tuple[RecurrentNode, ...]:
    pairs = zip(tokens[::2], tokens[1::2], strict=True)
    return tuple((_function(function, i, functions), source) for i, (source, function) in enumerate(pairs, start=1))


def _function(number: int, node: int, functions: tuple[str, ...]) -> str:
    if not 0 <= whole_number(number, f"node {node}") < len(functions):
        raise UserError(f"the function of node {node} is {number}; functions are 0 to {len(functions) - 1}")
    return functions[number]
