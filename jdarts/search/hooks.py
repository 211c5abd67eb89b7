"""Hooks: functions that a search calls at the end of every epoch, passed in by the caller.

A search does not import the analyses. The results of its hooks are added to the record of the epoch.
`jdarts.analysis.monitor.monitor_hooks` makes the hooks of the `jdarts` command.
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
    """The end of an epoch of one search: the argument of a hook.

    Attributes:
      epoch: number of finished epochs.
      alphas: the alphas at the end of the epoch.
      state: function that returns the whole state on one device of this process; costly if the state lies on several.
      record: the search's own record of the epoch.
    """

    epoch: int
    alphas: dict[str, Any]
    state: Callable[[], SearchState]
    record: Record


Hook = Callable[[EpochEnd], dict[str, Any]]
Warn = Callable[[str], None]
HooksOf = Callable[[Experiment, RunFolder, Warn], Sequence[Hook]]
"""`(config, folder, warn) -> hooks` of one search of a program, given its configuration, the folder of its records and
the function that reports its warnings."""
MakeHooks = Callable[[Experiment, Search], HooksOf]
"""`(config, search) -> hooks_of`, called once per program, so that all its searches share the compiled hooks."""


def no_hooks(config: Experiment, search: Search) -> HooksOf:
    """The `MakeHooks` of a search without hooks."""
    del config, search
    return lambda own, folder, warn: ()


def call_hooks(hooks: Sequence[Hook], end: EpochEnd) -> dict[str, Any]:
    """The entries that all hooks add to the record of an epoch; a hook sees the entries of the hooks before it."""
    added: dict[str, Any] = {}
    for hook in hooks:
        added |= hook(replace(end, record={**end.record, **added}))
    return added
