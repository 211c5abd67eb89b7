"""The sections of a run by trials in a report: recommendation, best architectures, course, decisions, settings."""

from collections import Counter
from html import escape
from typing import Any

from jdarts.errors import UserError
from jdarts.genotypes import parse_architecture
from jdarts.report.records import flat
from jdarts.report.run_sections import configuration, drawing, section
from jdarts.report.trials.best_so_far import curves, spent
from jdarts.report.trials.controller import STRATEGIES, controller_curves
from jdarts.report.trials.front import front, front_section, trials_table
from jdarts.report.trials.parallel import parallel_view, ranked_trials
from jdarts.report.trials.record import FAIL, PRUNED, TrialRun
from jdarts.report.trials.tuned import tuned_parameters
from jdarts.report.words import duration, precise

_DRAWN = 3
_LISTED = 10


def anchors(run: TrialRun) -> list[tuple[str, str]]:
    """`(id, title)` of the sections."""
    found = [("best", "Best trials" if run.tunes else "Best architectures"), ("curves", "Best so far")]
    if len(run.objectives) > 1:
        found.append(("front", "Pareto front"))
    if run.tunes:
        found.append(("parameters", "Parameters"))
    found.append(("decisions", "Values of the trials" if run.tunes else "Decisions"))
    if run.strategy in STRATEGIES and not run.tunes:
        found.append(("controller", "Controller"))
    return [*found, ("configuration", "Configuration and environment")]


def trial_sections(run: TrialRun, prefix: str = "") -> str:
    """All sections of a run; ids start with `prefix`."""
    bodies = {
        "best": _best(run),
        "curves": curves(run),
        "front": front_section(run),
        "parameters": tuned_parameters(run),
        "decisions": parallel_view(run),
        "controller": controller_curves(run),
        "configuration": configuration(run.options, {**flat(run.environment), "folder": str(run.path)}),
    }
    shown = "".join(section(prefix, name, title, bodies[name]) for name, title in anchors(run))
    return _cards(run) + _summary(run) + shown


def description(run: TrialRun) -> str:
    """The search in a sentence: strategy, space, estimator, objectives, budget, pruner, seed."""
    plan = run.plan
    options = ", ".join(f"{name} {value}" for name, value in dict(plan.get("options") or {}).items())
    strategy = f"{run.strategy} ({options})" if options else run.strategy
    goal = ", ".join(f"{'maximise' if o.maximize else 'minimise'} {o.name}" for o in run.objectives)
    if run.tunes:
        parts = [f"sampler {strategy}", f"{len(plan.get('vary', ()))} parameters", f"each trial: {run.estimator}"]
    else:
        parts = [f"strategy {strategy}", f"space {run.config.space.name}", f"estimator {run.estimator}"]
    parts.append(goal)
    if plan.get("budget"):
        parts.append("budget " + ", ".join(f"{name} {value:g}" for name, value in plan["budget"].items()))
    if plan.get("pruner", "none") != "none":
        parts.append(f"pruner {plan['pruner']}")
    return "; ".join([*parts, f"seed {run.config.seed}"])


def wall_time(run: TrialRun) -> float | None:
    """Seconds from the first start of a trial to the last end, breaks included; None if the times are not recorded."""
    starts = [trial["started"] for trial in run.trials if trial.get("started") is not None]
    ends = [trial["finished"] for trial in run.trials if trial.get("finished") is not None]
    return max(ends) - min(starts) if starts and ends else None


def most_at_once(run: TrialRun) -> int:
    """The largest number of finished trials that ran at the same time: the workers that had work."""
    known = [t for t in run.trials if t.get("started") is not None and t.get("finished") is not None]
    moments = sorted([(t["started"], 1) for t in known] + [(t["finished"], -1) for t in known])
    now = most = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def _cards(run: TrialRun) -> str:
    """Problems in reading the run, and in its trials."""
    cards = [("Not readable:", problem) for problem in run.problems]
    if failed := [trial["number"] for trial in run.trials if trial["state"] == FAIL]:
        plural = "trial" if len(failed) == 1 else "trials"
        numbers = ", ".join(map(str, failed[:10])) + (", …" if len(failed) > 10 else "")
        cards.append((f"{len(failed)} {plural} failed:", f"number {numbers}{_reasons(run, FAIL)}. They do not count."))
    notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in run.notes)
    return notes + "".join(
        f'<div class="card warning"><b>{escape(title)}</b> {escape(text)}</div>' for title, text in cards
    )


def _reasons(run: TrialRun, state: str) -> str:
    """The most frequent reasons of trials in a state, as the end of a sentence."""
    found = Counter(trial["reason"] for trial in run.trials if trial["state"] == state and trial.get("reason"))
    return "".join(f"; {count} × {reason}" for reason, count in found.most_common(3))


def _summary(run: TrialRun) -> str:
    facts = [(f"{len(run.evaluated)} of {run.total}", "trials evaluated")]
    facts += [(str(run.count(PRUNED)), "trials pruned")] if run.count(PRUNED) else []
    facts += [(str(run.count(FAIL)), "trials failed")] if run.count(FAIL) else []
    facts += [(str(run.running), "trials running or cut off")] if run.running else []
    if ranked := ranked_trials(run):
        for i, objective in enumerate(run.objectives):
            values = [run.point(trial)[i] for trial in ranked]
            facts.append((precise((max if objective.maximize else min)(values)), f"best {objective.name}"))
    costs = [spent(trial) for trial in run.trials]
    if any(trial.get("cost") is not None for trial in run.trials):
        facts.append((duration(sum(costs)), f"{'simulated ' if run.estimator == 'table' else ''}cost of the trials"))
    if (elapsed := wall_time(run)) is not None:
        facts.append((duration(elapsed), "from the first start to the last end"))
        if elapsed > 0:
            facts.append((f"{3600 * len(run.evaluated) / elapsed:,.0f}", "trials an hour"))
        facts.append((str(most_at_once(run)), "trials at once, at most"))
    shown = "".join(f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>" for value, what in facts)
    head = f'<p>{escape(description(run))}.</p><div class="facts">{shown}</div>'
    return head + _recommendation(run, ranked)


def _recommendation(run: TrialRun, ranked: list[dict[str, Any]]) -> str:
    if not ranked:
        waiting = "No trial has finished yet." if not run.trials else "No trial has a result."
        return f'<p class="soft">{waiting}{escape(_reasons(run, PRUNED))}</p>'
    best, names = ranked[0], [objective.name for objective in run.objectives]
    values = run.point(best)
    if len(names) > 1:
        number = len(front(run))
        title = f"Recommended: one of the {number} architectures on the Pareto front"
        reasons = [
            f"For each of them, no other of the {len(ranked)} complete trials is better in one objective and at least "
            f"as good in the others ({', '.join(names)}).",
            f"Shown here: trial {best['number']}, the best in {names[0]}.",
        ]
    else:
        title = f"Recommended: the {'values' if run.tunes else 'architecture'} of trial {best['number']}"
        word = "highest" if run.objectives[0].maximize else "lowest"
        reasons = [f"It has the {word} {names[0]} of {len(ranked)} complete trials: {precise(values[0])}."]
        if len(ranked) > 1:
            second = run.point(ranked[1])[0]
            reasons.append(f"The next one, trial {ranked[1]['number']}, has {precise(second)}.")
    scores = {**best["objectives"], **best["score"]}
    reasons.append("Its scores: " + ", ".join(f"{name} {precise(value)}" for name, value in scores.items()) + ".")
    if not run.finished:
        reasons.append(f"The run has {len(run.evaluated)} of {run.total} trials; more may change the result.")
    items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    text = (
        " ".join(f"--{name} {value}" for name, value in best["params"].items())
        if run.tunes
        else str(best.get("architecture") or best["params"])
    )
    return f'<div class="card"><h3>{escape(title)}</h3><ul>{items}</ul><p><code>{escape(text)}</code></p></div>'


def _best(run: TrialRun) -> str:
    """Drawings of the best architectures, and the ten best trials; for several objectives those of the front."""
    ranked = ranked_trials(run)
    if not ranked:
        return ""
    several = len(run.objectives) > 1
    chosen = _spread(front(run)) if several else _different(ranked)
    parts = []
    for place, trial in enumerate(chosen):
        values = ", ".join(f"{name} {precise(value)}" for name, value in trial["objectives"].items())
        title = f"Trial {trial['number']}: {escape(values)}"
        drawn = draw(str(trial["architecture"]))
        if place == 0:
            parts.append(f"<h3>{title}</h3>{drawn}")
        else:
            parts.append(f"<details><summary>{title}</summary>{drawn}</details>")
    listed = "" if several else f"<h3>The best trials</h3>{trials_table(run, ranked[:_LISTED])}"
    return "".join(parts) + listed


def _different(ranked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first trials with different architectures."""
    first: dict[str, dict[str, Any]] = {}
    for trial in ranked:
        if trial.get("architecture"):
            first.setdefault(trial["architecture"], trial)
    return list(first.values())[:_DRAWN]


def _spread(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first, the middle and the last trial that has an architecture."""
    known = [trial for trial in trials if trial.get("architecture")]
    places = sorted({0, len(known) // 2, len(known) - 1}) if known else []
    return [known[i] for i in places]


def draw(architecture: str) -> str:
    """The drawing of an architecture from its text; the text itself if it has no cells."""
    try:
        genotype = parse_architecture(architecture)
    except UserError:
        return f'<div class="card"><code>{escape(architecture)}</code></div>'
    return drawing(genotype)
