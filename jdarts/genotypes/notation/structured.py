"""Genotypes in JSON, and cells from lists of edges."""

import json
from typing import Any, cast

from jdarts.errors import UserError, unknown
from jdarts.genotypes.blocks import FAMILIES, BlockCell, BlockGenotype, Family
from jdarts.genotypes.enas import MacroArchitecture
from jdarts.genotypes.genotype import Cell, Edge, Genotype, excerpt, sequence, whole_number
from jdarts.genotypes.notation.tokens import LARGEST
from jdarts.genotypes.one_shot import OneShotGenotype, choice_block
from jdarts.genotypes.recurrent import RecurrentGenotype


def read_json(text: str, start: int = 0) -> Genotype:
    """Reads a JSON object at `start` with the fields of `Genotype` and `Cell`, or with the four DARTS fields.

    With the field `family` it is a `BlockGenotype`, with the field `recurrent` a `RecurrentGenotype`, with the field
    `ops` a `MacroArchitecture`, with the field `blocks` alone a `OneShotGenotype`. After the prefix of a log line
    (`start` > 0), other lines may follow the object.
    Raises `UserError`.
    """
    return genotype_of_json(json_object(text, start))


def json_object(text: str, start: int = 0) -> dict[str, Any]:
    """The JSON object at `start`; see `read_json`. Raises `UserError`."""
    data = _decode(text, start)
    if not isinstance(data, dict):
        raise UserError(f"genotype JSON is {excerpt(data)}; expected an object with the keys normal and reduce")
    return data


def genotype_of_json(data: dict[str, Any]) -> Genotype:
    """The genotype of the fields of a JSON object; see `read_json`. Raises `UserError`."""
    if "family" in data:
        return _block_genotype(data)
    if "recurrent" in data:
        return _recurrent_genotype(data)
    if set(data) == {"blocks"}:
        blocks = sequence(data["blocks"], "blocks")
        return OneShotGenotype(tuple(choice_block(block, number) for number, block in enumerate(blocks)))
    if "ops" in data:
        return _macro_architecture(data)
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
                cells[name] = cell_from_edges(
                    _json_edges(data[name], name), sequence(data[f"{name}_concat"], f"{name}_concat")
                )
            else:
                cells[name] = None if data[name] is None and name == "reduce" else _json_cell(data[name])
        except UserError as error:
            raise UserError(f"genotype JSON, {name}: {error}") from None
    assert cells["normal"] is not None
    return Genotype(cells["normal"], cells["reduce"])


def _block_genotype(data: dict[str, Any]) -> BlockGenotype:
    keys = ("normal", "reduce", "family", "skip_reduction_layer_input")
    for key in data:
        if key not in keys:
            raise unknown("key of a genotype in JSON", key[:60], keys)
    for key in keys[:3]:
        if key not in data:
            raise UserError(f"genotype JSON lacks {key}")
    cells: dict[str, Cell] = {}
    for name in keys[:2]:
        try:
            cells[name] = _json_cell(data[name], BlockCell)
        except UserError as error:
            raise UserError(f"genotype JSON, {name}: {error}") from None
    if not isinstance(data["family"], str):
        raise UserError(f"genotype JSON, family: found {excerpt(data['family'])}, expected one of {list(FAMILIES)}")
    skip = data.get(keys[3], False)
    return BlockGenotype(cells["normal"], cells["reduce"], cast(Family, data["family"]), skip)


def _recurrent_genotype(data: dict[str, Any]) -> RecurrentGenotype:
    keys = ("recurrent", "concat", "first")
    for key in data:
        if key not in keys:
            raise unknown("key of a recurrent genotype in JSON", key[:60], keys)
    if "concat" not in data:
        raise UserError("genotype JSON lacks concat")
    try:
        return RecurrentGenotype(data["recurrent"], data["concat"], data.get("first", "tanh"))
    except UserError as error:
        raise UserError(f"genotype JSON: {error}") from None


def _macro_architecture(data: dict[str, Any]) -> MacroArchitecture:
    keys = ("ops", "skips")
    for key in data:
        if key not in keys:
            raise unknown("key of an ENAS macro architecture in JSON", key[:60], keys)
    if "skips" not in data:
        raise UserError("genotype JSON lacks skips")
    try:
        return MacroArchitecture(data["ops"], data["skips"])
    except UserError as error:
        raise UserError(f"genotype JSON: {error}") from None


def _decode(text: str, start: int) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise UserError(f"genotype JSON repeats a key among {[key[:40] for key, _ in pairs[:9]]}; write each once")
        return dict(pairs)

    try:
        start += len(text[start:]) - len(text[start:].lstrip())
        data, end = json.JSONDecoder(object_pairs_hook=once).raw_decode(text, start)
        if text[end:].strip() and not (text[:start].strip() and text[end:].lstrip(" \t").startswith("\n")):
            raise json.JSONDecodeError("Extra data", text, len(text) - len(text[end:].lstrip()))
    except json.JSONDecodeError as error:
        found = excerpt(text[error.pos : error.pos + 20]) if error.pos < len(text) else "the end of the text"
        place = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"genotype JSON, {place}: found {found}, expected valid JSON ({error.msg})") from None
    except UserError:
        raise
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets thousands deep
        raise UserError("genotype JSON is nested too deeply or has too long a number") from None
    return data


def _json_cell(value: Any, kind: type[Cell] = Cell) -> Cell:
    keys = ("nodes", "concat", "inputs")
    if not isinstance(value, dict):
        raise UserError(f"found {excerpt(value)}, expected an object with the keys {', '.join(keys)}")
    for key in value:
        if key not in keys:
            raise unknown("key of a cell in JSON", key[:60], keys)
    for key in keys[:2]:
        if key not in value:
            raise UserError(f"the cell lacks {key}")
    return kind(value["nodes"], value["concat"], value.get("inputs", 2))


def _json_edges(value: Any, name: str) -> list[tuple[Any, ...]]:
    """The edges of one DARTS field; a list for each node becomes edges with targets."""
    entries = sequence(value, name)
    if not (entries and isinstance(entries[0], list) and all(isinstance(edge, list) for edge in entries[0])):
        return [_json_edge(entry, name) for entry in entries]
    edges = []
    for target, node in enumerate(entries, start=2):
        for edge in (_json_edge(entry, name) for entry in sequence(node, f"node {target} of {name}")):
            if len(edge) == 3:
                raise UserError(f"node {target} of {name} has {excerpt(list(edge))}; expected (op, source)")
            edges.append((*edge, target))
    return edges


def _json_edge(value: Any, name: str) -> tuple[Any, ...]:
    edge = sequence(value, f"an entry of {name}")
    if len(edge) not in (2, 3):
        raise UserError(f"an entry of {name} is {excerpt(value)}; expected (op, source) or (op, source, target)")
    return (edge[0], *(whole_number(number, "an edge") for number in edge[1:]))


def cell_from_edges(edges: list[tuple[Any, ...]], concat: tuple[Any, ...]) -> Cell:
    """A cell of DARTS fields: pairs, two a node in order, or triples with explicit targets, but not both."""
    sizes = {len(edge) for edge in edges}
    if len(sizes) > 1:
        raise UserError("(op, source) and (op, source, target) are mixed; use one of them for a whole cell")
    if sizes == {2} and len(edges) % 2:
        raise UserError(f"{len(edges)} (op, source) pairs; nodes have two each, so the number must be even")
    targets = [edge[2] if len(edge) == 3 else 2 + i // 2 for i, edge in enumerate(edges)]
    highest = max([1, *targets, *(whole_number(node, "concat") for node in concat)])
    if highest > LARGEST or min([2, *targets]) < 2:
        raise UserError(f"targets {sorted(set(targets))[:9]}; a target is an intermediate node, 2 to {LARGEST}")
    nodes: list[list[Edge]] = [[] for _ in range(highest - 1 if sizes == {3} else max([1, *targets]) - 1)]
    for edge, target in zip(edges, targets, strict=True):
        nodes[target - 2].append((edge[0], edge[1]))
    return Cell(tuple(tuple(node) for node in nodes), concat)
