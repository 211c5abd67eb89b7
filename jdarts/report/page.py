"""The HTML report of one or several runs: one static file without scripts or external resources."""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TypeVar

from jdarts import __version__
from jdarts.report.comparison import comparison
from jdarts.report.records import RunRecord, read_run
from jdarts.report.run_sections import run_sections
from jdarts.report.style import CSS
from jdarts.report.training import SECTIONS as TRAINING_SECTIONS
from jdarts.report.training import TrainingRun, read_training, training_comparison, training_sections
from jdarts.report.trials.comparison import trial_comparison
from jdarts.report.trials.record import TrialRun, is_trial_run, read_trial_run
from jdarts.report.trials.sections import anchors, trial_sections
from jdarts.runs.kinds import Kind, find_run, kind_of

_SECTIONS = (
    ("cells", "Cells"),
    ("curves", "Curves"),
    ("alphas", "Alphas"),
    ("history", "Genotypes"),
    ("seeds", "Seeds"),
    ("configuration", "Configuration"),
)


AnyRun = RunRecord | TrialRun | TrainingRun
Run = TypeVar("Run")
Named = tuple[list[Run], list[str]]
"""Runs and their names."""


def render(runs: Sequence[AnyRun], *, refresh: int | None = None) -> str:
    """The whole document. `refresh`: seconds after which a browser reloads the file, for running searches."""
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs compared"
    meta = f'<meta http-equiv="refresh" content="{refresh}"/>' if refresh else ""
    names = unique_names(runs)
    body = [] if len(runs) == 1 else _comparisons(runs, names)
    for i, run in enumerate(runs):
        prefix = f"r{i}-" if len(runs) > 1 else ""
        if len(runs) > 1:
            body.append(f'<h2 id="run-{i}" class="run">{escape(names[i])}</h2>')
        body.append(_sections(run, prefix))
    links = [(f"run-{i}", name) for i, name in enumerate(names)] if len(runs) > 1 else _links(runs[0])
    items = "".join(f'<li><a href="#{anchor}">{escape(text)}</a></li>' for anchor, text in links)
    state = "" if all(run.finished for run in runs) else " · still running or cut off"
    kind = _kind(runs)
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f'{meta}<title>{escape(title)} · jdarts</title><link rel="icon" href="data:,"/>'
        f"<style>{CSS}</style></head><body>"
        f'<header><h1>{escape(title)}</h1><p class="soft">{kind} report{state}</p>'
        f"<nav><ul>{items}</ul></nav></header>"
        f"<main>{''.join(body)}<footer>Written {escape(now)} by jdarts {__version__}.</footer></main></body></html>\n"
    )


def read(path: str | Path) -> AnyRun:
    """The run folder at `path`, of a search of any kind or of a training; raises `UserError` if it holds none."""
    folder = find_run(path)
    if kind_of(folder) is Kind.TRAINING:
        return read_training(folder)
    return read_trial_run(folder) if is_trial_run(folder) else read_run(folder)


def by_kind(runs: Sequence[AnyRun], names: Sequence[str]) -> tuple[Named[RunRecord], Named[TrialRun]]:
    """The runs of a relaxation and those by trials, each as `(runs, names)`."""
    relaxed: Named[RunRecord] = ([], [])
    by_trials: Named[TrialRun] = ([], [])
    for run, name in zip(runs, names, strict=True):
        if isinstance(run, TrialRun):
            by_trials[0].append(run)
            by_trials[1].append(name)
        elif isinstance(run, RunRecord):
            relaxed[0].append(run)
            relaxed[1].append(name)
    return relaxed, by_trials


def _comparisons(runs: Sequence[AnyRun], names: Sequence[str]) -> list[str]:
    relaxed, by_trials = by_kind(runs, names)
    sections = {run.path: f"run-{i}" for i, run in enumerate(runs)}
    parts = [comparison(*relaxed, sections)] if relaxed[0] else []
    parts += [trial_comparison(*by_trials, sections)] if by_trials[0] else []
    trained = trainings(runs, names)
    return parts + ([training_comparison(*trained, sections)] if trained[0] else [])


def trainings(runs: Sequence[AnyRun], names: Sequence[str]) -> Named[TrainingRun]:
    """The trainings of one genotype among `runs`, as `(runs, names)`."""
    found = [(run, name) for run, name in zip(runs, names, strict=True) if isinstance(run, TrainingRun)]
    return [run for run, _ in found], [name for _, name in found]


def _sections(run: AnyRun, prefix: str) -> str:
    if isinstance(run, TrainingRun):
        return training_sections(run, prefix)
    return trial_sections(run, prefix) if isinstance(run, TrialRun) else run_sections(run, prefix)


def _links(run: AnyRun) -> Sequence[tuple[str, str]]:
    """The headings of the page of one run."""
    if isinstance(run, TrainingRun):
        return TRAINING_SECTIONS
    return anchors(run) if isinstance(run, TrialRun) else _SECTIONS


def _kind(runs: Sequence[AnyRun]) -> str:
    if all(isinstance(run, TrainingRun) for run in runs):
        return "Training"
    tunes = all(isinstance(run, TrialRun) and run.tunes for run in runs)
    return "Hyper-parameter search" if tunes else "Architecture search"


def unique_names(runs: Sequence[AnyRun]) -> list[str]:
    """The names of the runs' folders; equal names include the parent folder."""
    names = [run.name for run in runs]
    return [
        name if names.count(name) == 1 else "/".join(run.path.parts[-2:]) for run, name in zip(runs, names, strict=True)
    ]
