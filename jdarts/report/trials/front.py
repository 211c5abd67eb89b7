"""The Pareto front of a run with several objectives: charts, table, hypervolume."""

import itertools
from html import escape
from typing import Any

import numpy as np

from jdarts.estimation import hypervolume, pareto_front
from jdarts.report.charts import Scales, Series, line_chart
from jdarts.report.trials.record import TrialRun
from jdarts.report.words import percent, precise, table

_CHECKPOINTS = 40
_MOST_ROWS = 30


def front(run: TrialRun) -> list[dict[str, Any]]:
    """The trials that no other one dominates, best in the first objective first; of equal values only the first."""
    if not run.complete:
        return []
    points = [run.point(trial) for trial in run.complete]
    first: dict[tuple[float, ...], dict[str, Any]] = {}
    for i in pareto_front(points, run.objectives):
        first.setdefault(points[i], run.complete[i])
    values = sorted(first, reverse=run.objectives[0].maximize)
    return [first[value] for value in values]


def worst(run: TrialRun) -> tuple[float, ...]:
    """The worst value of each objective among the trials, the reference point of the hypervolume."""
    columns = zip(*(run.point(trial) for trial in run.complete), strict=True)
    return tuple(min(c) if o.maximize else max(c) for c, o in zip(columns, run.objectives, strict=True))


def ideal(run: TrialRun) -> tuple[float, ...]:
    """The best value of each objective among the trials."""
    columns = zip(*(run.point(trial) for trial in run.complete), strict=True)
    return tuple(max(c) if o.maximize else min(c) for c, o in zip(columns, run.objectives, strict=True))


def volumes(run: TrialRun, reference: tuple[float, ...]) -> tuple[list[int], list[float]]:
    """`(numbers of complete trials, hypervolumes)` of the course of a search."""
    points = [run.point(trial) for trial in run.complete]
    count = min(_CHECKPOINTS, len(points))
    checkpoints = sorted({round(number) for number in np.linspace(1, len(points), count)})
    found = []
    kept: list[tuple[float, ...]] = []
    for before, number in itertools.pairwise([0, *checkpoints]):
        kept = sorted({*kept, *points[before:number]})
        kept = [kept[i] for i in pareto_front(kept, run.objectives)]
        found.append(hypervolume(kept, run.objectives, reference))
    return checkpoints, found


def front_section(run: TrialRun) -> str:
    """Charts for each pair of objectives, the hypervolume and a table; empty for one objective."""
    if len(run.objectives) < 2 or not run.complete:
        return ""
    best, reference = front(run), worst(run)
    numbers, found = volumes(run, reference)
    corner = ", ".join(f"{o.name} {precise(v)}" for o, v in zip(run.objectives, reference, strict=True))
    charts = [_pair(run, best, i, j) for i, j in itertools.combinations(range(len(run.objectives)), 2)]
    box = hypervolume([ideal(run)], run.objectives, reference)
    if box > 0:
        growth = Series("hypervolume", numbers, [volume / box for volume in found], "s0", kind="steps")
        scales = Scales("share of the box", "complete trials", percent=True)
        charts.append(line_chart("Hypervolume of the front so far", [growth], scales))
    share = f", {percent(found[-1] / box)} of the box between the best and the worst values" if box > 0 else ""
    note = (
        f"The front has {len(best)} of {len(run.complete)} complete trials; of trials with equal values it has the "
        f"first. Its hypervolume is {found[-1]:.6g}, up to the worst values of the run ({corner}){share}."
    )
    return f'<p>{escape(note)}</p><div class="charts">{"".join(charts)}</div>{trials_table(run, best[:_MOST_ROWS])}' + (
        f'<p class="soft">{len(best) - _MOST_ROWS} more are left out.</p>' if len(best) > _MOST_ROWS else ""
    )


def _pair(run: TrialRun, best: list[dict[str, Any]], i: int, j: int) -> str:
    """All trials in the plane of two objectives, j across and i up, and the front."""
    names = [objective.name for objective in run.objectives]

    def points(name: str, trials: list[dict[str, Any]], colour: str) -> Series:
        values = [run.point(trial) for trial in trials]
        titles = [
            f"trial {trial['number']}: " + ", ".join(f"{n} {precise(v)}" for n, v in zip(names, found, strict=True))
            for trial, found in zip(trials, values, strict=True)
        ]
        x, y = [found[j] for found in values], [found[i] for found in values]
        return Series(name, x, y, colour, kind="points", titles=titles)

    series = [points("trials", run.complete, "s6"), points("Pareto front", best, "s1")]
    if len(names) == 2:
        series.insert(1, _border(run, best))
    return line_chart(f"{names[i]} against {names[j]}", series, Scales(names[i], names[j], x_whole=False))


def _border(run: TrialRun, best: list[dict[str, Any]]) -> Series:
    """The border of what the front of two objectives dominates, as steps from left to right."""
    ordered = sorted((run.point(trial) for trial in best), key=lambda values: values[1])
    steps = [(values[1], values[0]) for values in ordered]
    if run.objectives[1].maximize:  # a value holds to the left of its point
        after = [y for _, y in steps[1:]]
        steps = [*((x, y) for (x, _), y in zip(steps[:-1], after, strict=True)), steps[-1]]
    return Series("dominated up to here", [x for x, _ in steps], [y for _, y in steps], "s1", kind="steps")


def trials_table(run: TrialRun, trials: list[dict[str, Any]]) -> str:
    """The trials with their objectives, other scores, cost and architecture or parameters."""
    objectives = [objective.name for objective in run.objectives]
    others = [name for name in dict.fromkeys(n for t in trials for n in t["score"]) if name not in objectives]
    costs = any(trial.get("cost") is not None for trial in trials)
    head = "".join(f"<th class='n'>{escape(name)}</th>" for name in ["trial", *objectives, *others])
    head += "<th class='n'>cost in s</th>" if costs else ""
    rows = []
    for trial in trials:
        values = [trial["objectives"].get(name) for name in objectives] + [trial["score"].get(name) for name in others]
        values += [trial.get("cost")] if costs else []
        shown = [str(trial["number"]), *map(precise, values)]
        cells = "".join(f"<td class='n'>{escape(value)}</td>" for value in shown)
        rows.append(f"<tr>{cells}<td>{_what(run, trial)}</td></tr>")
    what = "values" if run.tunes else "architecture"
    return table(rows, f"<tr>{head}<th>{what}</th></tr>") if rows else ""


def _what(run: TrialRun, trial: dict[str, Any]) -> str:
    if run.tunes:
        text = " ".join(f"{name}={_short(value)}" for name, value in trial["params"].items())
        return f"<code>{escape(text)}</code>"
    text = str(trial.get("architecture") or trial["params"])
    if len(text) <= 110:
        return f"<code>{escape(text)}</code>"
    return f"<details><summary>text</summary><code>{escape(text)}</code></details>"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
