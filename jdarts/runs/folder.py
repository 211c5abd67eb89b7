"""The folder of one run: configuration, records and results, written so that a crash leaves no half-written file.

In a run of several processes, all processes see the folder and only the first one writes.

The files are strict JSON, which has no NaN and no infinities; these are written as null. All other floats are written
with enough digits to read back the same bits.
"""

import contextlib
import errno
import json
import math
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jdarts.config import Experiment
from jdarts.config.files import to_json
from jdarts.devices import processes
from jdarts.errors import CannotWrite, FolderDeleted, UserError
from jdarts.runs.lock import RunLock

CONFIG = "config.json"


class RunFolder:
    """A run folder on disk. `jdarts.runs.opening.hold` returns one with a lock; `create` and `open`, one without.

    A failed write raises `CannotWrite`. With a `lock`, a write raises `FolderDeleted` if the folder was deleted or
    replaced. `written` lists the files that this object and its subfolders have written.
    """

    def __init__(self, path: str | Path, lock: RunLock | None = None):
        self.path = Path(path)
        self.written: set[Path] = set()
        self._lock = lock

    @classmethod
    def create(cls, path: str | Path, config: Experiment) -> "RunFolder":
        """Make the folder of a new run and store `config` in it; `UserError` if the folder exists already."""
        processes.first_does(lambda: cls._create(Path(path), config))
        return cls(path)

    @staticmethod
    def _create(path: Path, config: Experiment) -> None:
        check_folder(path, config, resume=False)
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_config(path, config)
        except OSError as error:
            raise UserError(f"cannot make the run folder {path}: {error.strerror or error}") from None

    @classmethod
    def open(cls, path: str | Path, config: Experiment) -> "RunFolder":
        """The folder of an earlier run, to continue it; `UserError` unless it has the same `config`."""
        processes.first_does(lambda: check_folder(Path(path), config, resume=True))
        return cls(path)

    @property
    def checkpoints_dir(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def subfolder(self, name: str) -> "RunFolder":
        """A folder inside this one, with its own records, results and checkpoints; it is made if needed."""
        if processes.is_first():
            with self._writing(self.path / name):
                (self.path / name).mkdir(exist_ok=True)
        inner = RunFolder(self.path / name, self._lock)
        inner.written = self.written
        return inner

    def check_present(self) -> None:
        """Raise `FolderDeleted` if this process has locked the folder and it was deleted or replaced."""
        if self._lock is not None:
            self._lock.check()

    def append(self, name: str, record: dict[str, Any]) -> None:
        """Add one line to NAME.jsonl, replacing an unfinished last line; the line is on disk when this returns."""
        if not processes.is_first():
            return
        line, path = _dumps(record).encode() + b"\n", self.path / f"{name}.jsonl"
        with self._writing(path), open(path, "ab+") as file:
            size = file.seek(0, os.SEEK_END)
            if size and (file.seek(size - 1), file.read(1))[1] != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def records(self, name: str) -> list[dict[str, Any]]:
        """The records of NAME.jsonl without an unfinished last line; empty if the file does not exist."""
        return [record for _, record in self._lines(name)]

    def truncate(self, name: str, *, after_step: int) -> None:
        """Remove the records of NAME.jsonl whose "step" is above `after_step`, and an unfinished last line.

        A run that resumes from the checkpoint of a step then continues the file as if it had never stopped. Records
        without a "step" stay.
        """
        path = self.path / f"{name}.jsonl"
        if not path.exists():
            return
        kept = [line for line, record in self._lines(name) if record.get("step", after_step) <= after_step]
        content = b"".join(line + b"\n" for line in kept)
        if content != path.read_bytes() and processes.is_first():
            with self._writing(path):
                _replace(path, content)

    def write_json(self, name: str, value: Any) -> Path:
        """Write the file NAME (with suffix) as JSON, atomically: readers see the new content or the old one."""
        return self.write_text(name, _dumps(value, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Write the file NAME (with suffix) atomically, like `write_json`."""
        return self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write the file NAME (with suffix) atomically, like `write_json`."""
        path = self.path / name
        if processes.is_first():
            with self._writing(path):
                _replace(path, content)
        return path

    @contextlib.contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        self.check_present()
        self.written.add(path)
        try:
            yield
        except OSError as error:
            kind = FolderDeleted if error.errno == errno.ENOENT else CannotWrite
            raise kind(f"cannot write {path}: {error.strerror or error}") from error

    def _lines(self, name: str) -> list[tuple[bytes, dict[str, Any]]]:
        path = self.path / f"{name}.jsonl"
        if not path.exists():
            return []
        lines = path.read_bytes().split(b"\n")[:-1]  # the text after the last newline is unfinished or empty
        parsed = []
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}:{number}: not a JSON record ({error}); remove the line") from None
            if not isinstance(record, dict):
                raise UserError(f"{path}:{number}: a record must be a JSON object; remove the line")
            parsed.append((line, record))
        return parsed


def write_config(path: Path, config: Experiment) -> None:
    """Store `config` in the folder `path`; `UserError` if another process has just stored one."""
    try:
        _write_new(path / CONFIG, to_json(config))
    except FileExistsError:
        raise _exists(path) from None


def check_folder(path: Path, config: Experiment, *, resume: bool) -> None:
    """Raise the `UserError` that `RunFolder.open` (if `resume`) or `create` would raise; change nothing."""
    stored = path / CONFIG
    if resume:
        if not stored.is_file():
            what = "holds no run" if path.is_dir() else "does not exist"
            raise UserError(f"cannot resume: run folder {path} {what}; start without --resume")
        _compare(stored, config)
    elif stored.exists():
        raise _exists(path)
    elif path.exists() and not path.is_dir():
        raise UserError(f"run folder {path} is a file; choose another --run-dir")
    elif path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir()):
        raise UserError(f"{path} is not empty and holds no run; choose another --run-dir")


def _exists(path: Path) -> UserError:
    return UserError(
        f"run folder {path} exists; pass --resume to continue it, --overwrite to start over (the old one is kept "
        "next to it), or another name with --run-dir"
    )


def _compare(stored: Path, config: Experiment) -> None:
    try:
        before = _flatten(json.loads(stored.read_text()))
    except (OSError, ValueError) as error:
        raise UserError(f"{stored} cannot be read: {error}; the run cannot be resumed") from None
    now = _flatten(json.loads(to_json(config)))
    names = [*now, *(name for name in before if name not in now)]
    differences = [
        f"{name}: {before.get(name, 'absent')!r} (stored) != {now.get(name, 'absent')!r} (given)"
        for name in names
        if not name.startswith("devices.")  # a run may continue on other devices
        and (name not in before or name not in now or before[name] != now[name])
    ]
    if differences:
        raise UserError(
            f"cannot resume {stored.parent} with another configuration: {'; '.join(differences)}; "
            "give the stored values, or start a new run with another --run-dir"
        )


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat = {}
    for name, item in value.items():
        flat.update(_flatten(item, f"{prefix}.{name}" if prefix else name))
    return flat


def _dumps(value: Any, indent: int | None = None) -> str:
    return json.dumps(_plain(value), allow_nan=False, ensure_ascii=False, indent=indent)


def _plain(value: Any) -> Any:
    """The value in JSON's types: arrays become numbers and lists, NaN and infinities become None."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # arrays of NumPy and JAX
        return _plain(value.tolist())
    return str(value) if isinstance(value, Path) else value


def _temporary(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        _remove(temporary)
        raise
    return temporary


def _replace(path: Path, content: bytes) -> None:
    temporary = _temporary(path, content)
    try:
        os.replace(temporary, path)
    except OSError:
        _remove(temporary)
        raise
    _sync_folder(path.parent)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _write_new(path: Path, text: str) -> None:
    """Write a new file atomically; if two processes try at once, one gets `FileExistsError`."""
    temporary = _temporary(path, text.encode())
    try:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            os.replace(temporary, path)
    finally:
        _remove(temporary)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system supports it
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
