"""Sections of a configuration, which remember the fields that were set explicitly.

Published settings of a method fill in the other fields (`jdarts.methods.loading`).
"""

import dataclasses
from typing import Any, Self


class Section:
    """The base of the configuration's dataclasses. `dataclasses.replace` counts as setting all fields."""

    _given: frozenset[str]

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """An instance that records the names of the fields it is made with; the dataclass sets their values."""
        section = super().__new__(cls)
        names = [field.name for field in dataclasses.fields(cls)]  # pyright: ignore[reportArgumentType]
        object.__setattr__(section, "_given", frozenset((*names[: len(values)], *named)))
        return section


def given(section: Section) -> set[str]:
    """The fields that were set explicitly, by dotted name: `{"name", "search.epochs"}`."""
    found = set()
    for name in section._given:
        value = getattr(section, name)
        found |= {f"{name}.{inner}" for inner in given(value)} if isinstance(value, Section) else {name}
    return found


def given_as(section: Any, other: Any) -> Any:
    """`section` with the fields that were set explicitly in `other`."""
    object.__setattr__(section, "_given", other._given)
    return section
