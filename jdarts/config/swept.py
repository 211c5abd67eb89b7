"""Hyper-parameter values that one compiled step sweeps: traced arrays instead of numbers."""

import copy
from typing import Any


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
