"""Genotypes from texts and files, in any notation: `parse`, `load`; with mobile networks, `parse_architecture`."""

import re
from pathlib import Path
from typing import Any

from jdarts.errors import UserError
from jdarts.genotypes import published, published_mobile, published_networks, published_recurrent
from jdarts.genotypes.enas import MACRO_LIST, MacroArchitecture
from jdarts.genotypes.genotype import Genotype, excerpt
from jdarts.genotypes.mobile import MobileArchitecture
from jdarts.genotypes.notation.mobile import (
    MACRO_CODE,
    MOBILE_TEXT,
    mobile_of_json,
    read_macro_code,
    read_mobile_text,
)
from jdarts.genotypes.notation.places import ARCH_TEXT, DARTS_TEXT, choose
from jdarts.genotypes.notation.recurrent import RECURRENT_FIELDS, TOKEN_LIST, read_recurrent, read_token_list
from jdarts.genotypes.notation.structured import genotype_of_json, json_object
from jdarts.genotypes.notation.text import read_darts, read_nasbench201
from jdarts.genotypes.notation.tokens import cleaned
from jdarts.genotypes.one_shot import ONE_SHOT_LIST, OneShotGenotype
from jdarts.genotypes.random_wiring import WIRED_TEXT, RandomlyWired

_LARGEST = 1_000_000  # characters
_JSON = re.compile(
    r'\{\s*"(?:(?:(?:normal|reduce)(?:_concat)?|family|recurrent|concat|first|mobile|ops|skips|blocks)"\s*:'
    r'|(?:dropout"\s*:\s*[\d.]+\s*,\s*")?layers"\s*:\s*\[\s*\{)'
)
_NAME = re.compile(r"[A-Za-z][\w.+-]{0,80}", re.ASCII)
_LARGEST_FILE = 1_000_000  # bytes
Architecture = Genotype | MobileArchitecture
"""The values that `parse_architecture` reads: genotypes of cells, and chains of layers."""
_FILES = (".json", ".jsonl", ".txt", ".log", ".py")


def is_text(text: str) -> bool:
    """True if `text` is a genotype or a mobile network in a notation, and neither a name nor a path."""
    start = text.lstrip("\ufeff \t\r\n")[:1] in ("{", "[", "|")
    patterns = (DARTS_TEXT, ARCH_TEXT, _JSON, TOKEN_LIST, MACRO_LIST, ONE_SHOT_LIST, MOBILE_TEXT, WIRED_TEXT)
    return start or any(pattern.search(text) for pattern in patterns)


def parse(text: str, name: str | None = None) -> Genotype:
    """The genotype of cells that `text` denotes, in any of the notations of `jdarts.genotypes`.

    Args:
      text: a genotype, or a log or Python module that contains one.
      name: selects one of several genotypes in `text`, by the name that it is assigned to or by its line number.

    Raises `UserError`: one line with the place, the text found there and the expected one.
    """
    return _of_cells(parse_architecture(text, name))


def parse_architecture(text: str, name: str | None = None) -> Architecture:
    """The genotype or the mobile network that `text` denotes; arguments and errors are those of `parse`."""
    if len(text) > _LARGEST:
        raise UserError(f"the text has {len(text)} characters; a genotype has a few hundred, at most {_LARGEST}")
    text = cleaned(text)
    stripped = text.strip()
    if DARTS_TEXT.search(text):
        place = choose(text, DARTS_TEXT, name)
        return (read_recurrent if RECURRENT_FIELDS.match(text, place.end) else read_darts)(text, place)
    if ARCH_TEXT.search(text):
        return read_nasbench201(text, choose(text, ARCH_TEXT, name))
    if name is not None:
        raise UserError(f"{name!r} was asked for, but the text holds no genotypes with names; leave the name out")
    if TOKEN_LIST.match(stripped):
        return read_token_list(stripped)
    if MACRO_LIST.match(stripped):
        return MacroArchitecture.read(stripped.replace(",", " "))
    if WIRED_TEXT.search(text):
        return RandomlyWired.read(text)
    if ONE_SHOT_LIST.match(stripped):
        return OneShotGenotype.read(stripped)
    if MOBILE_TEXT.search(text):
        return read_mobile_text(text)
    if MACRO_CODE.fullmatch(stripped):
        return read_macro_code(stripped)
    if stripped.startswith("|"):
        return read_nasbench201(text)
    found = _JSON.search(text)
    if found or stripped.startswith(("{", "[")):
        data = json_object(text, 0 if not found or stripped.startswith("{") else found.start())
        return mobile_of_json(data) if "mobile" in data else genotype_of_json(data)
    if _NAME.fullmatch(stripped):
        recurrent, network = published_recurrent.find(stripped), published_networks.find(stripped)
        mobile = published_mobile.find(stripped)
        if recurrent is not None:
            return recurrent
        if mobile is not None:
            return mobile.architecture
        return published.get(stripped) if network is None else network.genotype
    raise UserError(
        f"cannot read {excerpt(stripped)} as a genotype; expected Genotype(normal=…), Genotype(recurrent=…), JSON, "
        "an arch string |op~0|+…, enas_macro: 0 3 0 …, or the name of a published genotype"
    )


def parse_result(text: str) -> Any:
    """The architecture in a record of a search: a genotype, or a chain of layers.

    Both have the graphs `cells`, `normal` and `reduce`, so that records and reports count ops in the same way.
    """
    return parse_architecture(text)


def load(source: str | Path) -> Genotype:
    """The genotype of cells that `source` denotes: a text for `parse`, or the path of a file with such a text.

    `FILE:NAME` and `FILE:LINE` select one of several genotypes in a file. A published name takes precedence over a file
    of the same name. Raises `UserError`.
    """
    return _of_cells(load_architecture(source))


def load_architecture(source: str | Path) -> Architecture:
    """The genotype or the mobile network that `source` denotes, as for `load`."""
    name = None
    if isinstance(source, str):
        stripped = source.strip()
        if is_published(stripped) or is_text(source):
            return parse_architecture(source)
        head, _, tail = source.rpartition(":")
        if _exists(head) and not _exists(source):
            source, name = head, tail
        elif not (_exists(source) or "/" in source or source.endswith(_FILES)):
            return parse_architecture(source)
    path = Path(source)
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read genotype file {excerpt(str(path), 200)}: {reason}") from None
    if len(content) > _LARGEST_FILE:
        raise UserError(f"genotype file {str(path)!r} is larger than {_LARGEST_FILE} bytes; is it the right file?")
    try:
        return parse_architecture(content.decode(), name)
    except UnicodeDecodeError:
        raise UserError(f"genotype file {str(path)!r} is not UTF-8 text; is it the right file?") from None
    except UserError as error:
        raise UserError(f"{str(path)!r}: {error}") from None


def is_published(name: str) -> bool:
    """True for the name of a published genotype or network."""
    found = published_recurrent.find(name) or published_networks.find(name) or published_mobile.find(name)
    return name in published.names() or found is not None


def _exists(path: str) -> bool:
    try:
        return bool(path) and Path(path).exists()
    except (OSError, ValueError):  # too long or with a NUL: not a path
        return False


def _of_cells(architecture: Architecture) -> Genotype:
    if isinstance(architecture, MobileArchitecture):
        raise UserError(
            f"{excerpt(architecture.to_text())} is a mobile network, which has no cells; give a genotype of cells "
            "(jdarts count, draw and train take both)"
        )
    return architecture
