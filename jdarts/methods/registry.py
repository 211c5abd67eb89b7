"""Methods by name, with options: `build("darts_minus", ("decay=cosine",))`, `build("pc_darts+darts_minus")`.

A method is registered by decorating the function that makes it; its keyword-only arguments, all with defaults, are
its options, typed by their annotations. Importing the file that holds it is all that is needed:

    @register
    def my_method(*, strength: float = 1.0) -> Method: ...
"""

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal

from jdarts.errors import UserError, unknown
from jdarts.methods.method import Method, compose

Factory = Callable[..., Method]
_METHODS: dict[str, Factory] = {}


def register(factory: Factory) -> Factory:
    """Make `factory` available to configurations under its function's name; raise `UserError` if that is taken."""
    name = factory.__name__
    if name in _METHODS and _METHODS[name].__module__ != factory.__module__:
        raise UserError(f"a method named {name!r} is registered already; choose another name")
    for option in inspect.signature(factory).parameters.values():
        if option.kind is not option.KEYWORD_ONLY or option.default is option.empty:
            raise UserError(f"option {option.name} of method {name} must be keyword-only and have a default")
    _METHODS[name] = factory
    return factory


def names() -> tuple[str, ...]:
    """The names of all registered methods."""
    return tuple(_METHODS)


def get(name: str) -> Factory:
    """The registered factory of that name; raise `UserError` naming the nearest one if there is none."""
    if name not in _METHODS:
        raise unknown("method", name, _METHODS)
    return _METHODS[name]


def option_types(name: str) -> dict[str, Any]:
    """The options of a method with their types."""
    hints = typing.get_type_hints(get(name))
    return {option: hints.get(option, str) for option in inspect.signature(get(name)).parameters}


def option_defaults(name: str) -> dict[str, Any]:
    """The options of a method with their defaults."""
    return {option: p.default for option, p in inspect.signature(get(name)).parameters.items()}


def build(name: str, options: Sequence[str] = ()) -> Method:
    """The method that a configuration names; `a+b` composes. `options` are texts like `beta=0.5`, or
    `darts_minus.beta=0.5` where two composed methods share an option's name.

    Raises `UserError` for unknown names and options, for values of the wrong type, for methods that clash.
    """
    parts = [part.strip() for part in name.split("+")]
    chosen: dict[str, dict[str, Any]] = {part: {} for part in parts}
    known = {part: option_types(part) for part in parts}
    for text in options:
        key, has_value, value = text.partition("=")
        owner, has_owner, option = key.strip().rpartition(".")
        if not has_value:
            raise UserError(f"search.method_options has {text!r}; write option=value")
        owners = [owner] if has_owner else [part for part in parts if option in known[part]]
        if len(owners) > 1:
            raise UserError(f"option {option!r} belongs to {' and '.join(owners)}; write {owners[0]}.{option}=…")
        if not owners or owners[0] not in known or option not in known[owners[0]]:
            have = [f"{part}.{o}" if len(parts) > 1 else o for part in parts for o in known[part]]
            if not have:
                raise UserError(f"method {name} has no options, but search.method_options has {text!r}")
            raise unknown(f"option of method {name}", key.strip(), have)
        chosen[owners[0]][option] = _parse(value.strip(), known[owners[0]][option], f"{key.strip()} of method {name}")
    return compose(*(get(part)(**values) for part, values in chosen.items()))


def _parse(text: str, hint: Any, what: str) -> Any:
    alternatives = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for kind in alternatives:
        if typing.get_origin(kind) is Literal:
            if text in map(str, typing.get_args(kind)):
                return next(choice for choice in typing.get_args(kind) if str(choice) == text)
        elif kind is bool:
            if text.lower() in ("true", "false"):
                return text.lower() == "true"
        elif typing.get_origin(kind) is tuple:
            return tuple(_parse(item, typing.get_args(kind)[0], what) for item in text.split(","))
        elif kind is str:
            return text
        else:
            try:
                return kind(text)
            except ValueError:
                pass
    wanted = ", ".join(map(str, typing.get_args(hint))) or getattr(hint, "__name__", str(hint))
    raise UserError(f"{what} is {text!r}; it must be {wanted}")
