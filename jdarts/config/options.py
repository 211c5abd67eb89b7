"""Options that are written as texts, `option=value`, and typed by the annotations of a function's parameters.

An annotation also says where an option has no effect: `Annotated[int, Unless("criterion", "ranking")]`,
`Annotated[float, OnlyIn("enas_macro")]`. An option that is given there is refused.
"""

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from jdarts.config.ranges import shown
from jdarts.errors import UserError


@dataclass(frozen=True)
class Unless:
    """The option has no effect where another option has this value."""

    option: str
    value: str | float


class OnlyIn:
    """The option has an effect in these spaces only."""

    def __init__(self, *spaces: str):
        self.spaces = spaces


def refuse_unused(given: Mapping[str, Any], defaults: Mapping[str, Any], hints: Mapping[str, Any], of: str) -> None:
    """Raise `UserError` if a given option has no effect because of the value of another one.

    Args:
      given, defaults: values by option. hints: annotations by option. of: the owner of the options, for the message.
    """
    for option in given:
        for condition in conditions(hints.get(option)):
            if not isinstance(condition, Unless):
                continue
            value = given.get(condition.option, defaults[condition.option])
            if isinstance(value, str | int | float) and value == condition.value:  # not the traced array of a sweep
                raise UserError(
                    f"option {option} of {of} has no effect where {condition.option} is {value}; leave it out, or "
                    f"change {condition.option}"
                )


def conditions(hint: Any) -> Iterator[Unless | OnlyIn]:
    """The conditions in an annotation."""
    if typing.get_origin(hint) is Annotated:
        base, *extras = typing.get_args(hint)
        yield from conditions(base)
        yield from (extra for extra in extras if isinstance(extra, Unless | OnlyIn))


def condition_words(hint: Any) -> str:
    """The conditions in an annotation for people; empty without one."""
    words = [
        f"not with {each.option}={each.value}" if isinstance(each, Unless) else f"only in {', '.join(each.spaces)}"
        for each in conditions(hint)
    ]
    return "; ".join(words)


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
