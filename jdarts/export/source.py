"""A trained network as a Flax module in readable source: one file, which imports jax, flax and numpy only.

The classes of the layers are those of `jdarts.export.layers`, copied as they stand; the cells, or the layers of a
mobile network, are written for the architecture at hand.
"""

import ast
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType

_MARGIN = 118


@dataclass(frozen=True)
class Written:
    """The part of the source that depends on the architecture.

    Attributes:
      title: one line.
      notation: the architecture as text.
      layers: the module whose definitions `code` uses.
      constants: of `layers`, with the values of this network.
      code: classes, the last one called `Network`.
      usage: a program of some lines, for the docstring.
      helpers: functions behind the classes, and what they need.
    """

    title: str
    notation: str
    layers: ModuleType
    constants: dict[str, object]
    code: str
    usage: str
    helpers: str


def source(written: Written) -> str:
    """The file's text."""
    body = "\n\n\n".join([*_definitions(written.layers, written.code), written.code.strip()])
    text = f"{body}\n{written.helpers}"
    used = names_in(text)
    constants = "".join(f"{name} = {value!r}\n" for name, value in written.constants.items() if name in used)
    return f"{_docstring(written)}\n{_imports(used)}\n\n{constants}\n\n{body}\n\n\n{written.helpers.strip()}\n"


def names_in(text: str) -> set[str]:
    """The names that a program reads."""
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


def call(name: str, /, *arguments: object, **named: object) -> str:
    """The text of a call; arguments are Python values, `Raw` ones stay as they are."""
    words = [_text(value) for value in arguments] + [f"{key}={_text(value)}" for key, value in named.items()]
    return f"{name}({', '.join(words)})"


class Raw(str):
    """A piece of code."""

    __slots__ = ()


def statement(target: str, terms: Sequence[str], indent: int = 8) -> list[str]:
    """The lines of `target = term + term + …`."""
    pad, line = " " * indent, f"{target} = {' + '.join(terms)}"
    if len(line) + indent <= _MARGIN:
        return [pad + line]
    inner = [f"{pad}    {'+ ' if i else ''}{term}" for i, term in enumerate(terms)]
    return [f"{pad}{target} = (", *inner, f"{pad})"]


def _text(value: object) -> str:
    if isinstance(value, Raw):
        return value
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _definitions(layers: ModuleType, code: str) -> Iterable[str]:
    """The source of the functions and classes of `layers` that `code` needs, in the order of that file."""
    known = {name: inspect.getsource(value) for name, value in vars(layers).items() if _defined_in(layers, value)}
    needed: set[str] = set()
    waiting = names_in(code) & set(known)
    while waiting:
        needed |= waiting
        waiting = {name for each in waiting for name in names_in(known[each]) & set(known)} - needed
    return [text.strip() for name, text in known.items() if name in needed]


def _defined_in(layers: ModuleType, value: object) -> bool:
    return getattr(value, "__module__", None) == layers.__name__ and (
        inspect.isclass(value) or inspect.isfunction(value)
    )


def _docstring(written: Written) -> str:
    usage = "\n".join(f"    {line}" for line in written.usage.strip().splitlines())
    lines = [
        written.title,
        "",
        *_folded(written.notation),
        "",
        "The folder of this file and of its weights:",
        "",
        usage,
    ]
    return '"""' + "\n".join(lines) + '\n"""\n'


def _folded(text: str) -> list[str]:
    """`text` in lines that fit, broken between words."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > _MARGIN and lines[-1]:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def _imports(used: set[str]) -> str:
    standard = ["from collections.abc import Callable"] if "Callable" in used else []
    standard += ["from functools import reduce"] if "reduce" in used else []
    standard += ["from pathlib import Path"]
    others = ["import jax"] if "jax" in used else []
    others += ["import jax.numpy as jnp"] if "jnp" in used else []
    others += ["import numpy as np"] + (["from flax import linen as nn"] if "nn" in used else [])
    return "\n".join([*standard, "", *others])
