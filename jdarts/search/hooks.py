"""What looks at a search between its epochs, handed in by whoever starts the search.

The search knows nothing of the analyses above it: it calls hooks, and what they return joins the record of the epoch.
`jdarts.analysis.monitor.watch` is the `Watch` of the `jdarts` command.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jdarts.config import Experiment
from jdarts.runs.folder import RunFolder
from jdarts.search.state import SearchState
from jdarts.search.step import Search

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Moment:
    """The end of an epoch of one search.

    Attributes:
      epoch: how many are finished.
      alphas: as the epoch left them.
      state: gives the whole state, on one device of this process; costly to fetch where it lies on several.
      record: what the search itself has noted of the epoch.
    """

    epoch: int
    alphas: dict[str, Any]
    state: Callable[[], SearchState]
    record: Record


Hook = Callable[[Moment], dict[str, Any]]
Warn = Callable[[str], None]
Watch = Callable[[Experiment, Search], Callable[[Experiment, RunFolder, Warn], Sequence[Hook]]]
"""`watch(config, search)` is called once a program; what it returns, once for each search that the program holds, with
the search's own configuration, the folder of its records, and where its warnings go."""


def unwatched(config: Experiment, search: Search) -> Callable[[Experiment, RunFolder, Warn], Sequence[Hook]]:
    """The `Watch` that looks at nothing."""
    del config, search
    return lambda own, run, warn: ()


def look(hooks: Sequence[Hook], moment: Moment) -> dict[str, Any]:
    """What all hooks add to the record of an epoch; each sees what those before it added."""
    added: dict[str, Any] = {}
    for hook in hooks:
        added |= hook(Moment(moment.epoch, moment.alphas, moment.state, {**moment.record, **added}))
    return added
