"""The page of a training of one genotype: score, curves, drawing, cost, configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from jdarts.config import Experiment, as_dict
from jdarts.errors import UserError
from jdarts.genotypes import parse_architecture
from jdarts.report.charts import Scales, Series, line_chart
from jdarts.report.records import SearchRecord, flat, read_json, read_run
from jdarts.report.run_sections import configuration, drawing, section, test_score
from jdarts.report.words import duration, percent, table
from jdarts.runs.folder import RunFolder

SECTIONS = (("curves", "Curves"), ("network", "Network"), ("configuration", "Configuration"))


@dataclass(frozen=True)
class TrainingRun:
    """A run folder of `jdarts train` as read.

    Attributes:
      record: the finished epochs.
      result: `result.json`, which a training writes at its end; empty before.
      environment: `environment.json`.
      problems: one line for each file that could not be read.
    """

    path: Path
    config: Experiment
    record: SearchRecord
    result: Mapping[str, Any]
    environment: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def finished(self) -> bool:
        """True if the network has been tested."""
        return bool(self.result)

    @property
    def seconds(self) -> float:
        """Wall time of the recorded epochs."""
        return sum(self.record.series("seconds")[1])

    @property
    def epochs(self) -> int:
        """The number of epochs that the training is to have."""
        text = any("train_perplexity" in line for line in self.record.metrics)
        return self.config.language_train.epochs if text else self.config.train.epochs


def read_training(folder: Path) -> TrainingRun:
    """The training in a run folder; damaged records become `problems`."""
    run = read_run(folder)
    problems = list(run.problems)
    try:
        metrics = RunFolder(folder).records("metrics")
    except (UserError, OSError) as error:
        metrics, problems = [], [*problems, str(error)]
    result = read_json(folder / "result.json", problems)
    return TrainingRun(run.path, run.config, SearchRecord(0, metrics, []), result, run.environment, problems)


def training_sections(run: TrainingRun, prefix: str = "") -> str:
    """All sections of the page; ids start with `prefix`."""
    problems = "".join(f'<div class="card warning"><b>Not readable:</b> {escape(p)}</div>' for p in run.problems)
    facts = {**flat(run.environment), "time": duration(run.seconds), "folder": str(run.path)}
    return "".join(
        [
            problems,
            _summary(run),
            section(prefix, "curves", "Curves", _curves(run)),
            section(prefix, "network", "Network", _network(run)),
            section(prefix, "configuration", "Configuration and environment", configuration(_options(run), facts)),
        ]
    )


def training_text(runs: Sequence[TrainingRun], names: Sequence[str]) -> str:
    """The results as a Markdown table."""
    lines = ["| training | test score | parameters | MACs | time |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in _rows(runs, names))])


def training_comparison(runs: Sequence[TrainingRun], names: Sequence[str], sections: Mapping[Path, str]) -> str:
    """The results as a table of a page; `sections` are the anchors of the runs."""
    head = "<tr><th>training</th><th>test score</th><th>parameters</th><th>MACs</th><th>time</th></tr>"
    rows = [head]
    for run, (name, *values) in zip(runs, _rows(runs, names), strict=True):
        link = f'<a href="#{sections[run.path]}">{escape(name)}</a>'
        rows.append(f"<tr><td>{link}</td>{''.join(f'<td>{escape(value)}</td>' for value in values)}</tr>")
    return f"<section><h2>Trainings</h2>{table(rows)}</section>"


def _rows(runs: Sequence[TrainingRun], names: Sequence[str]) -> list[list[str]]:
    rows = []
    for run, name in zip(runs, names, strict=True):
        score, value = test_score(dict(run.result))
        sizes = [f"{run.result[size]:,}" if size in run.result else "–" for size in ("parameters", "macs")]
        rows.append([name, f"{value} ({score})" if run.finished else "not finished", *sizes, duration(run.seconds)])
    return rows


def _summary(run: TrainingRun) -> str:
    facts = [(f"{run.record.epochs} of {run.epochs}", "epochs trained")]
    if run.finished:
        score, value = test_score(dict(run.result))
        facts.append((value, score))
        top5 = run.result.get("test_top5_accuracy")
        facts += [] if top5 is None else [(percent(top5), "test accuracy, top 5")]
        facts += [(f"{run.result[name]:,}", what) for name, what in (("parameters", "parameters"), ("macs", "MACs"))]
    facts.append((duration(run.seconds), "computing time"))
    shown = "".join(f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>" for value, what in facts)
    waiting = "" if run.finished else '<p class="soft">The network is tested once, after the last epoch.</p>'
    return f'<div class="facts">{shown}</div>{waiting}'


def _curves(run: TrainingRun) -> str:
    kinds = (
        ("Loss", "loss", Scales("cross-entropy in nats")),
        ("Accuracy", "accuracy", Scales("accuracy", percent=True)),
        ("Perplexity", "perplexity", Scales("perplexity")),
    )
    charts = []
    for title, kind, scales in kinds:
        names = {"training": (f"train_{kind}", kind), "validation": (f"val_{kind}",)}
        lines = [
            Series(label, *next((run.record.series(n) for n in found if run.record.series(n)[0]), ([], [])), f"s{i}", i)
            for i, (label, found) in enumerate(names.items())
        ]
        charts.append(line_chart(title, lines, scales))
    times = Series("an epoch", *run.record.series("seconds"), "s0")
    charts.append(line_chart("Time", [times], Scales("seconds", from_zero=True)))
    shown = "".join(charts)
    return f'<div class="charts">{shown}</div>' if shown else ""


def _network(run: TrainingRun) -> str:
    text = run.result.get("genotype")
    if not isinstance(text, str):
        return ""
    try:
        drawn = drawing(parse_architecture(text))  # pyright: ignore[reportArgumentType]
    except UserError as error:
        drawn = f'<p class="soft">No drawing: {escape(str(error))}</p>'
    return f"{drawn}<p><code>{escape(text)}</code></p>"


def _options(run: TrainingRun) -> dict[str, Any]:
    return flat(as_dict(run.config))
