"""Reads the python version of a CIFAR batch without unpickling it.

The file is a pickle of one dict: labels as a list of integers, pixels as one uint8 array, file names. Unpickling can
run arbitrary code, so the opcodes are only *listed* (`pickletools.genops`), and the few that such a file needs are
interpreted here. Names of Python objects stay inert tokens and nothing is imported. Only three of them have a meaning:
the array, its dtype, and the text form in which Python 3 stores bytes at protocol 2.
"""

import pickletools
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jdarts.errors import UserError


class _Refused(Exception):
    """The pickle holds something that a CIFAR batch does not need."""


@dataclass(frozen=True)
class _Name:
    """A name in the pickle, never looked up."""

    path: str


@dataclass
class _Dtype:
    code: str


@dataclass
class _Array:
    value: np.ndarray | None = None


_MARK = object()
_ARRAY_MAKERS = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_NAMES = {*_ARRAY_MAKERS, "numpy ndarray", "numpy dtype", "_codecs encode"}


def read_batch(content: bytes, where: str) -> dict[str, Any]:
    """The dict in a python-version CIFAR file, with str keys; `where` names the file in errors.

    Raises `UserError` for anything except dicts, lists, strings, integers and one plain uint8 array.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # genops warns about escapes in damaged text
            return _as_batch(_interpret(content))
    except (_Refused, ValueError, TypeError, IndexError, KeyError, AttributeError, struct.error) as error:
        raise UserError(
            f"{where} is not a plain CIFAR batch ({' '.join(str(error).split())[:120]}); "
            "it is not unpickled: use the binary version of the data set"
        ) from error


def _as_batch(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Refused("it holds no dict")
    batch = {}
    for key, item in value.items():
        name = key.decode("latin-1") if isinstance(key, bytes) else key
        batch[name] = item.value if isinstance(item, _Array) else item
    return batch


def _interpret(content: bytes) -> Any:
    """The value that a pickle of protocol 2 or 3 describes, found without executing anything in it."""
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "STOP":
            return machine.result()
        if opcode.name not in _OPCODES:
            raise _Refused(f"opcode {opcode.name}")
        _OPCODES[opcode.name](machine, argument)
    raise _Refused("it has no end")


class _Machine:
    """The stack and the memo of the pickle protocol. The methods execute one opcode each, given its argument."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        if len(self.stack) != 1:
            raise _Refused("it ends in the middle of a value")
        return self.stack[0]

    def pop_to_mark(self) -> list[Any]:
        start = next((i for i in range(len(self.stack) - 1, -1, -1) if self.stack[i] is _MARK), None)
        if start is None:
            raise _Refused("a mark is missing")
        items = self.stack[start + 1 :]
        del self.stack[start:]
        return items

    def check_protocol(self, version: Any) -> None:
        if version not in (2, 3):
            raise _Refused(f"pickle protocol {version}")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def push_bytes(self, text: Any) -> None:
        self.push(_text(text).encode("latin-1"))

    def push_name(self, path: Any) -> None:
        if path not in _NAMES:
            raise _Refused(f"it refers to {path!r}")
        self.push(_Name(_text(path)))

    def remember(self, place: Any) -> None:
        self.memo[_number(place)] = self.stack[-1]

    def recall(self, place: Any) -> None:
        self.push(self.memo[_number(place)])

    def make_tuple(self, size: int) -> None:
        items = tuple(self.stack[-size:])
        del self.stack[-size:]
        self.push(items)

    def append(self, _: Any) -> None:
        item = self.stack.pop()
        _expect(self.stack[-1], list).append(item)

    def extend(self, _: Any) -> None:
        items = self.pop_to_mark()
        _expect(self.stack[-1], list).extend(items)

    def set_item(self, _: Any) -> None:
        item, key = self.stack.pop(), self.stack.pop()
        _expect(self.stack[-1], dict)[key] = item

    def set_items(self, _: Any) -> None:
        items = self.pop_to_mark()
        _expect(self.stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))

    def call(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.push(_construct(_expect(function, _Name), _expect(arguments, tuple)))

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        _set_state(self.stack[-1], _expect(state, tuple))


_OPCODES: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.check_protocol,
    "MARK": lambda machine, _: machine.push(_MARK),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"), _Machine.push),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES"), _Machine.push),
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), _Machine.push_bytes),  # Python 2; genops decodes them as latin-1
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.recall),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.make_tuple(1),
    "TUPLE2": lambda machine, _: machine.make_tuple(2),
    "TUPLE3": lambda machine, _: machine.make_tuple(3),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.push_name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise _Refused(f"{type(value).__name__} where {kind.__name__.strip('_')} belongs")
    return value


def _text(value: Any) -> str:
    return _expect(value, str)


def _number(value: Any) -> int:
    return _expect(value, int)


def _string(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else _text(value)


def _construct(function: _Name, arguments: tuple) -> Any:
    """The value of a call in the pickle: an empty array, a dtype, or bytes written as text."""
    if function.path in _ARRAY_MAKERS:
        if len(arguments) != 3 or arguments[0] != _Name("numpy ndarray"):
            raise _Refused("an unusual array")
        return _Array()
    if function.path == "numpy dtype":
        return _Dtype(_string(arguments[0]))
    if function.path == "_codecs encode" and len(arguments) == 2 and arguments[1] == "latin1":
        return _text(arguments[0]).encode("latin-1")
    raise _Refused(f"a call of {function.path!r}")


def _set_state(target: Any, state: tuple) -> None:
    """Fill an array made by `_construct` from (version, shape, dtype, fortran order, raw bytes)."""
    if isinstance(target, _Dtype):
        return  # byte order and alignment: nothing that matters for single bytes
    _expect(target, _Array)
    _, shape, dtype, fortran, raw = state
    if _expect(dtype, _Dtype).code not in ("u1", "|u1", "uint8"):
        raise _Refused(f"an array of {dtype.code!r}")
    if any(_number(side) < 0 for side in _expect(shape, tuple)):
        raise _Refused(f"an array of shape {shape}")
    flat = np.frombuffer(_expect(raw, bytes), np.uint8)
    target.value = flat.reshape(shape, order="F" if fortran else "C")
