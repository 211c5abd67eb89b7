"""Discrete architectures of cell spaces: `Cell` and `Genotype`, checked at construction, and their text forms."""

import json
import operator
from dataclasses import dataclass
from typing import Any

from jdarts.errors import UserError, unknown
from jdarts.ops import user_ops

DARTS_OPS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
NASBENCH201_OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
BLOCK_OPS = (
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "conv_7x1_1x7",
    "avg_pool_3x3",
    "max_pool_3x3",
    "dil_conv_3x3",
    "conv_1x1",
    "conv_3x3",
    "conv_3x1_1x3",
    "max_pool_5x5",
    "max_pool_7x7",
)
"""The 13 ops of the NASNet space (Zoph et al. 2018, §3.2); its first eight are a common subset (Liu et al. 2018)."""
MORE_BLOCK_OPS = ("conv_2x2", "sep_conv_1x1", "sep_conv_2x2", "avg_pool_2x2", "max_pool_2x2")
"""Further ops of blocks, for spaces of your own: `BlockSpace("mine", ("skip_connect", "conv_2x2"), "nasnet")`."""
OPS = (
    *DARTS_OPS,
    "noise",
    "skip_norm",
    "sep_conv_7x7",
    "conv_7x1_1x7",
    "nor_conv_1x1",
    "nor_conv_3x3",
    *BLOCK_OPS[8:],
    *MORE_BLOCK_OPS,
)

Edge = tuple[str, int]

_MOST_INPUTS = 999
_MOST_ENTRIES = 10_000  # of a sequence: far above every cell, far below what takes noticeable time


@dataclass(frozen=True)
class Cell:
    """One cell: a directed acyclic graph whose edges carry one op each.

    Node indices start with the inputs: 0 is the output of cell c−2 and 1 that of cell c−1 (`inputs=2`), or
    0 is the only input (`inputs=1`). A node is the sum of its edges.

    Attributes:
      nodes: the `(op, source)` pairs that enter each intermediate node. A source is a smaller node index.
        An empty tuple is an absent node. A node whose edges all come from absent nodes is absent too.
        Absent nodes at the end are dropped.
      concat: the intermediate nodes that are concatenated to the output; absent nodes are dropped.
      inputs: the number of input nodes.

    Raises `UserError` for an unknown op, a source that is not an earlier node, a wrong or repeated concat.
    """

    nodes: tuple[tuple[Edge, ...], ...]
    concat: tuple[int, ...]
    inputs: int = 2

    def lowest_output(self) -> int:
        """The first node that `concat` may name."""
        return self.inputs

    def known_ops(self) -> tuple[str, ...]:
        """The ops that its edges may have."""
        return (*OPS, *user_ops.names())

    def __post_init__(self):
        inputs = whole_number(self.inputs, "inputs")
        if not 1 <= inputs <= _MOST_INPUTS:
            raise UserError(f"inputs is {excerpt(inputs)}; a cell has at least one input node, at most {_MOST_INPUTS}")
        nodes, ops = [], self.known_ops()
        for i, edges in enumerate(sequence(self.nodes, "nodes")):
            target = inputs + i
            nodes.append(tuple(_edge(edge, target, ops) for edge in sequence(edges, f"node {target}")))
        while nodes and not nodes[-1]:
            nodes.pop()
        concat = tuple(whole_number(node, "concat") for node in sequence(self.concat, "concat"))
        seen = set()
        for node in concat:
            # The bound is the number of nodes as given, so that absent nodes at the end may be named.
            first, last = self.lowest_output(), inputs + len(self.nodes) - 1
            if not first <= node <= last:
                nodes = "intermediate nodes" if first else "nodes"
                raise UserError(f"concat contains {node}; the {nodes} of this cell are {first} to {last}")
            if node in seen:
                raise UserError(f"concat {excerpt(list(concat))} repeats node {node}; name each node once")
            seen.add(node)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "nodes", tuple(nodes))
        present = {*range(self.lowest_output(), inputs), *self.present}
        object.__setattr__(self, "concat", tuple(node for node in concat if node in present))
        if not self.concat:
            raise UserError(f"concat {excerpt(list(concat))} names no node that an edge enters; the cell has no output")

    @property
    def present(self) -> tuple[int, ...]:
        """The intermediate nodes with an edge from an input or from another present node."""
        alive = dict.fromkeys(range(self.inputs))
        for target, edges in enumerate(self.nodes, start=self.inputs):
            if any(source in alive for _, source in edges):
                alive[target] = None
        return tuple(alive)[self.inputs :]

    @property
    def live_nodes(self) -> tuple[tuple[Edge, ...], ...]:
        """`nodes` without edges from absent nodes. A network is built from these."""
        sources = {*range(self.inputs), *self.present}
        return tuple(tuple(edge for edge in edges if edge[1] in sources) for edges in self.nodes)


@dataclass(frozen=True)
class Genotype:
    """A discrete architecture: a normal and a reduction cell, or one cell and `reduce=None` for NAS-Bench-201.

    Example::

        genotype = parse("DARTS_V2")
        genotype.normal.nodes[0]        # (('sep_conv_3x3', 0), ('sep_conv_3x3', 1))
        parse(genotype.to_text()) == genotype
    """

    normal: Cell
    reduce: Cell | None

    def __post_init__(self):
        if self.reduce is None:
            check_nasbench201(self.normal)
            return
        for name, cell in (("normal", self.normal), ("reduce", self.reduce)):
            if cell.inputs != 2:
                raise UserError(f"the {name} cell has {cell.inputs} input nodes; a cell of this family has 2")

    @property
    def cells(self) -> dict[str, Cell]:
        """The cells by name: `normal` and, unless it is None, `reduce`."""
        return {"normal": self.normal} | ({} if self.reduce is None else {"reduce": self.reduce})

    def to_text(self, *, without: str = "") -> str:
        """DARTS text on one line, or the arch string of NAS-Bench-201; `parse` returns an equal genotype from it.

        `without` names a cell to leave out of a text for people; `parse` does not read such a text.
        """
        if self.reduce is None:
            return self.to_nasbench201()
        fields = []
        for name, cell in self.cells.items():
            if name == without:
                continue
            pairs = all(len(edges) == 2 for edges in cell.nodes)
            edges = [
                (op, source) if pairs else (op, source, target)
                for target, entering in enumerate(cell.nodes, start=cell.inputs)
                for op, source in entering
            ]
            fields.append(f"{name}={edges!r}, {name}_concat={list(cell.concat)!r}")
        return f"Genotype({', '.join(fields)})"

    def to_json(self) -> str:
        """JSON on one line: `{"normal": {"nodes": …, "concat": …, "inputs": 2}, "reduce": … or null}`."""
        fields: dict[str, Any] = {
            name: {"nodes": cell.nodes, "concat": cell.concat, "inputs": cell.inputs}
            for name, cell in self.cells.items()
        }
        return json.dumps({"reduce": None} | fields, sort_keys=True)

    def to_nasbench201(self) -> str:
        """The arch string of a NAS-Bench-201 genotype. Raises `UserError` for genotypes of other spaces."""
        if self.reduce is not None:
            raise UserError("a genotype with a reduction cell has no NAS-Bench-201 arch string; use to_text()")
        groups = ("".join(f"|{op}~{source}" for op, source in edges) + "|" for edges in self.normal.nodes)
        return "+".join(groups)


# Checks at construction


def sequence(value: Any, what: str) -> tuple[Any, ...]:
    """`value` as a tuple; `UserError` unless it is a tuple, list or range of at most 10,000 entries."""
    if not isinstance(value, tuple | list | range):
        raise UserError(f"{what} is {excerpt(value)}; expected a tuple or list")
    if any(True for _ in value[_MOST_ENTRIES : _MOST_ENTRIES + 1]):  # the len() of a range may overflow
        raise UserError(f"{what} has more than {_MOST_ENTRIES} entries; is it the right one?")
    return tuple(value)


def whole_number(value: Any, what: str) -> int:
    """`value` as an int; `UserError` unless it is an integer of any kind, booleans excluded."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise UserError(f"{what} contains {excerpt(value)}; expected a whole number") from None


def _edge(edge: Any, target: int, ops: tuple[str, ...]) -> Edge:
    entries = sequence(edge, f"an edge into node {target}")
    if len(entries) != 2 or not isinstance(entries[0], str):
        raise UserError(f"an edge into node {target} is {excerpt(edge)}; expected (op, source)")
    op, source = entries[0], whole_number(entries[1], f"the source of an edge into node {target}")
    if op not in ops:
        raise unknown("op", op[:60], ops)
    if not 0 <= source < target:
        raise UserError(f"edge ({op!r}, {source}) enters node {target}; its source must be one of 0 to {target - 1}")
    return op, source


def check_nasbench201(cell: Cell) -> None:
    """Raise `UserError` unless `cell` is one of NAS-Bench-201."""
    if cell.inputs != 1 or len(cell.nodes) != 3 or cell.concat != (3,):
        raise UserError(
            "a genotype without a reduction cell has 1 input, 3 nodes, concat [3] (NAS-Bench-201); "
            f"found {cell.inputs}, {len(cell.nodes)} and {list(cell.concat)}; other spaces need a reduce cell"
        )
    for target, edges in enumerate(cell.nodes, start=1):
        if [source for _, source in edges] != list(range(target)):
            raise UserError(
                f"node {target} of a NAS-Bench-201 cell has one op from each of the nodes 0 to {target - 1}, "
                f"in order; found sources {[source for _, source in edges]}"
            )
        for op, _ in edges:
            if op not in NASBENCH201_OPS:
                raise unknown("NAS-Bench-201 op", op, NASBENCH201_OPS)


def excerpt(value: Any, length: int = 40) -> str:
    """`value` on one line, quoted and shortened to `length` characters for an error message."""
    try:
        shown = value if isinstance(value, str) else repr(value)
    except (RecursionError, ValueError):  # nested thousands deep, or a number of thousands of digits
        return f"a {type(value).__name__} that is too large to show"
    shown = shown if len(shown) <= length else f"{shown[: length - 1]}…"
    return repr(shown) if isinstance(value, str) else shown.replace("\n", " ")
