"""The comparison of several runs by trials: table and best value so far, one curve for each strategy."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from jdarts.report.charts import Scales, line_chart
from jdarts.report.trials.best_so_far import cost_axis, course, group_series, since, spent, without_first
from jdarts.report.trials.parallel import ranked_trials
from jdarts.report.trials.record import FAIL, PRUNED, TrialRun
from jdarts.report.words import aligned, duration, precise, table

HEAD = [
    "run",
    "strategy",
    "space",
    "estimator",
    "seed",
    "trials",
    "objective",
    "best",
    "in trial",
    "cost",
    "parameters",
]
_NOT_THE_TASK = ("strategy", "sampler", "options", "trials", "storage", "jdarts", "table")
_NOT_THE_GROUP = ("plan.trials", "plan.storage", "plan.jdarts", "seed", "name")


def trial_comparison(runs: Sequence[TrialRun], names: Sequence[str], sections: Mapping[Path, str]) -> str:
    """The section that opens a report of several runs by trials; `sections` are the ids of their own sections."""
    rows = []
    for run, name in zip(runs, names, strict=True):
        first, *others = cells(run, name)
        link = f'<td><a href="#{sections[run.path]}">{escape(first)}</a></td>'
        rows.append(f"<tr>{link}{''.join(f'<td>{escape(value)}</td>' for value in others)}</tr>")
    head = "".join(f"<th>{escape(title)}</th>" for title in HEAD)
    parts = [f'<section><h2 id="trials">Searches by trials</h2>{table(rows, f"<tr>{head}</tr>")}']
    for task in tasks(runs):
        groups = same_strategy(task)
        parts.append(_outcomes(groups))
        parts.append(f'<div class="charts">{_charts(groups)}</div>')
    parts.append('<p class="soft">Curves of several seeds are drawn as far as all of them go.</p></section>')
    return "".join(parts)


def text(runs: Sequence[TrialRun], names: Sequence[str]) -> str:
    """A Markdown table with a row for each run, aligned for the terminal."""
    return aligned([HEAD, *(cells(run, name) for run, name in zip(runs, names, strict=True))])


def cells(run: TrialRun, name: str) -> list[str]:
    """A row of the table under `HEAD`."""
    ranked = ranked_trials(run)
    best = ranked[0] if ranked else None
    apart = {PRUNED: run.count(PRUNED), "failed": run.count(FAIL)}
    counts = "".join(f", {count} {state}" for state, count in apart.items() if count)
    known = any(trial.get("cost") is not None for trial in run.trials)
    parameters = None if best is None else best["score"].get("parameters")
    return [
        name,
        run.strategy,
        "hyper-parameters" if run.tunes else run.config.space.name,
        run.estimator,
        str(run.config.seed),
        f"{len(run.evaluated)} of {run.total}{counts}",
        run.objectives[0].name,
        "–" if best is None else precise(run.point(best)[0]),
        "–" if best is None else str(best["number"]),
        duration(sum(map(spent, run.trials))) if known else "–",
        precise(parameters),
    ]


def tasks(runs: Sequence[TrialRun]) -> list[list[TrialRun]]:
    """Runs that can be compared: the same space, estimator, budget and objectives, whatever the strategy."""
    groups: dict[str, list[TrialRun]] = {}
    for run in runs:
        plan = {name: value for name, value in run.plan.items() if name not in _NOT_THE_TASK}
        key = json.dumps([run.config.space.name, plan], sort_keys=True, default=str)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def same_strategy(runs: Sequence[TrialRun]) -> dict[str, list[TrialRun]]:
    """Runs by strategy: those that differ only in seed, name and number of trials; the keys are names for people."""
    groups: dict[str, list[TrialRun]] = {}
    for run in runs:
        options = {name: value for name, value in run.options.items() if name not in _NOT_THE_GROUP}
        groups.setdefault(json.dumps(options, sort_keys=True, default=str), []).append(run)
    labels: dict[str, list[TrialRun]] = {}
    strategies = [group[0].strategy for group in groups.values()]
    for group in groups.values():
        options = dict(group[0].plan.get("options") or {})
        label = group[0].strategy
        if strategies.count(label) > 1 and options:
            label += f" ({', '.join(f'{name}={value}' for name, value in options.items())})"
        if label in labels:
            label += f", {group[0].name}"
        labels[label] = group
    return labels


def _outcomes(groups: Mapping[str, list[TrialRun]]) -> str:
    """The final best value of each strategy, mean ± std over its runs."""
    rows = []
    for label, runs in groups.items():
        ends = [found.best[-1] for run in runs if (found := course(run)).best]
        spread = f" ± {np.std(ends, ddof=1):.3g}" if len(ends) > 1 else ""
        counts = sorted({len(run.evaluated) for run in runs})
        trials = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        mean = precise(float(np.mean(ends))) + spread if ends else "–"
        rows.append(
            f"<tr><td>{escape(label)}</td><td class='n'>{len(runs)}</td><td class='n'>{trials}</td>"
            f"<td class='n'>{escape(mean)}</td></tr>"
        )
    run = next(iter(groups.values()))[0]
    what = "hyper-parameters" if run.tunes else f"{run.config.space.name}, {run.estimator}"
    name = run.objectives[0].name
    columns = "".join(f"<th class='n'>{escape(title)}</th>" for title in ("runs", "trials", f"best {name}"))
    head = f"<tr><th>strategy</th>{columns}</tr>"
    return f"<h3>Best {escape(name)} by strategy: {escape(what)}</h3>{table(rows, head)}"


def _charts(groups: Mapping[str, list[TrialRun]]) -> str:
    first = next(iter(groups.values()))[0]
    name = first.objectives[0].name
    found = {label: [c for run in runs if (c := without_first(course(run))).trials] for label, runs in groups.items()}
    found = {label: courses for label, courses in found.items() if courses}
    if not found:
        return ""
    by_trials = [
        group_series(label, [(c.trials, c.best) for c in courses], i)
        for i, (label, courses) in enumerate(found.items())
    ]
    from_trial = since(*(c for courses in found.values() for c in courses))
    charts = [line_chart(f"Best {name} so far, by trials{from_trial}", by_trials, Scales(name, "evaluated trials"))]
    if all(c.costs for courses in found.values() for c in courses):
        unit, label = cost_axis([c.costs[-1] for courses in found.values() for c in courses], first)
        by_cost = [
            group_series(group, [([x / unit for x in c.costs], c.best) for c in courses], i)
            for i, (group, courses) in enumerate(found.items())
        ]
        charts.append(
            line_chart(f"Best {name} so far, by cost{from_trial}", by_cost, Scales(name, label, x_whole=False))
        )
    return "".join(charts)
