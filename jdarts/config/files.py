"""Configurations from files, command-line overrides and JSON; every mistake is reported in one line.

A configuration file is Python code with a module-level `config = Experiment(...)`. Reading it executes it: read only
files that you trust.
"""

import dataclasses
import difflib
import json
import math
import re
import traceback
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Union

from jdarts.config import Experiment, as_dict, user_files
from jdarts.config.ranges import described, field_hints, shown
from jdarts.config.section import given_as
from jdarts.errors import UserError, unknown


def load_config(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """The `Experiment` of a configuration file, with overrides applied.

    `path_or_name` is a `.py` file that defines `config` (it is executed), a `.json` file as found in run
    folders, or the bare name of a file in ./configs. `overrides` are options as typed: `["--search.epochs",
    "3", "--data.flip=false"]`; each takes one value, and `-` may stand for `_`. Raises `UserError`, one line, for any
    mistake in either.
    """
    path = find(path_or_name)
    config = _read_json(path) if path.suffix == ".json" else _execute(path)
    return override(config, overrides) if overrides else config


def override(config: Experiment, overrides: Sequence[str]) -> Experiment:
    """`config` with command-line options applied; all rules are checked once, after the last one."""
    return with_values(config, parse_overrides(overrides))


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """The values of command-line options by dotted name; if a field is set several times, the last value counts.

    Raises `UserError` for an unknown option or a value of the wrong type.
    """
    known = option_types()
    values = {}
    tokens = iter(overrides)
    for token in tokens:
        if not token.startswith("--"):
            raise UserError(f"unexpected {token!r}; an override is --section.field value")
        option, has_value, text = token.partition("=")
        name = option[2:].replace("-", "_")
        if name not in known:
            raise unknown_option(option, known)
        if not has_value:
            text = next(tokens, None)
            if text is None or text.startswith("--"):
                raise UserError(f"{option} needs a value: {_describe(known[name])}")
        values[name] = _parse(text, known[name], f"--{name}")
    return values


def with_values(config: Experiment, values: Mapping[str, Any]) -> Experiment:
    """`config` with other values in the fields that `values` names, e.g. `{"search.epochs": 3}`; all rules checked."""
    nested = as_dict(config)
    for name, value in values.items():
        *sections, field = name.split(".")
        inner = nested
        for section in sections:
            inner = inner[section]
        inner[field] = value
    return from_dict(nested)


def option_types() -> dict[str, Any]:
    """The overridable fields by dotted name, with their types."""
    return dict(_leaves(Experiment, ""))


def numbers_of(section: str) -> list[str]:
    """The dotted names of the real numbers in a section of the configuration, those of its optimisers included."""
    return [name for name, kind in option_types().items() if kind is float and name.startswith(f"{section}.")]


def unknown_option(option: str, known: typing.Iterable[str]) -> UserError:
    """A `UserError` for an option that does not exist, with up to three similar ones."""
    name, known = option.removeprefix("--").replace("-", "_"), list(known)
    inside = [f"--{other}" for other in known if other.startswith(f"{name}.")]
    if inside:
        return UserError(f"{option} is a section; override a field of it, e.g. {' or '.join(inside[:2])}")
    section, _, last = name.rpartition(".")
    same = [other for other in known if other.rpartition(".")[2] == last and other.startswith(section[:1])]
    near = same or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if not near:
        near = [other for other in known if difflib.get_close_matches(last, [other.rpartition(".")[2]], cutoff=0.75)]
    hint = f"; did you mean {' or '.join(f'--{other}' for other in near[:3])}?" if near else ""
    return UserError(f"unknown option {option}{hint} (--help lists all options)")


def describe_options(config: Experiment) -> str:
    """The options that override `config`: name, type, current value and documentation, as shown by --help."""
    import contextlib
    import io

    import tyro

    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        tyro.cli(
            Experiment,
            prog="",
            description="",
            args=["--help"],
            default=config,
            use_underscores=True,
            config=(tyro.conf.FlagConversionOff,),
        )
    lines = [line.rstrip() for line in text.getvalue().partition("\n\n")[2].splitlines()]
    plain = re.sub(r"^ *-h, --help\n.*\n", "", "\n".join(lines), count=1, flags=re.MULTILINE)
    return re.sub(r"^ +--([\w.]+) \S+$", _with_range, plain, flags=re.MULTILINE)


def _with_range(option: re.Match) -> str:
    """A line of tyro's help, with the declared range of the field."""
    section: Any = Experiment
    *sections, field = option[1].split(".")
    for name in sections:
        section = _hints(section)[name]
    limits = described(field_hints(section)[field])
    return f"{option[0]}   {limits}" if limits else option[0]


def to_json(config: Experiment) -> str:
    """The whole configuration as indented JSON; `from_json` returns an equal one."""
    return json.dumps(as_dict(config), indent=2, allow_nan=False) + "\n"


def from_json(text: str) -> Experiment:
    """The `Experiment` written by `to_json`; fields left out keep their defaults.

    Raises `UserError` for unknown fields (naming the nearest), wrong types and broken rules. Nothing is
    evaluated.
    """
    return from_dict(_parse_json(text))


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise UserError(f"not a JSON configuration: {error}") from None
    except RecursionError:
        raise UserError("not a JSON configuration: it is nested too deeply") from None


def from_dict(values: Any) -> Experiment:
    """The `Experiment` in nested dicts, or in an `Experiment` with unchecked types; like `from_json`."""
    return _typed(values, Experiment, "")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def find(path_or_name: str | Path) -> Path:
    """The configuration file of that path, or of that name in ./configs; raises `UserError` if there is none."""
    path = Path(path_or_name)
    named = Path("configs") / f"{path_or_name}.py"
    if user_files.is_file(path):
        found = path
    elif path.name == str(path_or_name) and not path.suffix and user_files.is_file(named):
        found = named
    elif user_files.is_file(Path(f"{path_or_name}.py")):
        raise UserError(
            f"no configuration {str(path)!r} in ./configs, but there is a file {path}.py; give its whole name"
        )
    else:
        present = sorted(str(file) for file in Path("configs").glob("*.py"))
        if not present:
            raise UserError(f"no configuration file {str(path)!r}, and ./configs holds none")
        stems = {Path(file).stem: file for file in present}
        near = difflib.get_close_matches(path.stem, stems, n=1, cutoff=0.5)
        hint = f"; did you mean {stems[near[0]]}?" if near else ""
        raise UserError(f"no configuration file {str(path)!r}{hint} ./configs has: {', '.join(present)}")
    if found.suffix not in (".py", ".json"):
        raise UserError(f"{found} is not a configuration; give a .py file that defines config = Experiment(...)")
    return found


def _read_json(path: Path) -> Experiment:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    try:
        return from_json(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _execute(path: Path) -> Experiment:
    try:
        module = user_files.execute(path)
    except SyntaxError as error:
        raise UserError(f"{error.filename or path}:{error.lineno}: {error.msg}") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit, GeneratorExit and the user's own classes
        raise _explain(error, path) from None
    if not hasattr(module, "config"):
        raise UserError(f"{path} defines no config; it needs a line config = Experiment(...)")
    config = module.config
    if not isinstance(config, Experiment):
        raise UserError(f"{path}: config is {_a(type(config).__name__)}; it must be an Experiment")
    try:
        return from_dict(config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _explain(error: BaseException, path: Path) -> UserError:
    """A `UserError` for an error inside a configuration file, with its line."""
    frames = list(traceback.walk_tb(error.__traceback__))
    lines = [line for frame, line in frames if frame.f_code.co_filename == str(path)]
    where = f"{path}:{lines[-1]}" if lines else str(path)
    if isinstance(error, UserError):
        return UserError(f"{where}: {error}")
    keyword = re.search(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if keyword:
        names = [
            value for frame, _ in frames if frame.f_code.co_filename == str(path) for value in frame.f_globals.values()
        ]
        candidates = [*_sections(Experiment), *names]
        for cls in candidates:
            if isinstance(cls, type) and dataclasses.is_dataclass(cls) and cls.__name__ == keyword[1]:
                return UserError(f"{where}: {unknown(f'field of {cls.__name__}', keyword[2], _hints(cls))}")
    for frame, _ in frames:  # a rule failed on a value of the wrong type
        owner = frame.f_locals.get("self") if frame.f_code.co_name == "__post_init__" else None
        if dataclasses.is_dataclass(owner) and not isinstance(owner, type):
            for field, hint in _hints(type(owner)).items():
                try:
                    if not dataclasses.is_dataclass(getattr(owner, field)):
                        _typed(getattr(owner, field), hint, f"{type(owner).__name__}.{field}")
                except UserError as wrong:
                    return UserError(f"{where}: {wrong}")
    return UserError(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}")


def _hints(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def _sections(cls: type) -> Iterator[type]:
    yield cls
    for hint in _hints(cls).values():
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from _sections(hint)


def _leaves(cls: type, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, hint in _hints(cls).items():
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from _leaves(hint, f"{prefix}{name}.")
        else:
            yield prefix + name, hint


def _alternatives(hint: Any) -> tuple:
    is_union = typing.get_origin(hint) in (Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def _typed(value: Any, hint: Any, where: str) -> Any:
    """`value` converted to the type `hint`, or a `UserError` that names `where`."""
    for alternative in _alternatives(hint):
        origin, arguments = typing.get_origin(alternative), typing.get_args(alternative)
        if dataclasses.is_dataclass(alternative) and isinstance(alternative, type):
            if isinstance(value, alternative):
                values = {name: getattr(value, name) for name in _hints(alternative)}
                return given_as(_section(values, alternative, where), value)
            if isinstance(value, dict):
                return _section(value, alternative, where)
        elif alternative in (None, type(None)):
            if value is None:
                return None
        elif origin is Literal:
            if any(value == choice and type(value) is type(choice) for choice in arguments):
                return value
        elif origin is tuple:
            if isinstance(value, (list, tuple)):
                inner = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
                if len(inner) == len(value):
                    pairs = enumerate(zip(value, inner, strict=True))
                    return tuple(_typed(item, kind, f"{where}[{index}]") for index, (item, kind) in pairs)
        elif alternative is float:
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
                return float(value)
        elif alternative in (int, str, bool):
            if type(value) is alternative:
                return value
        else:
            raise TypeError(f"{where}: configurations cannot hold {alternative!r}")
    what = where or "the configuration"
    found = _a(type(value).__name__) if dataclasses.is_dataclass(value) else shown(value)
    raise UserError(f"{what} is {found}; it must be {_describe(hint)}{_near_choice(value, hint)}")


def _section(values: dict, cls: type, where: str) -> Any:
    hints = _hints(cls)
    for name in values:
        if name not in hints:
            raise unknown(f"field of {where or 'the configuration'}", str(name), hints)
    prefix = f"{where}." if where else ""
    typed = {name: _typed(value, hints[name], prefix + name) for name, value in values.items()}
    try:
        return cls(**typed)
    except UserError as error:  # a section that is used twice has no name of its own
        known = str(error).startswith(where.partition(".")[0])
        raise error if known else UserError(f"{where}: {error}") from None


def _parse(text: str, hint: Any, where: str) -> Any:
    """The value that `text` spells for a field of type `hint`."""
    for alternative in _alternatives(hint):
        origin = typing.get_origin(alternative)
        if alternative in (None, type(None)):
            if text.lower() in ("none", "null"):
                return None
        elif alternative is bool:
            if text.lower() in ("true", "false"):
                return text.lower() == "true"
        elif alternative in (int, float):
            try:
                return _typed(alternative(text), alternative, where)
            except ValueError:
                pass
        elif origin is Literal:
            for choice in typing.get_args(alternative):
                if str(choice) == text:
                    return choice
        elif origin is tuple:
            kinds = typing.get_args(alternative)
            items = _items(text)
            inner = kinds[:1] * len(items) if kinds[1:] == (...,) else kinds
            if len(inner) == len(items):
                return tuple(_parse(item, kind, where) for item, kind in zip(items, inner, strict=True))
        elif alternative is str:
            return text
    raise UserError(f"{where} is {shown(text)}; it must be {_describe(hint)}{_near_choice(text, hint)}")


def _items(text: str) -> list[str]:
    """The items of a list; one without `=` continues the `option=value` before it: `a=1,2,b=3` is `a=1,2` and `b=3`."""
    items: list[str] = []
    for item in filter(None, map(str.strip, text.strip("()[]").split(","))):
        if items and "=" in items[-1] and "=" not in item:
            items[-1] += f",{item}"
        else:
            items.append(item)
    return items


def _near_choice(value: Any, hint: Any) -> str:
    choices = [str(choice) for part in _alternatives(hint) for choice in typing.get_args(part) if choice is not ...]
    near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _describe(hint: Any) -> str:
    names = {
        int: "a whole number",
        float: "a finite number",
        bool: "true or false",
        str: "text",
        type(None): "None",
    }
    parts = []
    for alternative in _alternatives(hint):
        arguments = typing.get_args(alternative)
        if alternative in names:
            parts.append(names[alternative])
        elif typing.get_origin(alternative) is Literal:
            parts.append("one of " + ", ".join(map(repr, arguments)))
        elif typing.get_origin(alternative) is tuple:
            count = "" if arguments[1:] == (...,) else f"{len(arguments)} "
            parts.append(f"{count}values separated by commas, each {_describe(arguments[0])}")
        else:
            parts.append(f"a section with the fields of {getattr(alternative, '__name__', alternative)}")
    return " or ".join(parts)


def _a(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
