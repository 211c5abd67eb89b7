"""The best value so far of a run by trials, against the number of trials and against the cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jdarts.report.charts import DASHES, Scales, Series, line_chart
from jdarts.report.trials.record import COMPLETE, DONE, TrialRun
from jdarts.report.words import precise

_FIRST = 10


@dataclass(frozen=True)
class Course:
    """The best value of the first objective after each evaluated trial, from the first with a value on.

    Attributes:
      trials: the numbers of evaluated trials, 1, 2, …
      costs: seconds of all trials until then, failed ones included; empty if an estimate has no cost.
      best: the best values.
    """

    trials: list[int]
    costs: list[float]
    best: list[float]


def course(run: TrialRun) -> Course:
    """The course of a run. Trials count in the order in which they ended."""
    maximize = run.objectives[0].maximize
    known = bool(run.complete) and all(trial.get("cost") is not None for trial in run.complete)
    trials, costs, best = [], [], []
    evaluated, cost, leader = 0, 0.0, None
    for trial in run.trials:
        cost += spent(trial)
        evaluated += trial["state"] in DONE
        values = run.values(trial)
        if values is not None and trial["state"] == COMPLETE:
            better = leader is None or (values[0] > leader if maximize else values[0] < leader)
            leader = values[0] if better else leader
        if leader is not None and trial["state"] in DONE:
            trials.append(evaluated)
            costs.append(cost)
            best.append(leader)
    return Course(trials, costs if known else [], best)


def without_first(found: Course) -> Course:
    """The course from trial `_FIRST` on if it is long: the first trials would fill the axis of the values."""
    if not found.trials or found.trials[-1] < 4 * _FIRST:
        return found
    start = next(i for i, number in enumerate(found.trials) if number >= _FIRST)
    return Course(found.trials[start:], found.costs[start:], found.best[start:])


def since(*courses: Course) -> str:
    """The end of a title that says where courses begin; empty if that is the first trial."""
    first = max(found.trials[0] for found in courses)
    return f", from trial {first} on" if first > 1 else ""


def spent(trial: dict) -> float:
    """The cost of a trial in seconds: that of its estimate; without one, as of a pruned trial, its own time."""
    return float(trial.get("cost") or trial.get("seconds") or 0.0)


def curves(run: TrialRun) -> str:
    """Charts of the best value so far, with the values of the trials."""
    found = course(run)
    if not found.trials:
        return ""
    name = run.objectives[0].name
    every = [(i, trial) for i, trial in enumerate(run.evaluated, start=1) if run.values(trial) is not None]
    values = [run.point(trial) for _, trial in every]
    dots = Series(
        "trials",
        [i for i, _ in every],
        [value[0] for value in values],
        "s6",
        kind="points",
        titles=[f"trial {t['number']}: {name} {precise(v[0])}" for (_, t), v in zip(every, values, strict=True)],
    )
    best = Series("best so far", found.trials, found.best, "s0", kind="steps")
    late = without_first(found)
    steps = Series("best so far", late.trials, late.best, "s0", kind="steps")
    charts = [
        line_chart(f"{name} of all trials".capitalize(), [dots, best], Scales(name, "evaluated trials")),
        line_chart(f"Best {name} so far, by trials{since(late)}", [steps], Scales(name, "evaluated trials")),
    ]
    if found.costs:
        unit, label = cost_axis([found.costs[-1]], run)
        x = [cost / unit for cost in late.costs]
        steps = Series("best so far", x, late.best, "s0", kind="steps")
        title = f"Best {name} so far, by cost{since(late)}"
        charts.append(line_chart(title, [steps], Scales(name, label, x_whole=False)))
    return f'<div class="charts">{"".join(charts)}</div>'


def cost_axis(costs: Sequence[float], run: TrialRun) -> tuple[float, str]:
    """`(seconds, label)`: the unit of an axis for costs of up to these seconds, and the label of the axis."""
    most = max(costs)
    unit, name = next((u, n) for u, n in ((86400, "days"), (3600, "hours"), (60, "minutes"), (0, "s")) if most > 3 * u)
    return unit or 1.0, f"{'simulated ' if run.estimator == 'table' else ''}cost of the trials in {name}"


def mean_course(
    courses: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(x, mean, std)` of several step curves `(x, y)`, on the range of x that all of them have.

    A curve keeps its value until its next point. The standard deviation is that of a sample.
    """
    first, last = max(x[0] for x, _ in courses), min(x[-1] for x, _ in courses)
    grid = np.unique(np.concatenate([np.asarray(x, float) for x, _ in courses]))
    grid = grid[(grid >= first) & (grid <= last)]
    values = np.stack([np.asarray(y)[np.searchsorted(x, grid, side="right") - 1] for x, y in courses])
    spread = values.std(axis=0, ddof=1) if len(courses) > 1 else np.zeros(len(grid))
    return grid, values.mean(axis=0), spread


def group_series(name: str, points: Sequence[tuple[Sequence[float], Sequence[float]]], index: int) -> Series:
    """The mean of the step curves of several runs with a band of one standard deviation; a single one unchanged."""
    x, mean, spread = mean_course(points)
    style = f"s{index % 8}", (index + index // 8) % len(DASHES)
    if len(points) == 1:
        return Series(name, x.tolist(), mean.tolist(), *style, kind="steps")
    label = f"{name} (mean ± std of {len(points)})"
    band = (mean - spread).tolist(), (mean + spread).tolist()
    return Series(label, x.tolist(), mean.tolist(), *style, *band, kind="steps")
