"""Hooks: functions that a search calls at the end of every epoch, handed in by whoever starts it.

A search knows nothing of the analyses above it. What its hooks return joins the record of the epoch.
`jdarts.analysis.monitor.monitor_hooks` makes those of the `jdarts` command.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jdarts.config import Experiment
from jdarts.runs.folder import RunFolder
from jdarts.search.search import Search
from jdarts.search.state import SearchState

Record = Mapping[str, Any]


@dataclass(frozen=True)
class EpochEnd:
    """The end of an epoch of one search, as a hook sees it.

    Attributes:
      epoch: finished epochs.
      alphas: as the epoch left them.
      state: returns the whole state, on one device of this process; costly to fetch where it lies on several.
      record: what the search itself has noted of the epoch.
    """

    epoch: int
    alphas: dict[str, Any]
    state: Callable[[], SearchState]
    record: Record


Hook = Callable[[EpochEnd], dict[str, Any]]
Warn = Callable[[str], None]
HooksOf = Callable[[Experiment, RunFolder, Warn], Sequence[Hook]]
"""`(config, folder, warn) -> hooks` of one search of a program: its own configuration, the folder of its records, and
where its warnings go."""
MakeHooks = Callable[[Experiment, Search], HooksOf]
"""`(config, search) -> hooks_of`, called once a program, so that all its searches share what the hooks compile."""


def no_hooks(config: Experiment, search: Search) -> HooksOf:
    """The `MakeHooks` of a search without hooks."""
    del config, search
    return lambda own, folder, warn: ()


def call_hooks(hooks: Sequence[Hook], end: EpochEnd) -> dict[str, Any]:
    """The entries that all hooks add to the record of an epoch; each sees those of the hooks before it."""
    added: dict[str, Any] = {}
    for hook in hooks:
        added |= hook(replace(end, record={**end.record, **added}))
    return added
