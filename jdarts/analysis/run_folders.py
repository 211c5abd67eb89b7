"""The searches in run folders, at their newest checkpoint or at every epoch.

run = open_run("runs/darts_cifar10")                      # the newest checkpoint
run = open_run("runs/darts_cifar10/search/seed-3")        # one of several searches (--seeds, --sweep)
start, first, second = open_epochs("runs/darts_cifar10")  # at the start, and after each of two epochs
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from jdarts.analysis.live import LiveSearch
from jdarts.search.state import SearchState
from jdarts.search.stored import StoredSearch, without_checkpoint


def open_run(
    path: str | Path, *, imports: Sequence[str | Path] = (), warn: Callable[[str], None] | None = None
) -> LiveSearch:
    """The search in a run folder (or in its `search` subfolder) at its newest readable checkpoint.

    If the run holds several searches, `path` is the folder of one of them, such as `runs/NAME/search/seed-3`.

    The files in `imports` are executed first. If the user's method or space is still unknown, the file that defined it
    is executed, unless it has changed since the run started (`jdarts.config.user_files`).

    `warn` receives a line for each damaged checkpoint that is skipped (default: a Python warning). Raises `UserError`
    for a folder without a run or a checkpoint, for a configuration or checkpoint of another version, and for damaged
    files.
    """
    stored = StoredSearch.at(path, imports)
    return _live(stored, stored.newest(warn))


def open_epochs(
    path: str | Path, *, imports: Sequence[str | Path] = (), warn: Callable[[str], None] | None = None
) -> list[LiveSearch]:
    """The search in a run folder at its start and after every epoch, oldest first; all share their compiled losses.

    The state at the start is computed again from the seed. Epochs whose checkpoint is unreadable, or was not kept
    (`search.checkpoint_every`, `search.keep_checkpoints`), are left out. Arguments and errors are as for `open_run`.
    """
    stored = StoredSearch.at(path, imports)
    states = stored.every_epoch(warn)
    if not states:
        raise without_checkpoint(stored.folder)
    start = _live(stored, jax.jit(stored.search.init)(jax.random.key(stored.config.seed)))
    return [start, *(start.at(state) for state in states)]


def _live(stored: StoredSearch, state: SearchState) -> LiveSearch:
    return LiveSearch(stored.config, stored.space, stored.data, stored.search, state)
