"""Candidate operations of the user's own, by name: what genotypes, networks, counts and drawings look up.

A space that is made with own ops (`jdarts.spaces.define_space`) enters them here. This module knows names and
functions only; `jdarts.ops.user_module` builds, checks and counts them.
"""

import inspect
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from jdarts.errors import UserError

_KNOWN: dict[str, "OwnOp"] = {}


@dataclass(frozen=True)
class OwnOp:
    """An op of the user's own.

    Attributes:
      name: an identifier, as it stands in genotypes.
      make: a Flax module class, or a function without weights; None if the name alone is known, from a run's records.
      weights: it has weights, so that every edge needs its own.
    """

    name: str
    make: Any = None
    weights: bool = False

    @property
    def origin(self) -> tuple[str, str]:
        """File and name of the definition of `make`."""
        function = inspect.unwrap(self.make.__call__ if inspect.isclass(self.make) else self.make)
        code = getattr(function, "__code__", None)
        file = os.path.realpath(code.co_filename) if code else ""  # one file may have several paths
        return file, getattr(self.make, "__qualname__", repr(self.make))


def enter(op: OwnOp) -> None:
    """Make `op` known under its name, in place of an earlier one written at the same place.

    Raises `UserError` if another op of the user's has that name: a genotype could mean either.
    """
    known = _KNOWN.get(op.name)
    if known is not None and known.make is not None and known != op and known.origin != op.origin:
        raise UserError(
            f"op {op.name!r} is defined in {known.origin[0]} and in {op.origin[0]}; give one of them another name"
        )
    _KNOWN[op.name] = op


def declare(names: Iterable[str]) -> None:
    """Make names known that occur in a run's genotypes, so that these can be read without the user's file."""
    for name in names:
        _KNOWN.setdefault(name, OwnOp(name))


def is_own(name: str) -> bool:
    """True if `name` is an op of the user's."""
    return name in _KNOWN


def get(name: str) -> OwnOp:
    """The op of that name; raise `UserError` if only its name is known."""
    op = _KNOWN[name]
    if op.make is None:
        raise UserError(f"op {name!r} is one of a user's own; give the file that defines it with --space FILE.py")
    return op


def names() -> tuple[str, ...]:
    """All names known, in the order of their arrival."""
    return tuple(_KNOWN)


def has_weights(name: str) -> bool:
    """True if the own op `name` has weights."""
    return _KNOWN[name].weights


def among(ops: Iterable[str]) -> tuple[OwnOp, ...]:
    """The user's ops among `ops`: what a cache of things built from names must be keyed by, too."""
    return tuple(_KNOWN[op] for op in ops if op in _KNOWN)
