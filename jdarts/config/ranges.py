"""The allowed numbers of an option, declared with its type and checked in one place.

    epochs: Annotated[int, Range(1, 1_000_000)] = 50
    momentum: Fraction = 0.9                              # 0 ≤ momentum < 1

Fields of the configuration and options of methods are declared in this way. Messages, `--help` and `jdarts methods
NAME` show the same words. Every number must also be finite in float32, and a whole number must fit in 32 bits.
"""

import functools
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

import numpy as np

from jdarts.errors import UserError

LARGEST = {int: 2**31 - 1, float: 3.4e38}
"""The largest number of an option by its type: devices compute with 32 bits."""


@dataclass(frozen=True)
class Range:
    """The numbers from `least` to `most`; `above` or `below` exclude the bound itself.

    Attributes: `least`, `most`, `above`, `below`, each None if there is no such bound, and `note`, which explains the
    numbers to the user ("0 is off").
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    note: str = ""

    def __contains__(self, number: Any) -> bool:
        return (
            (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        if self.least is not None and self.most is not None:
            text = f"{self.least:,} to {self.most:,}"
        else:
            bounds = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
            text = " and ".join(f"{word} {bound:,}" for word, bound in bounds.items() if bound is not None)
        return f"{text or 'a finite number'}{f' ({self.note})' if self.note else ''}"


ANY = Range()

Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, below=1)]
PositiveInt = Annotated[int, Range(1)]
"""A whole number from 1."""
CountOrOff = Annotated[int, Range(0, note="0 is off")]
"""A whole number from 0, where 0 switches the feature off."""
Channels = Annotated[int, Range(2, 65_536, note="an even number")]
Cells = Annotated[int, Range(1, 1_000)]
Epochs = Annotated[int, Range(1, 1_000_000)]
CheckpointCount = Annotated[int, Range(2, note="an older one is needed if the newest is damaged")]
CandidateCount = Annotated[int, Range(1, 1_000_000)]
"""Number of architectures to compare."""


def range_of(hint: Any) -> Range | None:
    """The `Range` of an option of type `hint` (of its elements if it is a tuple); None if it is not a number."""
    return next((limits for kind, limits in _kinds(hint) if kind in LARGEST), None)


def described(hint: Any) -> str:
    """The range in words if one was declared, otherwise an empty text."""
    limits = range_of(hint)
    return "" if limits in (None, ANY) else str(limits)


def check(what: str, value: Any, hint: Any) -> None:
    """Raise `UserError` if `value`, or an element of it, is a string or outside the range that `hint` declares.

    Values that are not Python or NumPy numbers, such as the traced arrays of a sweep, pass.
    """
    if isinstance(value, (tuple, list)):
        for item in value:
            check(what, item, hint)
        return
    numeric = {kind: limits for kind, limits in _kinds(hint) if kind in LARGEST}
    if isinstance(value, str) and numeric and str not in dict(_kinds(hint)):
        raise UserError(f"{what} is {shown(value)}; it must be a {'whole' if int in numeric else 'finite'} number")
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return
    for kind, limits in numeric.items():
        if value not in limits:
            raise UserError(f"{what} is {shown(value)}; it must be {limits}")
        if not -LARGEST[kind] <= value <= LARGEST[kind]:  # also true for NaN
            raise UserError(f"{what} is {shown(value)}; it must be a finite number of at most {LARGEST[kind]:,}")


def check_all(prefix: str, values: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """`check` every entry of `values` against the type of the same name in `hints`."""
    for name, value in values.items():
        check(f"{prefix}{name}", value, hints[name])


def check_fields(section: Any, prefix: str = "") -> None:
    """`check` every field of a dataclass against its annotation."""
    hints = field_hints(type(section))
    check_all(prefix, {name: getattr(section, name) for name in hints}, hints)


@functools.cache
def field_hints(cls: type) -> Mapping[str, Any]:
    """The annotations of a dataclass with their ranges."""
    return typing.get_type_hints(cls, include_extras=True)


def shown(value: Any) -> str:
    """`value` for a message, cut to 60 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python does not print whole numbers of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}…"


def _kinds(hint: Any) -> Iterator[tuple[Any, Range]]:
    """The plain types in a type, each with its range."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        declared = next((extra for extra in arguments[1:] if isinstance(extra, Range)), ANY)
        for kind, limits in _kinds(arguments[0]):
            yield kind, declared if limits == ANY else limits
    elif origin in (Union, types.UnionType, tuple):
        for part in arguments:
            yield from _kinds(part)
    elif origin is Literal:
        yield str, ANY
    else:
        yield hint, ANY
