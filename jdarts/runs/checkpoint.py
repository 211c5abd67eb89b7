"""Checkpoints of a whole pytree that are restored bit for bit, or not at all.

Orbax provides atomic step folders, saving in the background, retention, and support for several hosts. This module adds
three things. All leaves that one host holds completely are stored as *one* byte array, because orbax takes seconds for
thousands of small arrays; orbax stores leaves that are sharded over devices. A checksum of the bytes is stored, because
orbax does not detect a flipped bit. Shapes and dtypes are compared before anything is loaded, because orbax casts
silently.
"""

import contextlib
import errno
import gc
import io
import json
import logging
import math
import os
import re
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jdarts.errors import CannotWrite, FolderDeleted, UserError


@dataclass(frozen=True)
class Restored:
    """A checkpoint as it was read: step, state, and the JSON data saved with them."""

    step: int
    state: Any
    meta: dict


class Checkpoints:
    """The newest `keep` checkpoints of one run, in one directory; use it in a `with` statement.

    Saves run in the background; the end of the `with` block, or `wait`, completes them. If a process is killed during a
    save, the earlier checkpoints stay intact. `warn` receives one line for each unreadable checkpoint that
    `restore_latest` skips; the default is a Python warning. With `read_only` nothing is changed, so another process may
    write at the same time.

    Example::

        with Checkpoints(run / "checkpoints") as checkpoints:
            found = checkpoints.restore_latest(like=state)
            state = found.state if found else state
            checkpoints.save(int(state.step), state, {"epoch": 3})
    """

    def __init__(
        self,
        directory: str | Path,
        keep: int = 3,
        warn: Callable[[str], None] | None = None,
        *,
        read_only: bool = False,
    ):
        self.directory = Path(directory).absolute()
        self._warn = warn if warn is not None else lambda text: warnings.warn(text, stacklevel=3)
        self._unreadable: set[int] = set()
        self._last_saved: tuple[int, int] | None = None
        try:
            if read_only:
                options = ocp.CheckpointManagerOptions(read_only=True)
            else:
                self.directory.mkdir(parents=True, exist_ok=True)
                options = ocp.CheckpointManagerOptions(
                    max_to_keep=keep, cleanup_tmp_directories=True, enable_async_checkpointing=True
                )
            with _silence():  # orbax would print errors about damaged metadata, which `restore_latest` reports
                self._manager: Any = ocp.CheckpointManager(self.directory, options=options)
        except OSError as error:
            raise UserError(f"cannot keep checkpoints in {self.directory}: {error}") from None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, error: BaseException | None, trace) -> None:
        try:
            self.close()
        except CannotWrite:
            if not isinstance(error, CannotWrite):  # otherwise the same failure would be reported twice
                raise

    def steps(self) -> list[int]:
        """The saved steps, oldest first, including unreadable checkpoints."""
        return sorted(self._manager.all_steps())

    def wait(self) -> None:
        """Wait until every save is complete on disk; raise any error of the saves in the background.

        The error is `CannotWrite` if the disk is full or read-only, or if the folder is gone.
        """
        with self._writing():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Complete the pending save and stop the background threads."""
        try:
            self.wait()
        finally:
            with self._writing():
                self._manager.close()

    def save(self, step: int, state: Any, meta: dict | None = None) -> None:
        """Save `state` (a pytree of arrays and PRNG keys) and `meta` (JSON data) as checkpoint `step`.

        The values are copied before this returns, so the caller may donate `state` to the next step. A second save of
        the newest step does nothing. Raises `CannotWrite` if this save or the one before failed on disk, and
        `ValueError` if the directory holds newer readable checkpoints; restore them, or use another directory.
        """
        if not self.directory.is_dir():  # orbax would create the folder again, without the rest of the run
            raise FolderDeleted(f"the folder {self.directory} was deleted")
        with self._writing():
            self._save(step, state, meta)

    def _save(self, step: int, state: Any, meta: dict | None) -> None:
        leaves, whole, sharded = _pack(state)
        checksum = zlib.crc32(whole.data)
        if self._last_saved == (step, checksum) and not sharded:
            return
        for bad in self._unreadable.intersection(self.steps()):
            self._manager.delete(bad)
        self._unreadable.clear()
        newer = [saved for saved in self.steps() if saved > step]
        if newer:
            raise ValueError(f"{self.directory} holds step {newer[-1]}, newer than step {step}; restore it first")
        if step in self.steps():
            self.wait()
            self._manager.delete(step)
        header = {
            "leaves": leaves,
            "sharded": sorted(map(int, sharded)),
            "crc32": checksum,
            "meta": meta or {},
        }
        header["seal"] = _seal(header)
        items = {
            "state": ocp.args.StandardSave({"whole": whole, "sharded": sharded}),
            "meta": ocp.args.JsonSave(header),
        }
        self._manager.save(step, args=ocp.args.Composite(**items), force=True)
        self._last_saved = (step, checksum)

    def restore_latest(self, like: Any, *, up_to: int | None = None) -> Restored | None:
        """The newest checkpoint that can be read, in the structure and layout of `like`; None if nothing was saved.

        With `up_to`, checkpoints of later steps are ignored. `like` holds arrays or `jax.ShapeDtypeStruct`s. A
        truncated or corrupt checkpoint is skipped with a warning. Raises `UserError` if there are checkpoints but none
        can be read, or if leaves differ from those of `like`.
        """
        unreadable = 0
        for step in reversed(self.steps()):
            if up_to is not None and step > up_to:
                continue
            header, reason = _attempt(lambda step=step: self._header(step))
            if header is not None:
                stored = [(str(name), tuple(shape), str(dtype)) for name, shape, dtype in header["leaves"]]
                _compare(stored, like, where=str(self.directory / str(step)))
                read, reason = _attempt(lambda step=step, header=header: self._read(step, header, like))
                if read is not None:  # later errors are not caused by the file
                    self._last_saved = (step, header["crc32"])
                    return Restored(step, _assemble(read, header["sharded"], like), header["meta"])
            unreadable += 1
            self._unreadable.add(step)
            self._warn(f"skipping an unreadable checkpoint in {self.directory}, step {step}: {reason}")
        if unreadable:
            raise UserError(
                f"none of the checkpoints in {self.directory} ({unreadable}) can be read; put back a copy of the "
                "folder, or start the run over (--overwrite keeps the old folder)"
            )
        return None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            number = _errno(error)
            if number is None and isinstance(error, ValueError):
                raise
            kind, reason = (FolderDeleted if number == errno.ENOENT else CannotWrite), str(error)
            if number is not None:
                reason = os.strerror(number)
            raise kind(f"cannot save a checkpoint in {self.directory}: {reason}") from error

    def _header(self, step: int) -> dict:
        header = self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta
        if header.pop("seal", None) != _seal(header):
            raise ValueError("the checksum of its description does not match, so the file was damaged")
        return header

    def _read(self, step: int, header: dict, like: Any) -> dict:
        """The values that `save` stored, checked."""
        wanted, sharded = jax.tree.leaves(like), set(header["sharded"])
        size = sum(_bytes(leaf) for index, leaf in enumerate(wanted) if index not in sharded)
        target = {
            "whole": np.zeros(max(size, 1), np.uint8),
            "sharded": {str(index): _sharded_target(wanted[index]) for index in sorted(sharded)},
        }
        composite = ocp.args.Composite(state=ocp.args.StandardRestore(target))
        read = self._manager.restore(step, args=composite).state
        if zlib.crc32(read["whole"].data) != header["crc32"]:
            raise ValueError("the checksum does not match, so the file was damaged")
        return read


def _seal(header: dict) -> int:
    """A checksum of the description; it is the same before and after a round trip through JSON."""
    plain = json.loads(json.dumps(header))
    return zlib.crc32(json.dumps(plain, sort_keys=True).encode())


def _errno(error: OSError | ValueError) -> int | None:
    """The system's error number of a failed write; None if the error has none.

    TensorStore raises `ValueError` with the number in the text. TensorStore and orbax omit it if a folder is gone.
    """
    if isinstance(error, OSError):
        return error.errno
    if code := re.search(r"\[os_error_code='(\d+)'\]", str(error)):
        return int(code[1])
    gone = re.search(r"^NOT_FOUND\b|\bdoes not exist\b", str(error))
    return errno.ENOENT if gone else None


def _assemble(read: dict, sharded: list[int], like: Any) -> Any:
    """The pytree `like` with the values of `read`."""
    leaves, structure = jax.tree.flatten(like)
    values, offset = [], 0
    for index, leaf in enumerate(leaves):
        if index in sharded:
            values.append(read["sharded"][str(index)])
        else:
            end = offset + _bytes(leaf)
            values.append(_unpack(read["whole"][offset:end], leaf))
            offset = end
    return jax.tree.unflatten(structure, values)


def _attempt(read: Callable[[], dict]) -> tuple[dict | None, str]:
    """`(result of read, "")`, or `(None, the reason in one short line)`; nothing is printed."""
    with _silence():
        try:
            return read(), ""
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
        gc.collect()  # abandoned coroutines warn when they are collected, so they are collected here, silently
    return None, f"{reason[:160]}…" if len(reason) > 160 else reason


def _pack(state: Any) -> tuple[list, np.ndarray, dict]:
    """`(descriptions of the leaves, bytes of the leaves that are not sharded, sharded leaves by index)`."""
    leaves, parts, sharded = [], [], {}
    for index, (path, leaf) in enumerate(jax.tree_util.tree_flatten_with_path(state)[0]):
        name = _name(path)
        if not isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
            raise TypeError(f"state leaf {name} is a {type(leaf).__name__}; a state holds arrays only")
        leaves.append((name, list(leaf.shape), str(leaf.dtype)))
        if _is_sharded(leaf):
            sharded[str(index)] = leaf
        else:
            array = np.asarray(_key_bits(leaf) if _is_key(leaf) else leaf)
            parts.append(np.frombuffer(array.tobytes(), np.uint8))
    whole = np.concatenate(parts) if sum(part.size for part in parts) else np.zeros(1, np.uint8)
    return leaves, whole, sharded


def _unpack(data: np.ndarray, like: Any) -> Any:
    """The leaf stored in `data`, of the kind, shape, dtype and sharding of `like`."""
    if _is_key(like):
        shape, dtype = _key_data(like).shape, np.dtype(np.uint32)
    else:
        shape, dtype = like.shape, np.dtype(like.dtype)
    array = np.frombuffer(data.tobytes(), dtype).reshape(shape)
    if isinstance(like, (np.ndarray, np.generic)):
        return array.copy() if isinstance(like, np.ndarray) else array[()]
    sharding = _sharding(like)
    if isinstance(like, jax.Array) and not like.committed:
        sharding = None  # an uncommitted array stays uncommitted
    if _is_key(like) and sharding is not None and not sharding.is_fully_addressable:
        bits = jax.make_array_from_callback(shape, sharding, lambda index: array[index])
        return jax.random.wrap_key_data(bits, impl=_key_impl(like))
    if _is_key(like):
        value = jax.random.wrap_key_data(jax.device_put(array, may_alias=False), impl=_key_impl(like))
        return value if sharding is None else jax.device_put(value, sharding)
    if sharding is None:
        value = jax.device_put(array, may_alias=False)
    elif sharding.is_fully_addressable:
        value = jax.device_put(array, sharding, may_alias=False)
    else:
        value = jax.make_array_from_callback(shape, sharding, lambda index: array[index])
    if value.dtype != dtype:
        raise UserError(f"the checkpoint holds {dtype} arrays; switch jax_enable_x64 on to restore them")
    return value


def _compare(stored: list[tuple[str, tuple, str]], like: Any, where: str) -> None:
    """Raise `UserError` that names the first leaf in which a checkpoint and `like` differ."""
    named = jax.tree_util.tree_flatten_with_path(like)[0]
    wanted = [(_name(path), tuple(leaf.shape), str(leaf.dtype)) for path, leaf in named]
    if stored == wanted:
        return
    stored_names, wanted_names = {leaf[0]: leaf for leaf in stored}, {leaf[0]: leaf for leaf in wanted}
    remedy = "resume with the configuration and version that wrote it, or start a new run"
    for name, shape, dtype in wanted:
        if name not in stored_names:
            raise UserError(f"checkpoint {where} lacks {name} ({dtype}{list(shape)}); {remedy}")
        _, stored_shape, stored_dtype = stored_names[name]
        if (stored_shape, stored_dtype) != (shape, dtype):
            raise UserError(
                f"checkpoint {where} does not fit: {name} is stored as {stored_dtype}{list(stored_shape)}, "
                f"wanted {dtype}{list(shape)}; {remedy}"
            )
    for name in stored_names:
        if name not in wanted_names:
            raise UserError(f"checkpoint {where} holds {name}, which this state does not have; {remedy}")
    raise UserError(f"checkpoint {where} holds its leaves in another order; {remedy}")


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".") or "(root)"


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _key_bits(key: Any) -> jax.Array:
    return jax.random.key_data(key)


def _key_data(like: Any) -> jax.ShapeDtypeStruct:
    return jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(like.shape, like.dtype))


def _key_impl(like: Any) -> Any:
    found = []  # `key_impl` needs a key; inside a trace, the shape of a key becomes one
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), jax.ShapeDtypeStruct(like.shape, like.dtype))
    return found[0]


def _sharding(leaf: Any) -> jax.sharding.Sharding | None:
    """The sharding of the leaf; None if it does not name real devices."""
    sharding = getattr(leaf, "sharding", None)
    return None if isinstance(getattr(sharding, "mesh", None), jax.sharding.AbstractMesh) else sharding


def _is_sharded(leaf: Any) -> bool:
    """True if no single device holds the whole leaf."""
    sharding = _sharding(leaf)
    return sharding is not None and not sharding.is_fully_replicated


def _sharded_target(like: Any) -> Any:
    if isinstance(like, np.ndarray):
        return like
    sharding = _sharding(like) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(like.shape, like.dtype, sharding=sharding)


def _bytes(leaf: Any) -> int:
    described = _key_data(leaf) if _is_key(leaf) else leaf
    return math.prod(described.shape) * np.dtype(described.dtype).itemsize


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Suppress the output of orbax and asyncio about a damaged file; the caller reports it in one line."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: None
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        sys.unraisablehook = hook


def _not_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


logging.getLogger("absl").addFilter(_not_orbax)  # orbax also raises the errors that it logs
