"""Reads the python version of a CIFAR batch without unpickling it.

The file is a pickle of one dict: labels as a list of integers, pixels as one uint8 array, file names. Unpickling can
run arbitrary code, so the opcodes are only *listed* (`pickletools.genops`), and the few that such a file needs are
interpreted here. Names of Python objects stay inert tokens and nothing is imported. Only three of them have a meaning:
the array, its dtype, and the text form in which Python 3 stores bytes at protocol 2.
"""

import pickletools
import struct
import warnings
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
_PUSH_AS_IS = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"}
_PUSH_BYTES = {"BINSTRING", "SHORT_BINSTRING"}  # Python 2 strings: genops decodes them as latin-1
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


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
    """Walk the opcodes with a stack and a memo, as the pickle protocol (2 and 3) prescribes."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def pop_to_mark() -> list[Any]:
        start = next((i for i in range(len(stack) - 1, -1, -1) if stack[i] is _MARK), None)
        if start is None:
            raise _Refused("a mark is missing")
        items = stack[start + 1 :]
        del stack[start:]
        return items

    for opcode, argument, _ in pickletools.genops(content):
        op = opcode.name
        if op in _PUSH_AS_IS or op in ("BINBYTES", "SHORT_BINBYTES"):
            stack.append(argument)
        elif op in _PUSH_BYTES:
            stack.append(_text(argument).encode("latin-1"))
        elif op in _CONSTANTS:
            stack.append(_CONSTANTS[op])
        elif op == "PROTO":
            if argument not in (2, 3):
                raise _Refused(f"pickle protocol {argument}")
        elif op == "MARK":
            stack.append(_MARK)
        elif op in ("BINPUT", "LONG_BINPUT"):
            memo[int(_number(argument))] = stack[-1]
        elif op in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(_number(argument))])
        elif op == "EMPTY_DICT":
            stack.append({})
        elif op == "EMPTY_LIST":
            stack.append([])
        elif op == "EMPTY_TUPLE":
            stack.append(())
        elif op in ("TUPLE1", "TUPLE2", "TUPLE3"):
            size = int(op[-1])
            items = tuple(stack[-size:])
            del stack[-size:]
            stack.append(items)
        elif op == "TUPLE":
            stack.append(tuple(pop_to_mark()))
        elif op == "APPEND":
            item = stack.pop()
            _expect(stack[-1], list).append(item)
        elif op == "APPENDS":
            items = pop_to_mark()
            _expect(stack[-1], list).extend(items)
        elif op == "SETITEM":
            item, key = stack.pop(), stack.pop()
            _expect(stack[-1], dict)[key] = item
        elif op == "SETITEMS":
            items = pop_to_mark()
            _expect(stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))
        elif op == "GLOBAL":
            if argument not in _NAMES:
                raise _Refused(f"it refers to {argument!r}")
            stack.append(_Name(_text(argument)))
        elif op == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_construct(_expect(function, _Name), _expect(arguments, tuple)))
        elif op == "BUILD":
            state = stack.pop()
            _set_state(stack[-1], _expect(state, tuple))
        elif op == "STOP":
            if len(stack) != 1:
                raise _Refused("it ends in the middle of a value")
            return stack[0]
        else:
            raise _Refused(f"opcode {op}")
    raise _Refused("it has no end")


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
