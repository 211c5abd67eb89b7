"""Several runs side by side: numbers, curves, and in what their configurations differ."""

import json
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np

from jdarts.report.charts import Series, line_chart
from jdarts.report.outcomes import HEAD, LOOKED_UP, cells, method_name, never_moves, outcome, skip_series
from jdarts.report.recommendation import MOST_SKIPS, recommend, skips
from jdarts.report.records import RunRecord, SearchRecord, same_but_seed
from jdarts.report.run_sections import cost, seeds_table
from jdarts.report.words import duration, percent, plain, table

DASHES = ("", "6 4", "2 3", "9 3 2 3")


def comparison(runs: Sequence[RunRecord], names: Sequence[str]) -> str:
    """The section that opens a report of several runs."""
    groups = same_but_seed(runs)
    repeated = [group for group in groups if len(group) > 1]
    parts = [
        f'<section><h2 id="comparison">Comparison</h2>{_table(runs, names)}',
        _outcomes(runs, names),
        _curves(groups, dict(zip(map(id, runs), names, strict=True))),
    ]
    if len(groups) > 1:
        parts.append(f"<h3>Different settings</h3>{_differences(runs, names)}")
    for group in repeated:
        label = ", ".join(names[list(runs).index(run)] for run in group)
        parts.append(f"<h3>Same settings, several seeds</h3><p>{escape(label)}</p>{seeds_table(list(group))}")
    return "".join([*parts, "</section>"])


def _table(runs: Sequence[RunRecord], names: Sequence[str]) -> str:
    head = (
        "<tr><th>run</th><th>space</th><th>method</th><th class='n'>seed</th><th class='n'>epochs</th>"
        "<th class='n'>validation accuracy</th><th class='n'>skips</th><th class='n'>λ max</th>"
        "<th class='n'>test, found</th><th class='n'>test, random</th><th class='n'>parameters</th>"
        "<th class='n'>time</th></tr>"
    )
    rows = []
    for i, (run, name) in enumerate(zip(runs, names, strict=True)):
        chosen = recommend(run)
        accuracies = [a for a in (s.last("val_accuracy") for s in run.searches) if a is not None]
        eigenvalues = [s.last("dominant_eigenvalue") for s in run.searches]
        eigenvalues = [v for v in eigenvalues if v is not None]
        found, random = (run.summary.get(k) or {} for k in ("found", "random"))
        numbers = [
            str(run.config.seed) if len(run.searches) == 1 else f"{len(run.searches)}\u00a0seeds",
            f"{max(s.epochs for s in run.searches)} / {run.config.search.epochs}",
            percent(float(np.mean(accuracies)) if accuracies else None),
            "{} / {}".format(*skips(chosen.genotype)) if chosen else "–",
            plain(float(np.mean(eigenvalues)) if eigenvalues else None),
            percent(found.get("test_accuracy")),
            percent(random.get("test_accuracy")),
            f"{found['parameters']:,}" if "parameters" in found else "–",
            duration(cost(run)),
        ]
        cells = "".join(f"<td class='n'>{escape(value)}</td>" for value in numbers)
        rows.append(
            f'<tr><td><a href="#run-{i}">{escape(name)}</a></td><td>{escape(run.config.space.name)}</td>'
            f"<td>{escape(method_name(run))}</td>{cells}</tr>"
        )
    return table(rows, head)


def _outcomes(runs: Sequence[RunRecord], names: Sequence[str]) -> str:
    """Results over the seeds of each run; what `jdarts report --text` prints."""

    def unbroken(cell: str) -> str:
        return cell if ", from" in cell else cell.replace(" ", "\u00a0")  # the card scrolls sideways

    head = "".join(f"<th>{escape(title)}</th>" for title in HEAD)
    rows = [
        "<tr>" + "".join(f"<td>{escape(unbroken(cell))}</td>" for cell in cells(name, outcome(run))) + "</tr>"
        for run, name in zip(runs, names, strict=True)
    ]
    note = f"Collapsed: more than {MOST_SKIPS:.0%} of the normal cell's edges are skips from that epoch to the end."
    return f'<h3>Results, mean ± std over seeds</h3>{table(rows, f"<tr>{head}</tr>")}<p class="soft">{note}</p>'


def _curves(groups: list[list[RunRecord]], names: dict[int, str]) -> str:
    """Every group of runs as a line: its mean over seeds, with a band of one standard deviation."""

    def chart(
        title: str, name: str, series: Callable[..., Any] = SearchRecord.series, derived: bool = False, **options
    ) -> str:
        lines = []
        share = options.get("percent", False)
        least, most = 0.0 if share or options.get("from_zero") else -np.inf, 1.0 if share else np.inf
        for i, group in enumerate(groups):
            told = [run for run in group if not (derived and never_moves(run))]
            searches = [s for run in told for s in run.searches if series(s, name)[0]]
            if not searches:
                continue
            by_epoch: dict[int, list[float]] = {}
            for search in searches:
                for epoch, value in zip(*series(search, name), strict=True):
                    by_epoch.setdefault(epoch, []).append(value)
            epochs = sorted(by_epoch)
            mean = [float(np.mean(by_epoch[e])) for e in epochs]
            spread = [float(np.std(by_epoch[e], ddof=1)) if len(by_epoch[e]) > 1 else 0.0 for e in epochs]
            label = (
                names[id(group[0])] if len(searches) == 1 else f"{names[id(group[0])]} (mean ± std of {len(searches)})"
            )
            band = {}
            if len(searches) > 1:
                band = {
                    "low": [max(m - s, least) for m, s in zip(mean, spread, strict=True)],
                    "high": [min(m + s, most) for m, s in zip(mean, spread, strict=True)],
                }
            lines.append(Series(label, epochs, mean, f"s{i % 8}", DASHES[i % 4], **band))
        if len(lines) == 1:
            lines.append(Series("", [], []))
        return line_chart(title, lines, **options)

    charts = [
        chart("Validation accuracy", "val_accuracy", percent=True, y_label="supernet"),
        chart("Validation loss", "val_loss", y_label="cross-entropy, nats"),
        chart(
            "Skip connections, normal cell",
            "skip_connections",
            lambda search, name: skip_series(search),
            derived=True,
            from_zero=True,
            whole=True,
            y_label="derived edges",
        ),
        chart(
            "Test accuracy of the derived cell", LOOKED_UP, derived=True, percent=True, y_label="looked up, CIFAR-10"
        ),
        chart("Entropy of the alphas", "relative_entropy", y_label="share of ln(ops)"),
        chart("Lead of skip", "skip_dominance", y_label="skip − best learnable op"),
        chart("Dominant eigenvalue", "dominant_eigenvalue", from_zero=True, y_label="λ max of ∂²L/∂α²"),
    ]
    return f'<div class="charts">{"".join(charts)}</div>'


def _differences(runs: Sequence[RunRecord], names: Sequence[str]) -> str:
    options = [run.options for run in runs]
    keys = dict.fromkeys(key for o in options for key in o)
    rows = []
    for key in keys:
        values = [o.get(key) for o in options]
        if key != "name" and any(value != values[0] for value in values):
            cells = "".join(f"<td>{escape(json.dumps(value, ensure_ascii=False))}</td>" for value in values)
            rows.append(f"<tr><td>{escape(key)}</td>{cells}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    return table(rows, f"<tr><th>setting</th>{head}</tr>")
