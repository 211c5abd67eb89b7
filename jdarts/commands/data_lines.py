"""Notes and warnings of the data layer, as lines on standard error."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from jdarts.devices import processes
from jdarts.errors import DataNote, DataWarning


@contextlib.contextmanager
def data_lines() -> Iterator[None]:
    """Context that prints each `DataWarning` as one line (`note:` for a `DataNote`), once, in the first process.

    Other warnings are shown as usual.
    """
    printed: set[str] = set()

    def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, DataWarning):
            show_others(message, category, *place, **more)
            return
        text = " ".join(str(message).split())
        if text in printed or not processes.is_first():
            return
        printed.add(text)
        kind = "note" if issubclass(category, DataNote) else "warning"
        print(f"jdarts: {kind}: {text}", file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        show_others = warnings.showwarning
        warnings.showwarning = show
        yield
