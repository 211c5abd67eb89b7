"""Progress of reading many images, shown on a terminal."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

SHOWN_FROM = 2000  # images; fewer are read too quickly to need a bar


@contextlib.contextmanager
def counted(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function that takes the number of further finished images; standard error shows a bar if it is a terminal.

    The bar disappears at the end. Nothing is written to other outputs, nor for fewer than 2,000 images.
    """
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    if not is_terminal or total < SHOWN_FROM:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
