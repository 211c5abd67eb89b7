"""Readers of the notations of genotypes, in papers, logs, modules and files. Text is parsed, never evaluated.

Use `jdarts.genotype.parse`, which calls `read`. Every mistake is a `UserError` of one line with its place.

* `structured`: JSON.
* `text`: DARTS text and NAS-Bench-201 arch strings, by recursive descent over the tokens of `tokens`.
* `places`: finds the genotypes in a longer text (a log, a Python module) and selects one.
"""

import re

from jdarts.errors import UserError
from jdarts.genotype import Genotype, excerpt
from jdarts.notation.places import ARCH_TEXT, DARTS_TEXT, choose
from jdarts.notation.structured import read_json
from jdarts.notation.text import read_darts, read_nasbench201
from jdarts.notation.tokens import cleaned

__all__ = ["is_text", "read", "read_json"]

_LARGEST = 1_000_000  # characters
_JSON = re.compile(r'\{\s*"(?:normal|reduce)(?:_concat)?"\s*:')
_NAME = re.compile(r"[A-Za-z][\w.+-]{0,80}", re.ASCII)


def is_text(text: str) -> bool:
    """True if `text` is JSON, DARTS text or an arch string, and neither a name nor a path."""
    start = text.lstrip("\ufeff \t\r\n")[:1] in ("{", "[", "|")
    return start or any(pattern.search(text) for pattern in (DARTS_TEXT, ARCH_TEXT, _JSON))


def read(text: str, name: str | None = None) -> Genotype:
    """The genotype in `text`; `name`, also a line number, selects one of several.

    Raises `UserError`, one line with the place, what was found and what was expected.
    """
    if len(text) > _LARGEST:
        raise UserError(f"the text has {len(text)} characters; a genotype's has some hundreds, at most {_LARGEST}")
    text = cleaned(text)
    stripped = text.strip()
    if DARTS_TEXT.search(text):
        return read_darts(text, choose(text, DARTS_TEXT, name))
    if ARCH_TEXT.search(text):
        return read_nasbench201(text, choose(text, ARCH_TEXT, name))
    if name is not None:
        raise UserError(f"{name!r} was asked for, but the text holds no genotypes with names; leave the name out")
    if stripped.startswith("|"):
        return read_nasbench201(text)
    found = _JSON.search(text)
    if found or stripped.startswith(("{", "[")):
        return read_json(text, 0 if not found or stripped.startswith("{") else found.start())
    if _NAME.fullmatch(stripped):
        from jdarts import published

        return published.get(stripped)
    raise UserError(
        f"cannot read {excerpt(stripped)} as a genotype; expected Genotype(normal=…), JSON, "
        "an arch string |op~0|+…, or the name of a published genotype"
    )
