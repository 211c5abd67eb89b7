"""Methods by name, with options: `build("darts_minus", ("decay=cosine",))`, `build("pc_darts+darts_minus")`.

A method is registered by decorating the function that makes it; its keyword-only arguments, all with defaults, are its
options, typed by their annotations. Importing the file that holds it registers it:

    @register
    def my_method(*, strength: Annotated[float, Range(0, below=1)] = 0.5) -> Method: ...

If the default of an argument is a dataclass, its fields are options in place of the argument.
Every call of a registered method checks the ranges of its options (`jdarts.config.ranges`).
"""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal

from jdarts import hypergrad, spaces
from jdarts.config import Experiment, SearchConfig
from jdarts.config.options import OnlyIn, condition_words, conditions, parse, refuse_unused, split
from jdarts.config.ranges import check, described
from jdarts.config.user_files import source_file
from jdarts.errors import UserError, unknown
from jdarts.methods.method import Method, compose
from jdarts.methods.published import as_text

Factory = Callable[..., Method]
_METHODS: dict[str, Factory] = {}


def register(factory: Factory) -> Factory:
    """Make `factory` available to configurations under its function's name; the result checks its options' ranges.

    A file that is executed again replaces its own methods. Raises `UserError` if another file has that name.
    """
    name = factory.__name__
    signature = inspect.signature(factory)
    groups: dict[str, Any] = {
        p.name: p.default for p in signature.parameters.values() if dataclasses.is_dataclass(p.default)
    }
    options = [option for p in signature.parameters.values() for option in _options(p)]
    if name in _METHODS and source_file(_METHODS[name]) != source_file(factory):
        raise UserError(
            f"a method named {name!r} is already registered, by {source_file(_METHODS[name])}; rename the one in "
            f"{source_file(factory)}"
        )
    for option in options:
        if option.kind is not option.KEYWORD_ONLY or option.default is option.empty:
            raise UserError(f"option {option.name} of method {name} must be keyword-only and have a default")

    @functools.wraps(factory)
    def checked(**values: Any) -> Method:
        hints = typing.get_type_hints(checked, include_extras=True)
        for option, value in values.items():
            check(f"{option} of method {name}", value, hints.get(option, Any))
        for argument, group in groups.items():
            own = {f.name: values.pop(f.name) for f in dataclasses.fields(group) if f.name in values}
            values[argument] = dataclasses.replace(group, **own)
        return factory(**values)

    made: Any = checked
    made.__signature__ = signature.replace(parameters=options)
    made.__annotations__ = {o.name: o.annotation for o in options if o.annotation is not o.empty}
    _METHODS[name] = checked
    return checked


def _options(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """The options that an argument of a method stands for: itself, or the fields of a dataclass."""
    group = parameter.default
    if not dataclasses.is_dataclass(group):
        return [parameter]
    hints = typing.get_type_hints(type(group), include_extras=True)
    return [
        parameter.replace(name=f.name, default=getattr(group, f.name), annotation=hints[f.name])
        for f in dataclasses.fields(group)
    ]


def names() -> tuple[str, ...]:
    """The names of all registered methods."""
    return tuple(_METHODS)


def get(name: str) -> Factory:
    """The registered factory of that name; raises `UserError` naming the nearest one if there is none."""
    if name not in _METHODS:
        raise unknown("method", name, _METHODS, page="jdarts methods")
    return _METHODS[name]


def unknown_parts(name: str) -> list[str]:
    """The parts of a composed method that are not registered."""
    return [part.strip() for part in name.split("+") if part.strip() not in _METHODS]


def option_types(name: str) -> dict[str, Any]:
    """The options of a method with their types."""
    hints = typing.get_type_hints(get(name))
    return {option: hints.get(option, str) for option in inspect.signature(get(name)).parameters}


def option_ranges(name: str) -> dict[str, str]:
    """The options of a method with their ranges in words; empty where the type has no range."""
    return {option: described(hint) for option, hint in _annotations(name).items()}


def option_defaults(name: str) -> dict[str, Any]:
    """The options of a method with their defaults."""
    return {option: p.default for option, p in inspect.signature(get(name)).parameters.items()}


def describe(name: str) -> str:
    """A method's summary, paper, options with type, default and range, and published settings, for people."""
    method, ranges, defaults, hints = get(name)(), option_ranges(name), option_defaults(name), _annotations(name)
    lines = [f"{name}: {method.summary}", method.paper, *(["options:"] if defaults else ["no options"])]
    for option, hint in option_types(name).items():
        limits = "".join(f"; {words}" for words in (ranges[option], condition_words(hints[option])) if words)
        lines.append(f"  {option}={_text(defaults[option])}   {_type_words(hint)}{limits}")
    for entry in method.published:
        place = {"darts_cnn": "DARTS cells", "nasbench201": "NAS-Bench-201"}.get(entry.kind, entry.kind)
        options = {"search.method_options": entry.options} if entry.options else {}
        lines += [
            f"published settings for {place}, applied by --method {name}: {entry.result}",
            f"  {as_text({**entry.settings, **options})}",
        ]
    return "\n".join(lines)


def _text(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _type_words(hint: Any) -> str:
    """The type of an option in words."""
    if typing.get_origin(hint) is Literal:
        return " | ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        return f"{_type_words(typing.get_args(hint)[0])}, several separated by commas"
    words = {int: "whole number", float: "number", bool: "true | false", str: "text"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))


def build(name: str, options: Sequence[str | tuple[str, Any]] = ()) -> Method:
    """The method that a configuration names; `a+b` composes. `options` are texts like `beta=0.5`, or
    `darts_minus.beta=0.5` if two composed methods share an option's name; the last of two texts for one option counts.
    A pair `("beta", value)` passes a value unchanged, such as the traced array of a sweep.

    Raises `UserError` for unknown names and options, for values of the wrong type, and for methods that clash.
    """
    parts = [part.strip() for part in name.split("+")]
    chosen: dict[str, dict[str, Any]] = {part: {} for part in parts}
    known = {part: option_types(part) for part in parts}
    for given in options:
        key, value = split(given, "search.method_options") if isinstance(given, str) else given
        part, option = _owner(key, known)
        if isinstance(given, str):
            value = parse(value, known[part][option], f"{key} of method {name}")
        chosen[part][option] = value
    for part, values in chosen.items():
        refuse_unused(values, option_defaults(part), _annotations(part), f"method {part}")
    return compose(*(get(part)(**values) for part, values in chosen.items()))


def with_known_method(config: Experiment) -> Experiment:
    """`config` itself.

    Raises `UserError` unless its method and hypergradient are known and accept their options, and for options of the
    method that have no effect in its space.
    """
    configured(config.search)
    check_space_of_options(config.search, config.space.name)
    hypergrad.check_named(config.search)
    return config


def check_space_of_options(settings: SearchConfig, space: str) -> None:
    """Raise `UserError` for an option that the settings of a search give and that has no effect in the space."""
    known = {part.strip(): option_types(part.strip()) for part in settings.method.split("+")}
    for text in settings.method_options:
        part, option = _owner(split(text, "search.method_options")[0], known)
        for condition in conditions(_annotations(part)[option]):
            if isinstance(condition, OnlyIn) and spaces.kind(space) not in condition.spaces:
                raise UserError(
                    f"option {option} of method {part} has no effect in space {space}; it is for "
                    f"{' and '.join(condition.spaces)}: leave it out"
                )


def _annotations(name: str) -> dict[str, Any]:
    """The options of a method with their annotations, ranges and conditions included."""
    hints = typing.get_type_hints(get(name), include_extras=True)
    return {option: hints.get(option, str) for option in option_types(name)}


def configured(settings: SearchConfig) -> Method:
    """The method that the settings of a search name, with their options; raises what `build` raises."""
    return build(settings.method, settings.method_options)


def float_options(name: str) -> list[str]:
    """The options of a method, or of several composed, that are real numbers, by the names that `build` accepts."""
    known = {part.strip(): option_types(part.strip()) for part in name.split("+")}
    every = [(part, option, kind) for part, options in known.items() for option, kind in options.items()]
    shared = {option for part, option, _ in every for other, again, _ in every if part != other and option == again}
    return [f"{part}.{option}" if option in shared else option for part, option, kind in every if kind is float]


def _owner(key: str, known: dict[str, dict[str, Any]]) -> tuple[str, str]:
    """The method in `known` that the option `key` belongs to, and its name there."""
    owner, has_owner, option = key.rpartition(".")
    owners = [owner] if has_owner else [part for part in known if option in known[part]]
    if len(owners) > 1:
        raise UserError(f"option {option!r} belongs to {' and '.join(owners)}; write {owners[0]}.{option}=…")
    if not owners or owners[0] not in known or option not in known[owners[0]]:
        have = [f"{part}.{o}" if len(known) > 1 else o for part in known for o in known[part]]
        if not have:
            raise UserError(f"method {'+'.join(known)} has no options, but search.method_options has {key!r}")
        raise unknown(f"option of method {'+'.join(known)}", key, have, page=f"jdarts methods {next(iter(known))}")
    return owners[0], option
