"""Source files of the user that a run depends on: configurations, methods and spaces.

They are Python code and run when they are read. Their folder is put on the import path, as Python does it for a script.
A run keeps copies of them (`keep`), which are never executed automatically. To open the run again, the originals are
executed if they still have the bytes that the run recorded; otherwise the user names a file, such as the copy.
"""

import hashlib
import inspect
import json
import os
import sys
import tokenize
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jdarts.errors import UserError

RECORD = "sources.json"
PREFIX = "jdarts_user_"
"""Prefix of the module names of files that were executed by path."""
FOLDER = "source"
"""Folder of the copies, inside a run folder."""
PACKAGE = Path(__file__).resolve().parents[1]


def read(path: Path) -> str:
    """The text of a Python file in its own encoding; raises `UserError`."""
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def execute(path: Path) -> types.ModuleType:
    """Run the file as a module, with its folder on the import path. Exceptions in the file pass through."""
    name = f"{PREFIX}{path.stem}"
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their annotations up there
    exec(compile(read(path), str(path), "exec"), module.__dict__)
    return module


def run(path: str | Path) -> types.ModuleType:
    """`execute`, with every failure of the file as a `UserError` of one line."""
    path = Path(path)
    if not is_file(path):
        raise UserError(f"there is no file {str(path)!r}")
    try:
        return execute(path)
    except KeyboardInterrupt:
        raise
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except BaseException as error:  # also SystemExit, GeneratorExit and the user's own classes
        raise UserError(f"{path}: {type(error).__name__}: {error}") from None


def is_file(path: Path) -> bool:
    """True if the file exists; also False for an impossible file name."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def source_file(function: Callable[..., Any]) -> str:
    """The file that a function was written in; empty for one without Python code."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return os.path.realpath(code.co_filename) if code else ""


def is_own(path: str | Path) -> bool:
    """True if a source file belongs to the user: neither to jdarts nor to an interactive session."""
    path = Path(path)
    return is_file(path) and PACKAGE not in path.resolve().parents


def keep(folder: Path, entries: Mapping[str, str | Path]) -> dict[str, Any] | None:
    """Copy files, keyed by what they define, and modules next to them that they imported, into `folder`/source.

    Returns the content of `RECORD`, `{"defines": {what: path}, "files": [{"path", "copy", "sha256"}, …]}`, or None if
    no file is the user's.
    """
    own = {what: Path(path).resolve() for what, path in entries.items() if is_own(path)}
    if not own:
        return None
    folders = {path.parent for path in own.values()}
    files = list(dict.fromkeys(own.values()))
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        executed = name.startswith(PREFIX)  # a configuration that defines nothing may change from run to run
        if not executed and isinstance(origin, str) and origin.endswith(".py") and is_own(origin):
            path = Path(origin).resolve()
            if not folders.isdisjoint(path.parents) and "site-packages" not in path.parts and path not in files:
                files.append(path)
    base = Path(os.path.commonpath([path.parent for path in files]))
    records = []
    for path in files:
        copy = Path(FOLDER) / path.relative_to(base)
        content = path.read_bytes()
        (folder / copy).parent.mkdir(parents=True, exist_ok=True)
        (folder / copy).write_bytes(content)
        records.append({"path": str(path), "copy": str(copy), "sha256": hashlib.sha256(content).hexdigest()})
    return {"defines": {what: str(path) for what, path in own.items()}, "files": records}


def has_record(folder: Path) -> bool:
    """True if the run in `folder` recorded files of the user."""
    return (folder / RECORD).is_file()


def original(folder: Path, what: str) -> Path:
    """The user's file that defines `what`, as recorded by the run in `folder`.

    Raises `UserError` that names the copy if one of the run's files has changed or is gone.
    """
    advice = "name the file that defines it with --import FILE (imports=[FILE] in Python)"
    try:
        record = json.loads((folder / RECORD).read_text())
        known = {Path(file["path"]): (folder / file["copy"], file["sha256"]) for file in record["files"]}
        path = Path(record["defines"][what])
        copy = known[path][0]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"run {folder} needs the {what}, which is not known here; {advice}") from None
    for file, (_, digest) in known.items():
        if not is_file(file) or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            state = "has changed since" if is_file(file) else "is gone"
            raise UserError(
                f"run {folder} needs the {what} of {path}, but {file} {state}; the run kept a copy: read it, then add "
                f"--import {copy} (imports=[…] in Python), which executes it"
            )
    return path
