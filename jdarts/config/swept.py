"""Hyper-parameter values that one compiled step sweeps: traced arrays instead of numbers."""

import copy
from collections.abc import Mapping
from typing import Any

from jdarts.config.experiment import Experiment

METHOD_OPTIONS = "search.method_options."


def unchecked(section: Any, **fields: Any) -> Any:
    """`section` with other values in some fields, without its checks, which cannot look into a traced array."""
    changed = copy.copy(section)
    for name, value in fields.items():
        object.__setattr__(changed, name, value)
    return changed


def is_off(value: Any) -> bool:
    """True if a hyper-parameter is the number 0, which switches something off while a step is built.

    The traced array of a sweep is never off, because it holds one number for each search.
    """
    return isinstance(value, (int, float)) and value == 0


def value_of(config: Experiment, name: str) -> Any:
    """The value of a field by its dotted name."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def with_values(config: Experiment, values: Mapping[str, Any]) -> Experiment:
    """`config` with the arrays of `values`, which may be traced, in their places; its rules are not checked again."""
    for path, value in values.items():
        if path.startswith(METHOD_OPTIONS):
            pair = (path.removeprefix(METHOD_OPTIONS), value)
            search = unchecked(config.search, method_options=(*config.search.method_options, pair))
            config = unchecked(config, search=search)
        else:
            config = _put(config, path.split("."), value)
    return config


def _put(section: Any, path: list[str], value: Any) -> Any:
    inner = value if len(path) == 1 else _put(getattr(section, path[0]), path[1:], value)
    return unchecked(section, **{path[0]: inner})
