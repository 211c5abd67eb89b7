"""The grammars of `jdarts.genotype`: JSON, DARTS text and NAS-Bench-201 arch strings, never evaluated.

Use `jdarts.genotype.parse`, which recognises the notation. Every mistake is a `UserError` with its place.
"""

import json
import re
from typing import Any, NamedTuple, NoReturn

from jdarts import own_ops
from jdarts.errors import UserError, unknown
from jdarts.genotype import (
    DARTS_TEXT,
    NASBENCH201_OPS,
    OPS,
    Cell,
    Edge,
    Genotype,
    excerpt,
    sequence,
    whole_number,
)

_LARGEST = 999  # node index: far above every published cell, far below what could exhaust memory


# JSON


def read_json(text: str) -> Genotype:
    """Reads the fields of `Genotype` and `Cell`, or the four DARTS fields, as a JSON object."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise UserError(f"genotype JSON repeats a key among {[key[:40] for key, _ in pairs]}; write each once")
        return dict(pairs)

    try:
        data = json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        found = excerpt(text[error.pos : error.pos + 20]) if error.pos < len(text) else "the end of the text"
        place = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"genotype JSON, {place}: found {found}, expected valid JSON ({error.msg})") from None
    except UserError:
        raise
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets thousands deep
        raise UserError("genotype JSON is nested too deeply or has too long a number") from None
    if not isinstance(data, dict):
        raise UserError(f"genotype JSON is {excerpt(data)}; expected an object with the keys normal and reduce")
    plain, darts = {"normal", "reduce"}, {"normal", "normal_concat", "reduce", "reduce_concat"}
    if set(data) not in (plain, darts):
        extra = sorted(set(data) - darts)
        if extra:
            raise unknown("key of a genotype in JSON", extra[0][:60], darts)
        missing = sorted((darts if set(data) - plain else plain) - set(data))
        raise UserError(f"genotype JSON lacks {', '.join(missing)}")
    cells: dict[str, Cell | None] = {}
    for name in ("normal", "reduce"):
        try:
            if set(data) == darts:
                edges = [_json_edge(edge, name) for edge in sequence(data[name], name)]
                cells[name] = _cell_from_edges(edges, sequence(data[f"{name}_concat"], f"{name}_concat"))
            else:
                cells[name] = None if data[name] is None and name == "reduce" else _json_cell(data[name])
        except UserError as error:
            raise UserError(f"genotype JSON, {name}: {error}") from None
    assert cells["normal"] is not None
    return Genotype(cells["normal"], cells["reduce"])


def _json_cell(value: Any) -> Cell:
    keys = ("nodes", "concat", "inputs")
    if not isinstance(value, dict):
        raise UserError(f"found {excerpt(value)}, expected an object with the keys {', '.join(keys)}")
    for key in value:
        if key not in keys:
            raise unknown("key of a cell in JSON", key[:60], keys)
    for key in keys[:2]:
        if key not in value:
            raise UserError(f"the cell lacks {key}")
    return Cell(value["nodes"], value["concat"], value.get("inputs", 2))


def _json_edge(value: Any, name: str) -> tuple[Any, ...]:
    edge = sequence(value, f"an entry of {name}")
    if len(edge) not in (2, 3):
        raise UserError(f"an entry of {name} is {excerpt(value)}; expected (op, source) or (op, source, target)")
    return (edge[0], *(whole_number(number, "an edge") for number in edge[1:]))


def _cell_from_edges(edges: list[tuple[Any, ...]], concat: tuple[Any, ...]) -> Cell:
    """A cell of DARTS text: pairs, two a node in order, or triples with explicit targets, but not both."""
    sizes = {len(edge) for edge in edges}
    if len(sizes) > 1:
        raise UserError("(op, source) and (op, source, target) are mixed; use one of them for a whole cell")
    if sizes == {2} and len(edges) % 2:
        raise UserError(f"{len(edges)} (op, source) pairs; nodes have two each, so the number must be even")
    targets = [edge[2] if len(edge) == 3 else 2 + i // 2 for i, edge in enumerate(edges)]
    highest = max([1, *targets, *(whole_number(node, "concat") for node in concat)])
    if highest > _LARGEST or min([2, *targets]) < 2:
        raise UserError(f"targets {sorted(set(targets))[:9]}; a target is an intermediate node, 2 to {_LARGEST}")
    nodes: list[list[Edge]] = [[] for _ in range(highest - 1 if sizes == {3} else max([1, *targets]) - 1)]
    for edge, target in zip(edges, targets, strict=True):
        nodes[target - 2].append((edge[0], edge[1]))
    return Cell(tuple(tuple(node) for node in nodes), concat)


# DARTS text and arch strings: a tokenizer and a recursive descent

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>'[^'"\\\n]*'|"[^'"\\\n]*")
      | (?P<number>[0-9]+)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<punctuation>[()\[\],=|~+])""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str  # string, number, name, punctuation, other or end
    text: str
    start: int


class _Entry(NamedTuple):
    edge: tuple[Any, ...]  # (op, source) or (op, source, target)
    starts: tuple[int, ...]  # where each of them stands in the text


class _Reader:
    """The tokens of a text, and errors that say where."""

    def __init__(self, text: str, start: int = 0):
        self.text = text
        self.token = self._read(start)

    def _read(self, start: int) -> _Token:
        while match := _TOKEN.match(self.text, start):
            if match.lastgroup != "space":
                return _Token(str(match.lastgroup), match.group(), start)
            start = match.end()
        return _Token("other" if start < len(self.text) else "end", self.text[start : start + 1], start)

    def take(self) -> _Token:
        token = self.token
        self.token = self._read(token.start + len(token.text))
        return token

    def at(self, *texts: str) -> bool:
        return self.token.kind == "punctuation" and self.token.text in texts

    def punctuation(self, *texts: str, expected: str = "") -> _Token:
        if not self.at(*texts):
            self.unexpected(expected or " or ".join(repr(text) for text in texts))
        return self.take()

    def number(self, expected: str) -> tuple[int, int]:
        """A number and where it stands."""
        if self.token.kind != "number":
            self.unexpected(expected)
        if len(self.token.text) > 3:
            self.unexpected(f"{expected}, at most {_LARGEST}")
        token = self.take()
        return int(token.text), token.start

    def op(self, name: str, start: int, choices: tuple[str, ...] | None = None) -> str:
        choices = choices or (*OPS, *own_ops.names())
        if name not in choices:
            hint = "; ops of your own: --space FILE.py" if choices[: len(OPS)] == OPS else ""
            self.fail(start, f"{unknown('op', name[:60], choices)}{hint}")
        return name

    def unexpected(self, expected: str) -> NoReturn:
        token = self.token
        found = "the end of the text" if token.kind == "end" else excerpt(token.text)
        self.fail(token.start, f"found {found}, expected {expected}")

    def fail(self, start: int, message: str) -> NoReturn:
        line = self.text.count("\n", 0, start) + 1
        column = start - self.text.rfind("\n", 0, start)
        raise UserError(f"genotype, line {line}, column {column}: {message}")


def read_nasbench201(text: str) -> Genotype:
    """Reads `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`."""
    reader = _Reader(text)
    nodes = []
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
            reader.punctuation("|")
        nodes.append(tuple(edges))
    if reader.token.kind != "end":
        reader.unexpected("the end of the text: a NAS-Bench-201 cell has three groups of ops")
    return Genotype(Cell(tuple(nodes), (3,), inputs=1), None)


def read_darts(text: str) -> Genotype:
    """Reads `Genotype(normal=…, normal_concat=…, reduce=…, reduce_concat=…)`, fields in any order."""
    match = DARTS_TEXT.search(text)
    assert match is not None
    if not re.fullmatch(r"[^\n]*=\s*|", text[: match.start()].strip()):  # "DARTS_V2 = ", or a line of a log
        _Reader(text).unexpected("'Genotype(', or a name and '=' before it")
    reader = _Reader(text, match.end())
    names = ("normal", "normal_concat", "reduce", "reduce_concat")
    entries: dict[str, list[_Entry]] = {}
    concats: dict[str, list[tuple[int, int]]] = {}
    while not reader.at(")"):
        missing = [name for name in names if name not in entries and name not in concats]
        if reader.token.kind != "name" or reader.token.text not in missing:
            reader.unexpected(" or ".join(f"'{name}='" for name in missing) if missing else "')'")
        field = reader.take().text
        reader.punctuation("=")
        if field.endswith("_concat"):
            concats[field] = _read_concat(reader)
        else:
            entries[field] = _read_edges(reader)
        if not reader.at(")"):
            reader.punctuation(",", ")")
    missing = [name for name in names if name not in entries and name not in concats]
    if missing:
        reader.unexpected(f"'{missing[0]}='")
    reader.take()
    if reader.token.kind != "end":
        reader.unexpected("the end of the text")
    normal, reduce = (_cell_at(reader, entries[name], concats[f"{name}_concat"]) for name in ("normal", "reduce"))
    return Genotype(normal, reduce)


def _read_edges(reader: _Reader) -> list[_Entry]:
    entries: list[_Entry] = []
    close = _open(reader, "a list of (op, source)")
    while not reader.at(close):
        start = reader.token.start
        end = _open(reader, "'(' and an op")
        if reader.token.kind != "string":
            reader.unexpected("an op in quotes")
        token = reader.take()
        op = reader.op(token.text[1:-1], token.start)
        reader.punctuation(",")
        numbers = [reader.number("the number of the source node")]
        if reader.at(",") and not _closes(reader, end):
            numbers.append(reader.number("the number of the target node"))
            _closes(reader, end)
        reader.punctuation(end, expected=f"'{end}' after (op, source)" if len(numbers) == 1 else "")
        if entries and len(entries[0].edge) != 1 + len(numbers):
            reader.fail(start, "(op, source) and (op, source, target) are mixed; use one of them for a whole cell")
        target = numbers[1][0] if len(numbers) == 2 else 2 + len(entries) // 2
        if target < 2:
            reader.fail(numbers[1][1], f"found target node {target}, expected an intermediate node, 2 or higher")
        if numbers[0][0] >= target:
            reader.fail(
                numbers[0][1],
                f"found source node {numbers[0][0]} for node {target}, expected one of 0 to {target - 1}",
            )
        entries.append(_Entry((op, *(n for n, _ in numbers)), (token.start, *(at for _, at in numbers))))
        if not reader.at(close):
            reader.punctuation(",", close)
    if len(entries) % 2 and len(entries[0].edge) == 2:
        reader.unexpected(f"another (op, source): nodes have two each, and {len(entries)} is odd")
    reader.take()
    return entries


def _read_concat(reader: _Reader) -> list[tuple[int, int]]:
    if reader.token.kind == "name" and reader.token.text == "range":
        start = reader.take().start
        reader.punctuation("(")
        bounds = [reader.number("a number")[0]]
        if not _closes(reader, ")"):
            bounds.append(reader.number("a number")[0])
            _closes(reader, ")")
        reader.punctuation(")")
        return [(node, start) for node in range(*bounds)]
    close = _open(reader, "a list of nodes or range(first, end)")
    nodes = []
    while not reader.at(close):
        nodes.append(reader.number("the number of a node"))
        if not reader.at(close):
            reader.punctuation(",", close)
    reader.take()
    return nodes


def _cell_at(reader: _Reader, entries: list[_Entry], concat: list[tuple[int, int]]) -> Cell:
    triples = bool(entries) and len(entries[0].edge) == 3
    last = 1 + len(entries) // 2
    seen = set()
    for node, start in concat:
        if node < 2 or (not triples and node > last):
            expected = "2 or higher" if triples else f"one of 2 to {last}"
            reader.fail(start, f"found node {node} in a concat, expected an intermediate node, {expected}")
        if node in seen:
            reader.fail(start, f"found node {node} twice in a concat, expected each node once")
        seen.add(node)
    return _cell_from_edges([entry.edge for entry in entries], tuple(node for node, _ in concat))


def _open(reader: _Reader, expected: str) -> str:
    """Takes '(' or '[' and returns what closes it."""
    return ")" if reader.punctuation("(", "[", expected=expected).text == "(" else "]"


def _closes(reader: _Reader, end: str) -> bool:
    """Takes a comma, if there is one, and says whether the bracket closes now."""
    if reader.at(","):
        reader.take()
    return reader.at(end)
