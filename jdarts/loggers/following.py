"""Following the records of a run folder while they grow."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jdarts.loggers.entries import FILES, Logger
from jdarts.report.records import flat
from jdarts.runs.folder import CONFIG


class Follower:
    """Passes the records of a run folder, and of the folders inside it, on to loggers, every record once.

    A file that has lost records, as it does when a run continues from an earlier checkpoint, makes all loggers begin
    again. A logger that fails is left out from then on, and the run goes on.
    """

    def __init__(self, run_dir: Path, loggers: Sequence[Logger], warn: Callable[[str], None]):
        self._run_dir, self._loggers, self._warn = run_dir, list(loggers), warn
        self._read: dict[Path, bytes] = {}  # the last line of each file
        self._offsets: dict[Path, int] = {}
        self._begun = False

    def follow(self) -> None:
        """Pass on what is new."""
        if not self._loggers:
            return
        files = [path for name in FILES for path in sorted(self._run_dir.rglob(f"{name}.jsonl"))]
        if any(self._lost(path) for path in self._offsets):
            self._read, self._offsets, self._begun = {}, {}, False
        new = [(path, line) for path in files for line in self._new_lines(path)]
        if not new:
            return
        if not self._begun:
            self._begun, settings = True, self._settings()
            self._each(lambda logger: logger.begin(self._run_dir, settings))
        for path, line in new:
            series = path.parent.relative_to(self._run_dir).as_posix().removeprefix(".")
            record = json.loads(line)
            self._each(lambda logger, s=series, p=path, r=record: logger.record(s, p.stem, r))
        self._each(lambda logger: logger.flush())

    def close(self) -> None:
        """Pass on what is new, and end."""
        self.follow()
        if self._begun:
            self._each(lambda logger: logger.close())
        self._loggers = []

    def _lost(self, path: Path) -> bool:
        """True if the file no longer goes on from what was read."""
        last, end = self._read[path], self._offsets[path]
        try:
            with open(path, "rb") as file:
                file.seek(end - len(last))
                return file.read(len(last)) != last
        except OSError:
            return True

    def _new_lines(self, path: Path) -> list[bytes]:
        start = self._offsets.get(path, 0)
        with open(path, "rb") as file:
            file.seek(start)
            content = file.read()
        content = content[: content.rfind(b"\n") + 1]  # a last line without its end is still being written
        lines = content.splitlines(keepends=True)
        if lines:
            self._read[path], self._offsets[path] = lines[-1], start + len(content)
        return lines

    def _settings(self) -> dict[str, Any]:
        """The hyper-parameters: the configuration of the run as a flat dict with dotted names."""
        return flat(json.loads((self._run_dir / CONFIG).read_text()))

    def _each(self, call: Callable[[Logger], None]) -> None:
        for logger in list(self._loggers):
            try:
                call(logger)
            except Exception as error:  # of a library; the run must not end for it
                self._loggers.remove(logger)
                self._warn(
                    f"{type(logger).__name__} failed ({error}) and writes no more; --resume with --log begins again"
                )
