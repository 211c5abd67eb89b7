"""The lock of a run folder: one process writes there at a time.

The kernel holds the lock (`flock`), so the lock ends whenever its owner ends. The file `.lock` also records host,
process and start time of the owner. If the file system does not support `flock`, or does not share it between hosts,
the record and a heartbeat (the modification time of the file) decide. Readers of a run folder need no lock.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jdarts.errors import FolderDeleted, FolderInUse

try:
    import fcntl
except ImportError:  # on systems without POSIX, the record decides
    fcntl = None

NAME = ".lock"
HEARTBEAT = 5.0
"""Seconds between two heartbeats."""
SILENCE = 16.0
"""Seconds without a heartbeat after which an owner on another host counts as gone."""
_TRIES, _PAUSE = 5, 0.1  # `refuse_if_locked` of another process holds the lock for a moment


class RunLock:
    """Holds the lock of the run folder `path` until `release` or the end of a `with` block.

    Raises `FolderInUse` with the owner's name if another process holds the lock. It waits only if there is a record of
    an owner on another host, at most `SILENCE` seconds; `tell` receives a line that says so.
    """

    def __init__(self, path: Path, tell: Callable[[str], None] = lambda text: None):
        self.path = path / NAME
        self._file, by_kernel = _open_locked(self.path)
        try:
            owner = _read(self._file)
            if owner and _is_alive(owner, self.path, tell, by_kernel=by_kernel):
                raise _in_use(self.path, owner)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps(_record()).encode(), 0)
        except BaseException:
            os.close(self._file)
            raise
        self._released = threading.Event()
        threading.Thread(target=self._beat, name="run lock", daemon=True).start()

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(self, *exception) -> None:
        self.release()

    def check(self) -> None:
        """Raise `FolderDeleted` if the folder has been deleted or replaced since the lock was taken."""
        if not _same_file(self._file, self.path):
            raise FolderDeleted(
                f"the run folder {self.path.parent} was deleted or replaced while the run was writing to it"
            )

    def release(self) -> None:
        """Release the lock and remove its file."""
        if self._released.is_set():
            return
        self._released.set()
        with contextlib.suppress(OSError):
            if _same_file(self._file, self.path):
                self.path.unlink()
        os.close(self._file)

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT):
            with contextlib.suppress(OSError):
                os.utime(self._file)


def refuse_if_locked(path: Path) -> None:
    """Raise the `UserError` of `RunLock` if a process on this host holds the lock of the folder; change nothing."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError), open(path / NAME, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(path / NAME, _read(file.fileno())) from None


def _open_locked(path: Path) -> tuple[int, bool]:
    """A descriptor of the lock file, and True if the kernel locked it (not every file system supports this)."""
    owner: dict[str, Any] = {}
    for _ in range(_TRIES):
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if fcntl is None:
                return file, False
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same_file(file, path):  # otherwise its owner removed it between `open` and `flock`
                return file, True
        except BlockingIOError:
            owner = _read(file)
        except OSError:
            return file, False
        os.close(file)
        time.sleep(_PAUSE)
    raise _in_use(path, owner)


def _is_alive(owner: dict[str, Any], path: Path, tell: Callable[[str], None], *, by_kernel: bool) -> bool:
    """True if the owner in a record still runs; called when the kernel's lock is free or not supported."""
    if owner.get("host") == socket.gethostname():
        return not by_kernel and owner.get("pid") != os.getpid() and _runs(owner.get("pid"))
    tell(
        f"run folder {path.parent} was in use by {_named(owner)}: waiting up to {SILENCE:.0f} s for a sign of its life"
    )
    before, until = _beaten(path), time.monotonic() + SILENCE
    while time.monotonic() < until:
        time.sleep(min(1.0, SILENCE / 4))
        if _beaten(path) != before:
            return True
    return False


def _beaten(path: Path) -> int:
    with open(path, "rb") as file:  # after `open`, a network file system reports the newest time
        return os.fstat(file.fileno()).st_mtime_ns


def _runs(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, TypeError, OverflowError):
        return False
    return True


def _same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except OSError:
        return False


def _record() -> dict[str, Any]:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": started}


def _read(file: int) -> dict[str, Any]:
    """The record of the owner; empty if it is missing or damaged."""
    try:
        found = json.loads(os.pread(file, 4096, 0))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _named(owner: dict[str, Any]) -> str:
    return f"process {owner.get('pid')} on {owner.get('host')}, started {owner.get('started')}"


def _in_use(path: Path, owner: dict[str, Any]) -> FolderInUse:
    who = _named(owner) if owner else "another process"
    return FolderInUse(
        f"run folder {path.parent} is in use by {who}; wait for it or end it, or choose another --run-dir"
    )
