"""The sections of one run in a report, in the order of a reader's questions: recommendation, course, settings."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from jdarts.config import Experiment, as_dict
from jdarts.genotypes import Genotype
from jdarts.report.analysis_section import analysis_section
from jdarts.report.cell_drawing import Drawable, cell_texts, draw_svg
from jdarts.report.collapse import never_moves, passing, recurrent, unsearched, warnings
from jdarts.report.curves import curves
from jdarts.report.derived_cells import ops_over_seeds
from jdarts.report.op_weights import op_weights
from jdarts.report.pruning import pruned_networks
from jdarts.report.recommendation import recommend
from jdarts.report.records import RunRecord, SearchRecord, flat, genotype_changes
from jdarts.report.seeds import cost, costs, seeds_table
from jdarts.report.words import duration, percent, plain, table


def run_sections(run: RunRecord, prefix: str = "") -> str:
    """All sections of a run; ids start with `prefix`."""
    search = _shown(run)
    networks = pruned_networks(run, search)
    parts = [
        _problems(run),
        verdicts(run),
        section(prefix, "cells", "Recommended cells", _cells(run)),
        section(prefix, "front", "Networks of many sizes", networks) if networks else "",
        section(prefix, "curves", "Curves", curves(run, search)),
        section(prefix, "alphas", "Op weights over the epochs", op_weights(run, search)),
        section(prefix, "history", "Genotype history", _history(run, search)),
        section(prefix, "seeds", "Seeds", seeds_table([run]) + ops_over_seeds([run])),
        analysis_section(run),
        section(prefix, "configuration", "Configuration and environment", _configuration(run)),
    ]
    return "".join(parts)


def verdicts(run: RunRecord) -> str:
    """Key numbers, the recommendation with its reasons, and the warnings: all parts of the page that judge the run."""
    return _summary(run) + _warnings(run)


def section(prefix: str, name: str, title: str, body: str) -> str:
    """A section of a page; the id of its heading starts with `prefix`."""
    body = body or '<p class="soft">Nothing recorded yet.</p>'
    return f'<section><h2 id="{prefix}{name}">{title}</h2>{body}</section>'


def _shown(run: RunRecord) -> SearchRecord:
    """The search whose curves are shown: that of the recommended seed."""
    chosen = recommend(run)
    return chosen.search if chosen else run.searches[0]


def _problems(run: RunRecord) -> str:
    return "".join(f'<div class="card warning"><b>Not readable:</b> {escape(p)}</div>' for p in run.problems)


def test_score(result: dict[str, Any]) -> tuple[str, str]:
    """The name and the value of a trained cell's score: perplexity of a language model, accuracy of other networks."""
    if "test_perplexity" in result:
        return "test perplexity", plain(result["test_perplexity"])
    return "test accuracy", percent(result.get("test_accuracy"))


def _supernet(run: RunRecord, search: SearchRecord) -> tuple[str, str]:
    """The last validation result of the supernet, and its name."""
    if recurrent(run):
        return plain(search.last("val_perplexity")), "supernet validation perplexity"
    return percent(search.last("val_accuracy")), "supernet validation accuracy"


def _summary(run: RunRecord) -> str:
    chosen, search = recommend(run), _shown(run)
    facts = [
        (f"{search.epochs} of {run.config.search.epochs}", "epochs searched"),
        _supernet(run, search),
    ]
    for name in ("found", "random"):
        if isinstance(run.summary.get(name), dict):
            score, value = test_score(run.summary[name])
            facts.append((value, f"{score}, {name} cell"))
    if isinstance(run.summary.get("found"), dict):
        facts.append((f"{run.summary['found'].get('parameters', 0):,}", "parameters, found cell"))
    if chosen and not chosen.without:
        what = "identities, recommended cell" if recurrent(run) else "skip connections, recommended normal cell"
        facts.append(("{} of {}".format(*passing(chosen.genotype)), what))
    if (value := search.last("dominant_eigenvalue")) is not None:
        facts.append((f"{value:.3g}", "largest alpha-Hessian eigenvalue"))
    hessians = sum(sum(s.series("alpha_hessian_seconds")[1]) for s in run.searches)
    included = f", including {duration(hessians)} for alpha-Hessians" if hessians else ""
    facts.append((duration(cost(run)), f"computing time{included}"))
    shown = "".join(f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>" for value, what in facts)
    if chosen is None:
        return f'<div class="facts">{shown}</div><p class="soft">{_waiting(run)}</p>'
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in chosen.reasons)
    text = escape(chosen.genotype.to_text(without=chosen.without))
    return (
        f'<div class="facts">{shown}</div><div class="card"><h3>Recommended: the genotype of epoch {chosen.epoch}, '
        f"seed {escape(chosen.search.label)}</h3><ul>{reasons}</ul><p><code>{text}</code></p></div>"
    )


def _waiting(run: RunRecord) -> str:
    """The reason why no genotype is recommended."""
    if not any(search.epochs for search in run.searches):
        return "No epoch is finished yet."
    return f"No result yet: {escape(run.config.search.method)} compares architectures after its last epoch."


def _warnings(run: RunRecord) -> str:
    cards = []
    for search in run.searches:
        seed = f", seed {search.label}" if len(run.searches) > 1 else ""
        if search.diverged:
            cards.append((f"Diverged{seed}:", "the training loss is not finite; lower the learning rate."))
        cards += [(f"Warning of epoch {epoch}{seed}:", text) for epoch, text in warnings(run, search)]
    return "".join(f'<div class="card warning"><b>{escape(title)}</b> {escape(text)}</div>' for title, text in cards)


def _cells(run: RunRecord) -> str:
    chosen = recommend(run)
    return "" if chosen is None else drawing(chosen.genotype, chosen.without)


def drawing(genotype: Drawable, without: str = "") -> str:
    """The cells as inline SVG on the page's own background, and as text for narrow screens.

    `without` is the name of a cell to leave out. The drawing shrinks as far as its text stays readable; below that its
    card scrolls.
    """
    svg = draw_svg(genotype, without=without).replace('<rect width="100%" height="100%" fill="#ffffff"/>', "")
    text = "\n\n".join("\n".join(lines) for lines in cell_texts(genotype, without))
    width = svg.partition(' width="')[2].partition('"')[0]
    described = escape(" ".join(text.split()), quote=True)
    style = f'aria-label="{described}" style="--width: {width}px"'
    return (
        '<p class="hint soft">Scroll the drawing sideways, or read the cells as text below it.</p>'
        '<div class="card scroll drawing" tabindex="0" role="region" aria-label="drawing of the cells">'
        f'{svg.replace("<svg ", f"<svg {style} ", 1)}</div><pre class="card scroll as-text">{escape(text)}</pre>'
    )


def _history(run: RunRecord, search: SearchRecord) -> str:
    if never_moves(run):
        return f'<p class="soft">There is none: {escape(run.config.search.method)} does not train the alphas.</p>'
    without = unsearched(run)
    stretches = genotype_changes(search, without)
    if not stretches:
        return ""
    rows, before = [], None
    for first, last, genotype in stretches:
        span = f"{first}" if first == last else f"{first}–{last}"
        counted = "–" if without else "{} / {}".format(*passing(genotype))
        changed = "first genotype" if before is None else changes(before, genotype, without)
        rows.append(
            f'<tr><td class="n">{span}</td><td class="n">{counted}</td><td>{escape(changed)}</td>'
            f"<td><details><summary>text</summary><code>{escape(genotype.to_text(without=without))}</code></details></td></tr>"
        )
        before = genotype
    shown, hidden = rows[-12:], rows[:-12]
    counts = "identities" if recurrent(run) else "skips"
    head = f'<tr><th class="n">epochs</th><th class="n">{counts}</th><th>what changed</th><th>genotype</th></tr>'
    more = ""
    if hidden:
        more = f"<details><summary>{len(hidden)} earlier genotypes</summary>{table(hidden, head)}</details>"
    times = len(stretches) - 1
    summary = "The genotype never changed."
    if times:
        plural = "" if times == 1 else "s"
        summary = f"The genotype changed {times} time{plural}, last in epoch {stretches[-1][0]}."
    return f"<p>{summary}</p>{more}{table(shown, head)}"


def changes(before: Genotype, after: Genotype, without: str = "") -> str:
    """The edges that differ, as `normal 2: − skip_connect(0) + sep_conv_3x3(1)`."""
    found = []
    for name, cell in after.cells.items():
        if name == without:
            continue
        old = before.cells[name].nodes if name in before.cells else ()
        for i, edges in enumerate(cell.nodes):
            removed = [e for e in (old[i] if i < len(old) else ()) if e not in edges]
            added = [e for e in edges if not (i < len(old) and e in old[i])]
            if removed or added:
                words = [f"− {op}({source})" for op, source in removed] + [f"+ {op}({source})" for op, source in added]
                found.append(f"{name} {i}: {' '.join(words)}")
    return "; ".join(found)


def _configuration(run: RunRecord) -> str:
    facts = {**flat(run.environment), **{f"time, {k}": v for k, v in costs(run).items()}, "folder": str(run.path)}
    return configuration(run.options, facts)


def configuration(settings: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """The settings that differ from the defaults, the others, and the facts about environment and cost."""
    defaults = flat(as_dict(Experiment()))
    changed, kept = [], []
    for name, value in settings.items():
        row = f"<tr><td>{escape(name)}</td><td>{escape(json.dumps(value, ensure_ascii=False))}</td></tr>"
        (kept if defaults.get(name) == value else changed).append(row)
    options = (
        f"<h3>Settings that differ from the defaults</h3>{table(changed)}"
        f"<details><summary>{len(kept)} defaults</summary>{table(kept)}</details>"
    )
    rows = [f"<tr><td>{escape(k)}</td><td>{escape(str(v))}</td></tr>" for k, v in facts.items()]
    environment = f"<h3>Environment and cost</h3>{table(rows)}"
    return f'<div class="columns"><div>{options}</div><div>{environment}</div></div>'
