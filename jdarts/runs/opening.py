"""Opening the folder of a run: a new run, an earlier run to continue, or a run to start over.

If a start failed before anything was recorded, the next start uses the folder again. `--overwrite` moves the folder of
an earlier run aside. Results of a run are never deleted.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from jdarts.config import Experiment, user_files
from jdarts.devices import processes
from jdarts.errors import CannotWrite, FolderDeleted, UserError
from jdarts.runs.folder import CONFIG, RunFolder, check_folder, write_config
from jdarts.runs.kinds import PLAN, TUNING, Kind, refuse_other_kind
from jdarts.runs.lock import NAME, RunLock, refuse_if_locked

CLASSES = "classes.json"
"""The file with the names of the classes in the order of a network's outputs, if the source has names."""
_TRIALS = (PLAN, TUNING)
_PLANS = ("searches.json", *_TRIALS)
START = (CONFIG, CLASSES, "environment.json", "own_ops.json", *_PLANS, user_files.RECORD)
"""The files that a run writes before its first step, in addition to the copies of `user_files`."""


def check(path: Path, config: Experiment, *, resume: bool, overwrite: bool = False, kind: Kind | None = None) -> None:
    """Raise the `UserError` that `hold` would raise; change nothing. Locks of other hosts are not noticed."""
    processes.first_does(lambda: _check(path, config, resume, overwrite, kind))


@contextlib.contextmanager
def hold(
    path: Path,
    config: Experiment,
    *,
    resume: bool,
    overwrite: bool = False,
    kind: Kind | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Iterator[RunFolder]:
    """The run folder at `path`, locked against other processes until the `with` block ends.

    Args:
      resume: continue the run in that folder; it must have the same `config`.
      overwrite: first move the folder of an earlier run aside, to a name that ends in `.old-1`, `.old-2`, ….
      kind: the kind of the run; a run of another kind is not resumed. None is any kind.
      tell: receives one line if a folder was moved.

    Raises `UserError` if the folder is in use, if it holds a run and `resume` is false, or if it holds no run or one of
    another kind and `resume` is true. In a run of several processes, the first one holds the lock.
    """
    lock = processes.first_does(lambda: _take(path, config, tell, resume=resume, overwrite=overwrite, kind=kind))
    run = RunFolder(path, lock)
    try:
        yield run
    except FolderDeleted:
        _wait_until_quiet(path)  # the remaining files are known only after the deletion has ended
        raise
    finally:
        if lock is not None:
            deleted = not lock.path.exists()
            lock.release()
            if deleted:
                _remove_remains(path, run.written)


def with_advice(error: CannotWrite, path: Path) -> CannotWrite | UserError:
    """`error` with advice on what to do next; a `UserError` if the run folder at `path` was deleted."""
    kind = CannotWrite if (path / CONFIG).is_file() else UserError
    return kind(f"{error}; {advice(path)}")


def advice(path: Path) -> str:
    """The end of a message to the user: the state of the run at `path`, and what to do next."""
    if not (path / CONFIG).is_file():
        return (
            "nothing is left to continue: put the folder back and give the same command with --resume, or start again"
        )
    if any((path / name).is_file() for name in _TRIALS):
        return f"the finished trials of {path} are kept: give the same command with --resume to go on"
    try:
        checkpoints = [(p.stat().st_mtime, p) for p in path.rglob("checkpoints/*") if p.name.isdigit()]
    except OSError:
        checkpoints = []
    if not checkpoints:
        return "no checkpoint was saved yet: start the run again"
    newest = max(checkpoints)[1]
    return (
        f"the checkpoint of step {newest.name} in {newest.parent} is kept: give the same command with --resume to go on"
    )


def _check(path: Path, config: Experiment, resume: bool, overwrite: bool, kind: Kind | None) -> None:
    if resume and overwrite:
        raise UserError("--resume continues a run and --overwrite starts it over; give one of them")
    if overwrite and path.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise UserError(f"--overwrite cannot move {path}, the folder that you are in; choose another --run-dir")
    refuse_if_locked(path)
    if resume or not (path / CONFIG).is_file() or not (overwrite or _has_only_started(path)):
        check_folder(path, config, resume=resume)
    if resume and kind is not None:
        refuse_other_kind(path, kind)


def _take(
    path: Path,
    config: Experiment,
    tell: Callable[[str], None],
    *,
    resume: bool,
    overwrite: bool,
    kind: Kind | None,
) -> RunLock:
    _check(path, config, resume, overwrite, kind)
    try:
        if not resume and (path / CONFIG).is_file() and not _has_only_started(path):
            tell(f"{path} was moved to {_move_aside(path)}")
        if not resume:
            path.mkdir(parents=True, exist_ok=True)
        lock = RunLock(path, tell)
        try:
            if not resume:
                _remove_failed_start(path)
                write_config(path, config)
        except BaseException:
            lock.release()
            raise
    except OSError as error:
        raise UserError(f"cannot use the run folder {path}: {error.strerror or error}") from None
    return lock


def _remove_failed_start(path: Path) -> None:
    if _has_only_started(path):
        if (path / user_files.RECORD).exists():
            shutil.rmtree(path / user_files.FOLDER, ignore_errors=True)
        for name in START:
            (path / name).unlink(missing_ok=True)


def _has_only_started(path: Path) -> bool:
    """True if a run in this folder ended before it recorded or saved anything."""
    copies = user_files.FOLDER if (path / user_files.RECORD).exists() else None
    for file in path.rglob("*"):
        parts = file.relative_to(path).parts
        if parts[0] == copies:
            continue
        unfinished = any(part.startswith(".") or part.endswith("checkpoint-tmp") for part in parts)
        if not unfinished and file.name not in START and not file.is_dir() and file.stat().st_size:
            return False
        if file.parent.name == "checkpoints" and file.name.isdigit():
            return False
    return True


def _wait_until_quiet(path: Path) -> None:
    """Wait until no file of the folder has appeared or vanished for half a second, at most ten seconds."""
    before, unchanged, until = None, 0, time.monotonic() + 10
    while unchanged < 5 and time.monotonic() < until:
        time.sleep(0.1)
        found = {str(Path(folder) / file) for folder, _, files in os.walk(path) for file in ("", *files)}
        before, unchanged = found, unchanged + 1 if found == before else 0


def _remove_remains(path: Path, written: Iterable[Path]) -> None:
    """Remove the files that this process wrote to the run folder during or after its deletion.

    Failed saves may continue in the background, so this returns only when no new file appears.
    """
    for _ in range(5):
        _wait_until_quiet(path)
        if not path.exists() or (path / CONFIG).exists():
            return
        _clear(path, written)


def _clear(path: Path, written: Iterable[Path]) -> None:
    for file in written:
        with contextlib.suppress(OSError):
            file.unlink()
    for checkpoints in list(path.rglob("checkpoints")):
        shutil.rmtree(checkpoints, ignore_errors=True)
    for folder in sorted((p for p in path.rglob("*") if p.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()  # removes only an empty folder
    with contextlib.suppress(OSError):
        path.rmdir()


def _move_aside(path: Path) -> Path:
    with RunLock(path):
        number = 1
        while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
            number += 1
        path.rename(aside)
        (aside / NAME).unlink(missing_ok=True)
    return aside
