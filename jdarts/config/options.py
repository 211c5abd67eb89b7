"""Options that are written as texts, `option=value`, and typed by the annotations of a function's parameters."""

import types
import typing
from typing import Any, Literal

from jdarts.config.ranges import shown
from jdarts.errors import UserError


def split(given: str, field: str) -> tuple[str, str]:
    """`(option, value)` of a text; `field` is the configuration's field that holds it, for the message."""
    key, has_value, value = given.partition("=")
    if not has_value:
        raise UserError(f"{field} has {given!r}; write option=value")
    return key.strip(), value.strip()


def parse(text: str, hint: Any, what: str) -> Any:
    """The value of type `hint` that `text` spells; raises `UserError`, which names the option as `what`."""
    alternatives = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for kind in alternatives:
        if typing.get_origin(kind) is Literal:
            if text in map(str, typing.get_args(kind)):
                return next(choice for choice in typing.get_args(kind) if str(choice) == text)
        elif kind is bool:
            if text.lower() in ("true", "false"):
                return text.lower() == "true"
        elif kind is type(None):
            if text.lower() == "none":
                return None
        elif typing.get_origin(kind) is tuple:
            return tuple(parse(item, typing.get_args(kind)[0], what) for item in text.split(","))
        elif kind is str:
            return text
        else:
            try:
                return kind(text)
            except ValueError:
                pass
    wanted = ", ".join(map(str, typing.get_args(hint))) or getattr(hint, "__name__", str(hint))
    raise UserError(f"{what} is {shown(text)}; it must be {wanted}")
