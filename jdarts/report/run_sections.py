"""The sections of one run in a report, in the order in which a person asks: what to take, what happened, with what."""

import json
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from jdarts.analysis import indicators
from jdarts.analysis.live import known_method, known_space
from jdarts.config import Experiment, as_dict
from jdarts.errors import UserError
from jdarts.genotype import Genotype, parse
from jdarts.report.analysis_section import analysis_section
from jdarts.report.cell_drawing import draw_svg
from jdarts.report.charts import Series, heat_map, line_chart, scale_bar
from jdarts.report.recommendation import recommend, skips
from jdarts.report.records import RunRecord, SearchRecord, flat, genotype_changes
from jdarts.report.words import duration, mean_std, percent, plain, table
from jdarts.spaces.edges import EDGES_SUFFIX

CELL_NAMES = {"normal": "Normal cell", "reduce": "Reduction cell"}


def run_sections(run: RunRecord, prefix: str = "") -> str:
    """All sections of a run; ids start with `prefix`."""
    search = _shown(run)
    parts = [
        _problems(run),
        _summary(run),
        _warnings(run),
        _section(prefix, "cells", "Recommended cells", _cells(run)),
        _section(prefix, "curves", "Curves", _curves(run, search)),
        _section(prefix, "alphas", "Op weights over the epochs", _alphas(run, search)),
        _section(prefix, "history", "Genotype history", _history(search)),
        _section(prefix, "seeds", "Seeds", seeds_table([run])),
        analysis_section(run),
        _section(prefix, "configuration", "Configuration and environment", _configuration(run)),
    ]
    return "".join(parts)


def _section(prefix: str, name: str, title: str, body: str) -> str:
    body = body or '<p class="soft">Nothing recorded yet.</p>'
    return f'<section><h2 id="{prefix}{name}">{title}</h2>{body}</section>'


def _shown(run: RunRecord) -> SearchRecord:
    """The search whose curves are shown: that of the recommended seed."""
    chosen = recommend(run)
    return chosen.search if chosen else run.searches[0]


def _problems(run: RunRecord) -> str:
    return "".join(f'<div class="card warning"><b>Not readable.</b> {escape(p)}</div>' for p in run.problems)


def _summary(run: RunRecord) -> str:
    chosen, search = recommend(run), _shown(run)
    facts = [
        (f"{search.epochs} of {run.config.search.epochs}", "epochs searched"),
        (percent(search.last("val_accuracy")), "supernet validation accuracy"),
    ]
    for name in ("found", "random"):
        if isinstance(run.summary.get(name), dict):
            facts.append((percent(run.summary[name].get("test_accuracy")), f"test accuracy, {name} cell"))
    if isinstance(run.summary.get("found"), dict):
        facts.append((f"{run.summary['found'].get('parameters', 0):,}", "parameters, found cell"))
    if chosen:
        facts.append(("{} of {}".format(*skips(chosen.genotype)), "skips in the normal cell"))
    if (value := search.last("dominant_eigenvalue")) is not None:
        facts.append((f"{value:.3g}", "largest alpha-Hessian eigenvalue"))
    facts.append((duration(cost(run)), "computing time"))
    shown = "".join(f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>" for value, what in facts)
    if chosen is None:
        return f'<div class="facts">{shown}</div><p class="soft">No epoch is finished yet.</p>'
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in chosen.reasons)
    text = escape(chosen.genotype.to_text())
    return (
        f'<div class="facts">{shown}</div><div class="card"><h3>Recommended: the genotype of epoch {chosen.epoch}, '
        f"seed {escape(chosen.search.label)}</h3><ul>{reasons}</ul><p><code>{text}</code></p></div>"
    )


def _warnings(run: RunRecord) -> str:
    cards = []
    for search in run.searches:
        for record in search.metrics:
            for warning in record.get("warnings") or ():
                seed = f", seed {escape(search.label)}" if len(run.searches) > 1 else ""
                cards.append(
                    f'<div class="card warning"><b>Epoch {record["epoch"]}{seed}.</b> '
                    f"{escape(str(warning.get('text')))}</div>"
                )
    return "".join(cards)


def _cells(run: RunRecord) -> str:
    chosen = recommend(run)
    return "" if chosen is None else drawing(chosen.genotype)


def drawing(genotype: Genotype) -> str:
    """The cells as inline SVG on the page's own background."""
    svg = draw_svg(genotype).replace('<rect width="100%" height="100%" fill="#ffffff"/>', "")
    return f'<div class="card scroll drawing">{svg}</div>'


def _curves(run: RunRecord, search: SearchRecord) -> str:
    marks = [(record["epoch"], w["text"]) for record in search.metrics for w in record.get("warnings") or ()]

    def chart(title: str, names: dict[str, str], **options: Any) -> str:
        lines = [
            Series(label, *search.series(name), style=f"s{i}", dash="5 4" if i else "")
            for i, (name, label) in enumerate(names.items())
        ]
        return line_chart(title, lines, marks=marks, **options)

    charts = [
        chart("Loss", {"train_loss": "training", "val_loss": "validation"}, y_label="cross-entropy, nats"),
        chart(
            "Accuracy", {"train_accuracy": "training", "val_accuracy": "validation"}, percent=True, y_label="supernet"
        ),
        _op_counts(search),
        chart(
            "Decidedness",
            {"relative_entropy": "entropy / ln(ops)", "margin": "margin, best − second"},
            from_zero=True,
            y_label="mean over edges",
        ),
        chart(
            "Lead of skip", {"skip_dominance": "skip − best learnable op"}, y_label="op weight, mean over normal edges"
        ),
        chart(
            "Dominant eigenvalue",
            {"dominant_eigenvalue": "λ max"},
            from_zero=True,
            y_label="of ∂²L/∂α², validation",
        ),
        _spectrum(search),
        chart("Time an epoch", {"seconds": "seconds"}, from_zero=True, y_label="seconds"),
    ]
    for name, records in run.trainings.items():
        training = SearchRecord(0, records, [])
        lines = [Series("training", *training.series("train_accuracy"), "s0")]
        if training.series("val_accuracy")[0]:
            lines.append(Series("validation", *training.series("val_accuracy"), "s1", dash="5 4"))
        charts.append(line_chart(f"Retraining, {name} cell", lines, percent=True, y_label="accuracy"))
    shown = "".join(charts)
    return f'<div class="charts">{shown}</div>' if shown else ""


def _op_counts(search: SearchRecord) -> str:
    lines = []
    for i, (cell, label) in enumerate((("normal", "normal cell"), ("reduce", "reduction cell"))):
        epochs, counts = [], []
        for record in search.genotypes:
            counted = indicators.op_counts(parse(record["genotype"]))
            if cell in counted:
                epochs.append(record["epoch"])
                counts.append(counted[cell].get("skip_connect", 0))
        lines.append(Series(label, epochs, counts, f"s{i}", dash="5 4" if i else ""))
    return line_chart("Skip connections", lines, from_zero=True, whole=True, y_label="edges of the derived cell")


def _spectrum(search: SearchRecord) -> str:
    """Some ranks of the eigenvalue spectrum over the epochs."""
    rows = [(r["epoch"], r["alpha_hessian_eigenvalues"]) for r in search.metrics if r.get("alpha_hessian_eigenvalues")]
    if not rows:
        return ""
    n = len(rows[0][1])
    ranks = {"largest": 0, "5th": 4, "20th": 19, "smallest": n - 1}
    lines = [
        Series(
            name,
            [e for e, _ in rows],
            [values[k] for _, values in rows],
            f"s{i}",
            dash=("", "5 4", "2 3", "8 3 2 3")[i],
        )
        for i, (name, k) in enumerate(ranks.items())
        if k < n
    ]
    return line_chart("Eigenvalues by rank", lines, y_label=f"of the {n} × {n} alpha-Hessian")


def _alphas(run: RunRecord, search: SearchRecord) -> str:
    records = [r for r in search.genotypes if isinstance(r.get("alphas"), dict)]
    if not records:
        return ""
    tables, edges, relax = _of_space(run.path, run.config)
    epochs = [r["epoch"] for r in records]
    weights = [relax(r["alphas"]) for r in records]
    parts, charts = [], []
    for cell in (name for name in records[0]["alphas"] if not name.endswith(EDGES_SUFFIX)):
        named = CELL_NAMES.get(cell) or cell.capitalize()
        values = np.array([np.asarray(p[cell], np.float64) for p in weights])  # [epochs, edges, ops]
        table = tables.get(cell) or [[f"op {k}" for k in range(values.shape[2])]] * values.shape[1]
        low, high = float(values.min()), float(values.max())
        heats = [
            heat_map(_edge_name(e, edges), table[e], epochs, values[:, e].T.tolist(), low=low, high=high)
            for e in range(values.shape[1])
        ]
        shares = [indicators.op_shares(p, table) for p in values]
        lines = [
            Series(op, epochs, [s[op] for s in shares], f"op-{op.split('_')[0]}", dash="5 4" if "5x5" in op else "")
            for op in shares[0]
        ]
        chart = line_chart(f"Mean weight of each op, {named.lower()}", lines, y_label="mean over its edges")
        charts.append(chart)
        scale = scale_bar(low, high, "op weights; rows are ops, columns epochs")
        parts.append(f'<h3>{named}</h3>{scale}<div class="heats">{"".join(heats)}</div>')
    return f'{"".join(parts)}<h3>Op shares</h3><div class="charts">{"".join(charts)}</div>'


def _of_space(
    folder: Path, config: Experiment
) -> tuple[dict[str, Any], Sequence[tuple[int, int]], Callable[[Any], Any]]:
    """Op tables, edges, and the method's own map from alphas to op weights.

    Softmax and numbers in place of names for spaces and methods of the user's own whose file has changed or is gone.
    """

    def softmax(alphas: Any) -> Any:
        return {name: indicators.softmax(a) for name, a in alphas.items()}

    try:
        space = known_space(folder, config)
    except UserError:
        return {}, (), softmax
    try:
        method = known_method(folder, config)
    except UserError:
        return dict(space.tables), space.edges, softmax
    if method.derive_weights is None:
        return dict(space.tables), space.edges, softmax

    def relax(alphas: Any) -> Any:
        arrays: dict[str, Any] = {n: np.asarray(a, np.float32) for n, a in alphas.items()}
        return method.deterministic_weights(space, arrays)

    return dict(space.tables), space.edges, relax


def _edge_name(edge: int, edges: Sequence[tuple[int, int]]) -> str:
    """`source → target`; with two input nodes these are c(k−2) and c(k−1)."""
    if not edges:
        return f"edge {edge}"
    (source, target), inputs = edges[edge], min(target for _, target in edges)
    if inputs == 1:
        return f"{source} → {target}"
    start = f"c(k−{inputs - source})" if source < inputs else str(source - inputs)
    return f"{start} → {target - inputs}"


def _history(search: SearchRecord) -> str:
    stretches = genotype_changes(search)
    if not stretches:
        return ""
    rows, before = [], None
    for first, last, genotype in stretches:
        span = f"{first}" if first == last else f"{first}–{last}"
        count, edges = skips(genotype)
        changed = "first genotype" if before is None else changes(before, genotype)
        rows.append(
            f'<tr><td class="n">{span}</td><td class="n">{count} / {edges}</td><td>{escape(changed)}</td>'
            f"<td><details><summary>text</summary><code>{escape(genotype.to_text())}</code></details></td></tr>"
        )
        before = genotype
    shown, hidden = rows[-12:], rows[:-12]
    head = '<tr><th class="n">epochs</th><th class="n">skips</th><th>what changed</th><th>genotype</th></tr>'
    more = ""
    if hidden:
        more = f"<details><summary>{len(hidden)} earlier genotypes</summary>{table(hidden, head)}</details>"
    times = len(stretches) - 1
    told = (
        f"The genotype changed {times} time{'' if times == 1 else 's'}; the last one is from epoch {stretches[-1][0]}."
    )
    return f"<p>{told}</p>{more}{table(shown, head)}"


def changes(before: Genotype, after: Genotype) -> str:
    """The edges that differ, as `normal 2: − skip_connect(0) + sep_conv_3x3(1)`."""
    found = []
    for name, cell in after.cells.items():
        old = before.cells[name].nodes if name in before.cells else ()
        for i, edges in enumerate(cell.nodes):
            gone = [e for e in (old[i] if i < len(old) else ()) if e not in edges]
            new = [e for e in edges if not (i < len(old) and e in old[i])]
            if gone or new:
                words = [f"− {op}({source})" for op, source in gone] + [f"+ {op}({source})" for op, source in new]
                found.append(f"{name} {i}: {' '.join(words)}")
    return "; ".join(found)


def seeds_table(runs: list[RunRecord]) -> str:
    """Last epoch's numbers of every seed, and mean ± standard deviation over the seeds."""
    columns = {
        "val_accuracy": ("validation accuracy", True),
        "val_loss": ("validation loss", False),
        "normal_skips": ("skips, normal", False),
        "relative_entropy": ("entropy", False),
        "dominant_eigenvalue": ("λ max", False),
    }
    searches = [(run, search) for run in runs for search in run.searches if search.epochs]
    if not searches:
        return ""
    used = {name: c for name, c in columns.items() if any(s.last(name) is not None for _, s in searches)}
    found = [("test_accuracy", ("test accuracy, found cell", True))] if any("found" in r.summary for r in runs) else []

    def value(run: RunRecord, search: SearchRecord, name: str) -> float | None:
        if name == "test_accuracy":
            return run.summary.get("found", {}).get(name) if len(run.searches) == 1 else None
        return search.last(name)

    shown = [*used.items(), *found]
    head = "".join(f'<th class="n">{escape(label)}</th>' for _, (label, _) in shown)
    rows, collected = [], {name: [] for name, _ in shown}
    for run, search in searches:
        cells = []
        for name, (_, is_share) in shown:
            v = value(run, search, name)
            if v is not None:
                collected[name].append(v)
            cells.append(f'<td class="n">{percent(v) if is_share else plain(v)}</td>')
        rows.append(
            f'<tr><td class="n">{escape(search.label)}</td><td class="n">{search.epochs}</td>{"".join(cells)}</tr>'
        )
    cells = [f'<td class="n">{mean_std(collected[name], is_share)}</td>' for name, (_, is_share) in shown]
    total = f'<tr><th colspan="2">mean ± std, n = {len(searches)}</th>{"".join(cells)}</tr>'
    note = (
        ""
        if len(searches) > 1
        else '<p class="soft">One seed: no spread can be told. Search with several before believing a difference.</p>'
    )
    return table([*rows, total], f'<tr><th class="n">seed</th><th class="n">epochs</th>{head}</tr>') + note


def _configuration(run: RunRecord) -> str:
    defaults = flat(as_dict(Experiment()))
    changed, kept = [], []
    for name, value in run.options.items():
        told = f"<tr><td>{escape(name)}</td><td>{escape(json.dumps(value, ensure_ascii=False))}</td></tr>"
        (kept if defaults.get(name) == value else changed).append(told)
    options = (
        f"<h3>What differs from the defaults</h3>{table(changed)}"
        f"<details><summary>{len(kept)} defaults</summary>{table(kept)}</details>"
    )
    facts = {**flat(run.environment), **{f"time, {k}": v for k, v in costs(run).items()}, "folder": str(run.path)}
    rows = [f"<tr><td>{escape(k)}</td><td>{escape(str(v))}</td></tr>" for k, v in facts.items()]
    around = f"<h3>Environment and cost</h3>{table(rows)}"
    return f'<div class="columns"><div>{options}</div><div>{around}</div></div>'


def costs(run: RunRecord) -> dict[str, str]:
    """Computing times by part, as text."""
    found = {}
    if run.together:
        found["search, all seeds in one program"] = duration(
            sum(SearchRecord(0, run.together, []).series("seconds")[1])
        )
    for search in run.searches:
        label = f"search, seed {search.label}" if len(run.searches) > 1 else "search"
        if not run.together:
            found[label] = duration(sum(search.series("seconds")[1]))
        if (spent := sum(search.series("alpha_hessian_seconds")[1])) > 0:
            found[f"{label}, of this Hessians"] = duration(spent)
    if (cpu := run.spent("cpu_seconds")) is not None:
        found["search, of all processors"] = duration(cpu)
    for name, records in run.trainings.items():
        found[f"retraining, {name} cell"] = duration(sum(SearchRecord(0, records, []).series("seconds")[1]))
    return found


def cost(run: RunRecord) -> float:
    """Seconds of all recorded epochs."""
    trainings = [SearchRecord(0, records, []) for records in run.trainings.values()]
    return (run.spent("seconds") or 0.0) + sum(sum(part.series("seconds")[1]) for part in trainings)
