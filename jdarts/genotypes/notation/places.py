"""Finds the genotypes in a longer text, such as a log or a Python module, and selects one."""

import re
from itertools import islice
from typing import NamedTuple

from jdarts.errors import UserError, unknown
from jdarts.genotypes.notation.tokens import Reader

DARTS_TEXT = re.compile(r"(?<![\w.])(?:[A-Za-z_]\w{0,60}\.){0,4}Genotype\s*\(")
ARCH_TEXT = re.compile(r"(?<!~[0-9])\|\s*[A-Za-z_]\w{0,40}~0\s*\|\s*\+\s*\|")

_WINDOW = 200  # characters before a genotype that may hold its name
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\s*(?::[^=\n]*)?=$")
_MOST = 1000


class Place(NamedTuple):
    """The place of one genotype in a text.

    Attributes:
      start, end: bounds of the match that marks the genotype's beginning.
      name: the variable that the genotype is assigned to, if any.
      quote: the quotation mark directly before the genotype, or "".
      before: the part of its line before the genotype.
      line: line number, from 1.
    """

    start: int
    end: int
    name: str | None
    quote: str
    before: str
    line: int

    @property
    def label(self) -> str:
        """Name and line, for messages."""
        return f"{self.name} (line {self.line})" if self.name else f"line {self.line}"


def choose(text: str, pattern: re.Pattern[str], name: str | None) -> Place:
    """The place in `text` that matches `pattern`, the one called `name` (or on the line of that number) if given.

    Comments count only where nothing else matches. Raises `UserError` if no place or more than one is left.
    """
    found = _places(text, pattern)
    if not found:
        Reader(text).unexpected("'Genotype(', or a name and '=' before it")
    found = [place for place in found if "#" not in place.before] or found
    if name is not None:
        found = _named(found, name)
    if len(found) > 1:
        labels = ", ".join(place.label for place in found[:12]) + (", …" if len(found) > 12 else "")
        number = f"at least {_MOST}" if len(found) == _MOST else len(found)
        raise UserError(
            f"the text has {number} genotypes: {labels}; say which one by name or line number, as in FILE:NAME or "
            "FILE:LINE, or keep only that one"
        )
    return found[0]


def _named(found: list[Place], name: str) -> list[Place]:
    if name.isascii() and name.isdigit():
        chosen = [place for place in found if str(place.line) == name]
    else:
        chosen = [place for place in found if place.name == name]
        chosen = chosen or [place for place in found if (place.name or "").casefold() == name.casefold()]
    if not chosen:
        raise unknown("genotype of this text", name[:80], dict.fromkeys(p.name or f"line {p.line}" for p in found))
    return chosen


def _places(text: str, pattern: re.Pattern[str]) -> list[Place]:
    found, line, seen = [], 1, 0
    for match in islice(pattern.finditer(text), _MOST):
        start = match.start()
        line += text.count("\n", seen, start)
        seen = start
        window = text[max(0, start - _WINDOW) : start]
        before = window[window.rfind("\n") + 1 :].rstrip()
        quote = before[-1:] if before.endswith(("'", '"')) and window[-1:] == before[-1:] else ""
        if pattern is DARTS_TEXT and _is_other(before):
            continue
        assignment = _ASSIGNMENT.search(window.rstrip(" \t\n\\"))
        found.append(Place(start, match.end(), assignment and assignment[1], quote, before, line))
    return found


def _is_other(before: str) -> bool:
    """True if `Genotype(` is a definition, an argument or an element of a list, and not a value by itself."""
    return before.endswith(("(", "[", "{", ",", ".")) or re.search(r"\b(?:class|def)$", before) is not None
