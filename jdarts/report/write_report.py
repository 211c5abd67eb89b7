"""Write reports to disk, once or repeatedly while a search runs."""

import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jdarts.errors import UserError
from jdarts.report import outcomes
from jdarts.report.page import by_kind, read, render, trainings, unique_names
from jdarts.report.training import training_text
from jdarts.report.trials import comparison

REFRESH = 5
"""Seconds between two checks of a watched run."""


def write_report(paths: Sequence[str | Path], output: str | Path | None = None, *, refresh: int | None = None) -> Path:
    """Write the report of the runs at `paths` and return its path.

    The default path is `RUN/report.html`, or for several runs `comparison.html` next to the first run. The file is
    replaced atomically; a pipe or a device is written to. Raises `UserError` if a folder holds no run or the report
    cannot be written.
    """
    runs = [read(path) for path in paths]
    if output is None:
        output = runs[0].path / "report.html" if len(runs) == 1 else runs[0].path.parent / "comparison.html"
    target = Path(output)
    if target.is_dir():
        raise UserError(f"cannot write the report to {target}: it is a folder; give a file name such as report.html")
    done = all(run.finished for run in runs)
    text = render(runs, refresh=None if done else refresh)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        if target.exists() and not target.is_file():  # a pipe or a device, such as /dev/stdout, is not replaced
            target.write_text(text, encoding="utf-8")
            return target
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, target)
    except OSError as error:
        raise UserError(f"cannot write the report to {target}: {error.strerror or error}") from None
    return target


def table(paths: Sequence[str | Path]) -> str:
    """The results of the runs at `paths` as Markdown tables, one for each kind of run.

    Raises `UserError` if a folder holds no run.
    """
    runs = [read(path) for path in paths]
    names = unique_names(runs)
    relaxed, by_trials = by_kind(runs, names)
    tables = [outcomes.text(*relaxed)] if relaxed[0] else []
    tables += [comparison.text(*by_trials)] if by_trials[0] else []
    trained = trainings(runs, names)
    tables += [training_text(*trained)] if trained[0] else []
    return "\n\n".join(tables)


def watch(
    paths: Sequence[str | Path], output: str | Path | None = None, *, tell: Callable[[str], None] = print
) -> Path:
    """Rewrite the report whenever the records change, until all runs are finished or the user presses Ctrl-C."""
    shown = [read(path) for path in paths]
    target = write_report(paths, output, refresh=REFRESH)
    tell(f"{target} (updated every {REFRESH} s while the search runs; Ctrl-C ends watching, not the search)")
    try:
        while not all(run.finished for run in shown):
            time.sleep(REFRESH)
            if (runs := [read(path) for path in paths]) != shown:
                target, shown = write_report(paths, output, refresh=REFRESH), runs
    except KeyboardInterrupt:
        tell("")
    return write_report(paths, output)
