"""Recurrent cells as DARTS text, and the token lists of ENAS."""

import re
from typing import Any

from jdarts.errors import UserError
from jdarts.genotypes.genotype import excerpt
from jdarts.genotypes.notation.places import Place
from jdarts.genotypes.notation.text import check_end, read_concat
from jdarts.genotypes.notation.tokens import Reader
from jdarts.genotypes.recurrent import ACTIVATIONS, RecurrentGenotype, RecurrentNode, enas_cell, enas_lm_cell

RECURRENT_FIELDS = re.compile(r"\s*(?:recurrent|concat|first)\s*=")
"""The beginning of the fields of a recurrent genotype."""
TOKEN_LIST = re.compile(r"\s*(enas|enas_lm)\s*:(?=[\s\d])", re.IGNORECASE)
"""The beginning of a token list."""

_FIELDS = ("recurrent", "concat", "first")


def read_recurrent(text: str, place: Place) -> RecurrentGenotype:
    """Reads `Genotype(recurrent=[(activation, predecessor), …], concat=…)` at `place`; `first='relu'` may follow."""
    reader = Reader(text, place.end)
    read: dict[str, Any] = {}
    start = reader.token.start
    while not reader.at(")"):
        missing = [name for name in _FIELDS if name not in read]
        if reader.token.kind != "name" or reader.token.text not in missing:
            reader.unexpected(" or ".join(f"'{name}='" for name in missing) if missing else "')'")
        field = reader.take().text
        reader.punctuation("=")
        match field:
            case "recurrent":
                read[field] = _read_nodes(reader)
            case "concat":
                read[field] = tuple(node for node, _ in read_concat(reader))
            case _:
                read[field] = reader.op(*reader.string("an activation in quotes"), ACTIVATIONS)
        reader.comma_or(")")
    for name in _FIELDS[:2]:
        if name not in read:
            reader.unexpected(f"'{name}='")
    end = reader.take().start + 1
    check_end(reader, end, place, "the end of the text or of the line")
    try:
        return RecurrentGenotype(**read)
    except UserError as error:
        reader.fail(start, str(error))


def _read_nodes(reader: Reader) -> tuple[RecurrentNode, ...]:
    nodes: list[RecurrentNode] = []
    outer = reader.open("a list of (activation, predecessor)")
    while not reader.at(outer.close):
        bracket = reader.open("'(' and an activation")
        activation = reader.op(*reader.string("an activation in quotes"), ACTIVATIONS)
        reader.punctuation(",")
        source, start = reader.number("the number of the predecessor")
        if source > len(nodes):
            reader.fail(start, f"found node {source}, expected an earlier one: 0 to {len(nodes)}")
        reader.closes(bracket.close)
        reader.close(bracket)
        nodes.append((activation, source))
        reader.comma_or(outer.close)
    reader.close(outer)
    return tuple(nodes)


def read_token_list(text: str) -> RecurrentGenotype:
    """Reads `enas: 0 0 0 1 1 …` or `enas_lm: 0 2 1 0 …`, numbers separated by blanks or commas."""
    match = TOKEN_LIST.match(text)
    assert match is not None
    words = text[match.end() :].replace(",", " ").split()
    for word in words:
        if not re.fullmatch(r"[0-9]{1,3}", word, re.ASCII):
            raise UserError(f"a token list has whole numbers; found {excerpt(word)}")
    return (enas_cell if match[1].lower() == "enas" else enas_lm_cell)([int(word) for word in words])
