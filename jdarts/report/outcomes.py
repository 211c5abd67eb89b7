"""The results of runs as a table with one row for each run: test accuracy, skip connections, collapse, cost.

`outcome` reads one run. `text` writes several runs as Markdown that is aligned for the terminal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from jdarts.benchmarks import BenchmarkTable, load_table
from jdarts.devices.memory import format_bytes
from jdarts.errors import UserError
from jdarts.genotypes import parse_result
from jdarts.report.collapse import Verdict, judges_cells, never_moves, skips, summary, verdict
from jdarts.report.records import RunRecord, SearchRecord, Spent, by_values, cost_of
from jdarts.report.words import aligned, duration, mean_std

LOOKED_UP = "benchmark_c10_accuracy"


@dataclass(frozen=True)
class Outcome:
    """The results of a run's searches; lists have an entry for each search that has a result.

    Attributes:
      method: its name and options. searches: the number of searches.
      accuracies: test accuracies from 0 to 1, looked up in the benchmark's table or measured after retraining.
      regrets: distances from the best accuracy in the table, in percentage points; empty without a table.
      skips: skip connections among the `edges` edges of each result's normal cell; empty if none was searched.
      skip_curve: after each epoch, the mean number of skip connections; empty if the normal cell is not searched.
      verdicts: collapse of each search that has a genotype; empty if the normal cell is not searched.
      seconds: wall-clock time of all epochs of all searches; None if not recorded.
      cost: device time, processor time, peak memory and images of these epochs.
    """

    method: str
    searches: int
    accuracies: list[float]
    regrets: list[float]
    skips: list[int]
    edges: int
    skip_curve: list[float]
    verdicts: list[Verdict]
    seconds: float | None
    cost: Spent


def outcome(run: RunRecord) -> Outcome:
    """The outcome of a run; of an unfinished run, its state so far."""
    fixed = never_moves(run)  # then only the returned genotypes mean something
    judged = [search for search in run.searches if search.found or not fixed]
    results = [(search, found) for search in judged if (found := search.result) is not None]
    table = _table(run.config.search.benchmark_table)
    if table is None:
        accuracies = [value for search, _ in results if (value := _tested(run, search, fixed)) is not None]
    else:
        accuracies = [table.query(genotype)[table.metric] / 100 for _, genotype in results]
    judged_cells = judges_cells(run)
    counts = [skips(genotype) for _, genotype in results] if judged_cells or fixed else []
    curves = [skip_series(search)[1] for search in run.searches] if judged_cells else []
    shared = min(map(len, curves), default=0)
    return Outcome(
        method=method_name(run),
        searches=len(run.searches),
        accuracies=accuracies,
        regrets=[table.regret(genotype) for _, genotype in results] if table else [],
        skips=[count for count, _ in counts],
        edges=counts[0][1] if counts else 0,
        skip_curve=np.mean([curve[:shared] for curve in curves], axis=0).tolist() if shared else [],
        verdicts=[found for search in run.searches if (found := verdict(search)) is not None] if judged_cells else [],
        seconds=run.spent("seconds"),
        cost=cost_of(run.search_records),
    )


def text(runs: Sequence[RunRecord], names: Sequence[str]) -> str:
    """Markdown: a table of outcomes, and below it the mean number of skips after each epoch.

    A run has a row for each combination of swept values.
    """
    runs, names = by_values(runs, names)
    outcomes = [outcome(run) for run in runs]
    parts = [aligned([HEAD, *(cells(name, found) for name, found in zip(names, outcomes, strict=True))])]
    curves = [(name, found) for name, found in zip(names, outcomes, strict=True) if found.skip_curve]
    if curves:
        lines = [f"{name}: {' '.join(f'{value:.1f}' for value in found.skip_curve)}" for name, found in curves]
        parts.append("\n".join(["Skip connections of the normal cell after each epoch, mean over seeds:", "", *lines]))
    return "\n\n".join(parts)


COST_HEAD = ["CPU time", "device-hours", "peak memory", "images"]
HEAD = ["run", "method", "seeds", "test accuracy", "regret", "skips at the end", "collapsed", "search time", *COST_HEAD]


def cells(name: str, found: Outcome) -> list[str]:
    """A row of the table under `HEAD`."""
    points = mean_std(found.regrets, False)
    count = mean_std([float(count) for count in found.skips], False)
    return [
        name,
        found.method,
        str(found.searches),
        mean_std(found.accuracies, True),
        points if points == "–" else f"{points} points",
        f"{count} of {found.edges}" if found.skips else "–",
        summary(found.verdicts),
        "–" if found.seconds is None else duration(found.seconds),
        *cost_cells(found.cost),
    ]


def cost_cells(cost: Spent) -> list[str]:
    """A cost under `COST_HEAD`; a dash for what was not recorded."""
    return [
        "–" if cost.cpu_seconds is None else duration(cost.cpu_seconds),
        "–" if cost.device_seconds is None else f"{cost.device_seconds / 3600:.3g}",
        "–" if cost.peak_memory is None else format_bytes(cost.peak_memory),
        "–" if cost.images is None else f"{cost.images:,.0f}",
    ]


def skip_series(search: SearchRecord) -> tuple[list[int], list[int]]:
    """`(epochs, counts)` of the skip connections in the normal cell derived after each epoch."""
    found = {r["epoch"]: skips(parse_result(r["genotype"]))[0] for r in search.genotypes}
    return list(found), list(found.values())


def method_name(run: RunRecord) -> str:
    """The method with its options, and with the hypergradient if the configuration sets it."""
    search = run.config.search
    options = [*search.method_options, *([search.hypergradient] if search.hypergradient else [])]
    return f"{search.method} ({', '.join(options)})" if options else search.method


def _tested(run: RunRecord, search: SearchRecord, fixed: bool) -> float | None:
    """The test accuracy of the retrained cell, otherwise the last one looked up in the search if the alphas moved."""
    names = [f"seed-{search.label.replace(', ', ',')}", *(["found"] if len(run.searches) == 1 else [])]
    for name in names:
        if isinstance(retrained := run.summary.get(name), dict) and "test_accuracy" in retrained:
            return retrained["test_accuracy"]
    return None if fixed else search.last(LOOKED_UP)


@lru_cache(maxsize=4)
def _table(path: str) -> BenchmarkTable | None:
    """The benchmark's table of a run, or None if its file can no longer be read."""
    try:
        return load_table(path) if path else None
    except UserError:
        return None
