"""The section of a report that compares several runs: numbers, curves, and differences of their settings."""

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from jdarts.analysis import indicators
from jdarts.report.charts import DASHES, Scales, Series, line_chart
from jdarts.report.collapse import judges_cells, recurrent, skips
from jdarts.report.derived_cells import ops_over_seeds
from jdarts.report.outcomes import HEAD, LOOKED_UP, cells, method_name, outcome, skip_series
from jdarts.report.recommendation import recommend
from jdarts.report.records import RunRecord, SearchRecord, by_values, same_but_seed
from jdarts.report.seeds import cost, seeds_table
from jdarts.report.words import duration, percent, plain, table

Points = tuple[Sequence[int], Sequence[float]]
"""Epochs and values."""


def comparison(runs: Sequence[RunRecord], names: Sequence[str], sections: Mapping[Path, str]) -> str:
    """The section that opens a report of several runs; one with swept values has a row for each combination.

    `sections` are the ids of the runs' own sections.
    """
    whole, whole_names = runs, names
    runs, names = by_values(runs, names)
    groups = same_but_seed(runs)
    repeated = [group for group in groups if len(group) > 1]
    parts = [
        f'<section><h2 id="comparison">Comparison</h2>{_table(runs, names, sections)}',
        _outcomes(runs, names),
        _curves(groups, dict(zip(map(id, runs), names, strict=True))),
    ]
    if differences := _differences(whole, whole_names):
        parts.append(f"<h3>Different settings</h3>{differences}")
    for group in repeated:
        label = ", ".join(names[list(runs).index(run)] for run in group)
        tables = seeds_table(list(group)) + ops_over_seeds(group)
        parts.append(f"<h3>Same settings, several seeds</h3><p>{escape(label)}</p>{tables}")
    return "".join([*parts, "</section>"])


def _table(runs: Sequence[RunRecord], names: Sequence[str], sections: Mapping[Path, str]) -> str:
    head = (
        "<tr><th>run</th><th>space</th><th>method</th><th class='n'>seed</th><th class='n'>epochs</th>"
        "<th class='n'>validation accuracy</th><th class='n'>skips, recommended</th><th class='n'>λ max</th>"
        "<th class='n'>test, found</th><th class='n'>test, random</th><th class='n'>parameters</th>"
        "<th class='n'>time in all</th></tr>"
    )
    rows = []
    for run, name in zip(runs, names, strict=True):
        chosen = recommend(run)
        accuracies = [a for a in (s.last("val_accuracy") for s in run.searches) if a is not None]
        eigenvalues = [s.last("dominant_eigenvalue") for s in run.searches]
        eigenvalues = [v for v in eigenvalues if v is not None]
        found, random = (run.summary.get(k) or {} for k in ("found", "random"))
        numbers = [
            str(run.config.seed) if len(run.searches) == 1 else f"{len(run.searches)}\u00a0seeds",
            f"{max(s.epochs for s in run.searches)} / {run.config.search.epochs}",
            percent(float(np.mean(accuracies)) if accuracies else None),
            "{} / {}".format(*skips(chosen.genotype)) if chosen and not chosen.without and not recurrent(run) else "–",
            plain(float(np.mean(eigenvalues)) if eigenvalues else None),
            percent(found.get("test_accuracy")),
            percent(random.get("test_accuracy")),
            f"{found['parameters']:,}" if "parameters" in found else "–",
            duration(spent) if (spent := cost(run)) else "–",
        ]
        cells = "".join(f"<td class='n'>{escape(value)}</td>" for value in numbers)
        rows.append(
            f'<tr><td><a href="#{sections[run.path]}">{escape(name)}</a></td><td>{escape(run.config.space.name)}</td>'
            f"<td>{escape(method_name(run))}</td>{cells}</tr>"
        )
    return table(rows, head)


def _outcomes(runs: Sequence[RunRecord], names: Sequence[str]) -> str:
    """Results over the seeds of each run: the table that `jdarts report --text` prints."""

    def unbroken(cell: str) -> str:
        return cell if ", from" in cell else cell.replace(" ", "\u00a0")  # the card scrolls sideways

    head = "".join(f"<th>{escape(title)}</th>" for title in HEAD)
    rows = [
        "<tr>" + "".join(f"<td>{escape(unbroken(cell))}</td>" for cell in cells(name, outcome(run))) + "</tr>"
        for run, name in zip(runs, names, strict=True)
    ]
    title = "Results, mean ± std over seeds" if any(len(run.searches) > 1 for run in runs) else "Results"
    note = (
        f"Collapsed: more than {indicators.SKIP_SHARE:.0%} of the normal cell's edges are skip connections, from that "
        "epoch to the end. Signs of collapse: earlier epochs of that kind, or a warning during the search."
    )
    return f'<h3>{title}</h3>{table(rows, f"<tr>{head}</tr>")}<p class="soft">{note}</p>'


def _curves(groups: list[list[RunRecord]], names: dict[int, str]) -> str:
    """Charts with a line for each group of runs: its mean over seeds, with a band of one standard deviation."""

    def chart(
        title: str,
        name: str,
        scales: Scales,
        *,
        series: Callable[[SearchRecord], Points] | None = None,
        derived: bool = False,
    ) -> str:
        lines = []
        for i, group in enumerate(groups):
            meaningful = [run for run in group if not derived or judges_cells(run)]
            points = [series(s) if series else s.series(name) for run in meaningful for s in run.searches]
            if points := [p for p in points if p[0]]:
                lines.append(_mean_line(names[id(group[0])], points, scales, i))
        return line_chart(title, lines, scales)

    charts = [
        chart("Validation accuracy of the supernet", "val_accuracy", Scales("accuracy", percent=True)),
        chart("Training loss", "train_loss", Scales("cross-entropy in nats")),
        chart("Validation loss", "val_loss", Scales("cross-entropy in nats")),
        chart(
            "Skip connections, normal cell",
            "",
            Scales("edges of the derived cell", from_zero=True, whole=True),
            series=skip_series,
            derived=True,
        ),
        chart(
            "Test accuracy of the derived cell, looked up",
            LOOKED_UP,
            Scales("CIFAR-10 accuracy", percent=True),
            derived=True,
        ),
        chart("Entropy of the alphas", "relative_entropy", Scales("share of ln(ops)")),
        chart("Lead of skip connections over the best learnable op", "skip_dominance", Scales("mean op weight")),
        chart(
            "Largest eigenvalue of the alpha-Hessian", "dominant_eigenvalue", Scales("λ max of ∂²L/∂α²", from_zero=True)
        ),
    ]
    return f'<div class="charts">{"".join(charts)}</div>'


def _mean_line(name: str, searches: Sequence[Points], scales: Scales, index: int) -> Series:
    """The mean of several searches with a band of one standard deviation; a single search unchanged."""
    by_epoch: dict[int, list[float]] = {}
    for points in searches:
        for epoch, value in zip(*points, strict=True):
            by_epoch.setdefault(epoch, []).append(value)
    epochs = sorted(by_epoch)
    mean = np.array([np.mean(by_epoch[e]) for e in epochs])
    style = f"s{index % 8}", (index + index // 8) % len(DASHES)  # 32 runs differ in colour or dash
    if len(searches) == 1:
        return Series(name, epochs, mean.tolist(), *style)
    spread = np.array([np.std(by_epoch[e], ddof=1) if len(by_epoch[e]) > 1 else 0.0 for e in epochs])
    least = 0.0 if scales.percent or scales.from_zero else -np.inf
    most = 1.0 if scales.percent else np.inf
    band = np.clip(mean - spread, least, None).tolist(), np.clip(mean + spread, None, most).tolist()
    return Series(f"{name} (mean ± std of {len(searches)})", epochs, mean.tolist(), *style, *band)


def _differences(runs: Sequence[RunRecord], names: Sequence[str]) -> str:
    options = [run.options for run in runs]
    keys = dict.fromkeys(key for o in options for key in o)
    rows = []
    for key in keys:
        values = [o.get(key) for o in options]
        if key not in ("name", "seed") and any(value != values[0] for value in values):
            cells = "".join(f"<td>{escape(json.dumps(value, ensure_ascii=False))}</td>" for value in values)
            rows.append(f"<tr><td>{escape(key)}</td>{cells}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    return table(rows, f"<tr><th>setting</th>{head}</tr>") if rows else ""
