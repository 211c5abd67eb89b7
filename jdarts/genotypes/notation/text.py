"""DARTS text and NAS-Bench-201 arch strings, by recursive descent."""

from typing import Any, NamedTuple

from jdarts.genotypes.genotype import NASBENCH201_OPS, Cell, Genotype
from jdarts.genotypes.notation.places import Place
from jdarts.genotypes.notation.structured import cell_from_edges
from jdarts.genotypes.notation.tokens import LARGEST, Bracket, Reader

_FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")

WrittenEdge = tuple[Any, ...]  # (op, source) or (op, source, target)


class _Edges(NamedTuple):
    edges: list[WrittenEdge]
    last: int | None  # the last intermediate node; None where every edge names its target


def read_nasbench201(text: str, place: Place | None = None) -> Genotype:
    """Reads `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`, at `place` or from the beginning."""
    reader = Reader(text, place.start if place else 0)
    nodes, end = [], 0
    for target in (1, 2, 3):
        if target > 1:
            reader.punctuation("+", expected=f"'+' and the ops into node {target}")
        edges = []
        reader.punctuation("|")
        for source in range(target):
            if reader.token.kind != "name":
                reader.unexpected(f"the op from node {source} into node {target}")
            token = reader.take()
            op = reader.op(token.text, token.start, NASBENCH201_OPS)
            reader.punctuation("~")
            found, start = reader.number(f"source node {source}")
            if found != source:
                reader.fail(start, f"found source node {found}, expected {source}: sources of a node are in order")
            edges.append((op, source))
            end = reader.token.start + 1
            reader.punctuation("|")
        nodes.append(tuple(edges))
    if place and place.before and reader.at(")", "]", ","):  # Structure(4 nodes with |…|)
        end = reader.take().start + 1
    check_end(reader, end, place, "the end of the text: a NAS-Bench-201 cell has three groups of ops")
    return Genotype(Cell(tuple(nodes), (3,), inputs=1), None)


def read_darts(text: str, place: Place) -> Genotype:
    """Reads `Genotype(normal=…, normal_concat=…, reduce=…, reduce_concat=…)` at `place`.

    Named fields may be in any order. Positional fields are in the order shown and precede named ones.
    """
    reader = Reader(text, place.end)
    read: dict[str, Any] = {}
    named = False
    while not reader.at(")"):
        missing = [name for name in _FIELDS if name not in read]
        if not named and missing and (reader.at("(", "[") or reader.at_call()):
            field = missing[0]
        else:
            if reader.token.kind != "name" or reader.token.text not in missing:
                reader.unexpected(" or ".join(f"'{name}='" for name in missing) if missing else "')'")
            field, named = reader.take().text, True
            reader.punctuation("=")
        read[field] = read_concat(reader) if field.endswith("_concat") else _read_edges(reader)
        reader.comma_or(")")
    for name in _FIELDS:
        if name not in read:
            reader.unexpected(f"'{name}='")
    end = reader.take().start + 1
    check_end(reader, end, place, "the end of the text or of the line")
    return Genotype(*(_cell_at(reader, read[name], read[f"{name}_concat"]) for name in ("normal", "reduce")))


def check_end(reader: Reader, end: int, place: Place | None, expected: str) -> None:
    """Raises `UserError` if anything follows the genotype on its line, other than a comment or the closing quote."""
    if place and place.quote and reader.text[end : end + 1] == place.quote:
        return
    ended = reader.token.kind == "end" or "\n" in reader.text[end : reader.token.start]
    if not ended or reader.at(")", "]", ",") or (place and place.quote):
        reader.unexpected(repr(place.quote) if place and place.quote else expected)


def _read_edges(reader: Reader) -> _Edges:
    """Reads a flat list of `(op, source)` or `(op, source, target)`, or for each node a list of `(op, source)`."""
    outer = reader.open("a list of (op, source)")
    if reader.at("[", "(") or reader.at_call():
        ahead = Reader(reader.text, reader.token.start)
        node = ahead.open("'(' and an op")
        if ahead.at("[", "(", node.close) or ahead.token.text in ("list", "tuple"):
            return _read_nodes(reader, outer)
    edges: list[WrittenEdge] = []
    while not reader.at(outer.close):
        start = reader.token.start
        bracket = reader.open("'(' and an op")
        edge = _read_edge(reader, bracket, 2 + len(edges) // 2, triples=True)
        if edges and len(edges[0]) != len(edge):
            reader.fail(start, "(op, source) and (op, source, target) are mixed; use one of them for a whole cell")
        edges.append(edge)
        reader.comma_or(outer.close)
    triples = bool(edges) and len(edges[0]) == 3
    if len(edges) % 2 and not triples:
        reader.unexpected(f"another (op, source): nodes have two each, and {len(edges)} is odd")
    reader.close(outer)
    return _Edges(edges, None if triples else 1 + len(edges) // 2)


def _read_nodes(reader: Reader, outer: Bracket) -> _Edges:
    """Reads `[[(op, source), …], …]`, with a list for each node from 2 on."""
    edges: list[WrittenEdge] = []
    target, comma = 2, False
    while not reader.at(outer.close):
        if target > LARGEST:
            reader.unexpected(f"'{outer.close}': a cell has at most {LARGEST} nodes")
        node = reader.open("the list of a node's (op, source)")
        while not reader.at(node.close):
            edge = _read_edge(reader, reader.open("'(' and an op"), target, triples=False)
            edges.append((*edge, target))
            reader.comma_or(node.close)
        reader.close(node)
        target, comma = target + 1, reader.at(",")
        reader.comma_or(outer.close)
    if outer.opened == "(" and target == 3 and not comma:  # in Python these parentheses do not make a tuple
        reader.fail(outer.start, "found '(' around a single list; write the list without '(' and ')'")
    reader.close(outer)
    return _Edges(edges, target - 1)


def _read_edge(reader: Reader, bracket: Bracket, target: int, *, triples: bool) -> WrittenEdge:
    op = reader.op(*reader.string("an op in quotes"))
    reader.punctuation(",")
    source, start = reader.number("the number of the source node")
    numbers = [source]
    if reader.at(",") and not reader.closes(bracket.close) and triples:
        target, where = reader.number("the number of the target node")
        numbers.append(target)
        reader.closes(bracket.close)
        if target < 2:
            reader.fail(where, f"found target node {target}, expected an intermediate node, 2 or higher")
    reader.close(bracket, expected="" if len(numbers) == 2 else f"'{bracket.close}' after (op, source)")
    if target > LARGEST:
        reader.fail(bracket.start, f"found an edge into node {target}, expected at most {LARGEST} nodes")
    if source >= target:
        reader.fail(start, f"found source node {source} for node {target}, expected one of 0 to {target - 1}")
    return (op, *numbers)


def read_concat(reader: Reader) -> list[tuple[int, int]]:
    """Reads a concat: a list, `range(2, 6)`, `[*range(2, 6)]` or NumPy's `[2 3 4 5]`. Each node has its position."""
    whole = reader.range()
    if whole is not None:
        return whole
    bracket = reader.open("a list of nodes or range(first, end)")
    nodes: list[tuple[int, int]] = []
    while not reader.at(bracket.close):
        if reader.at("*"):
            reader.take()
            inner = reader.range()
            nodes += reader.unexpected("range(first, end)") if inner is None else inner
        else:
            nodes.append(reader.number("the number of a node"))
        if reader.token.kind != "number":
            reader.comma_or(bracket.close)
    reader.close(bracket)
    return nodes


def _cell_at(reader: Reader, read: _Edges, concat: list[tuple[int, int]]) -> Cell:
    seen = set()
    for node, start in concat:
        if node < 2 or (read.last is not None and node > read.last):
            expected = "2 or higher" if read.last is None else f"one of 2 to {read.last}"
            reader.fail(start, f"found node {node} in a concat, expected an intermediate node, {expected}")
        if node in seen:
            reader.fail(start, f"found node {node} twice in a concat, expected each node once")
        seen.add(node)
    return cell_from_edges(read.edges, tuple(node for node, _ in concat))
