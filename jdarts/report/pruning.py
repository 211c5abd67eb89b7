"""The networks of one search by pruning (GOLD-NAS): accuracy against multiply–accumulates, and the front as a table."""

from html import escape

from jdarts.report.charts import Scales, Series, line_chart
from jdarts.report.records import RunRecord, SearchRecord
from jdarts.report.words import percent, table


def pruned_networks(run: RunRecord, search: SearchRecord) -> str:
    """Charts and a table of the networks that a search by pruning passed; empty for other searches."""
    rows = [record for record in search.metrics if "ops_share" in record]
    if not rows:
        return ""
    held_out = run.config.data.val_fraction > 0
    name, words = ("val_accuracy", "validation") if held_out else ("train_accuracy", "training")
    epochs = {record["epoch"]: record for record in rows}
    listed = [record for i, record in enumerate(rows) if record["on_front"] or i == len(rows) - 1]

    def points(label: str, found: list, **style) -> Series:
        titles = [f"epoch {r['epoch']}: {r['macs']:,} MACs, {percent(r.get(name))}" for r in found]
        return Series(label, [r["macs"] for r in found], [r[name] for r in found], titles=titles, **style)

    scales = Scales(f"{words} accuracy of the supernet", "multiply–accumulates", percent=True, x_whole=False)
    lines = [points("every epoch", rows, colour="s0"), points("front", listed, colour="s1", kind="points")]
    positive = {epoch: r["resource_weight"] for epoch, r in epochs.items() if r["resource_weight"] > 0}
    weight = Series("λ", list(positive), list(positive.values()))
    left = Series("ops", list(epochs), [r["ops_share"] for r in rows])
    charts = (
        line_chart("Networks of this search", lines, scales)
        + line_chart("Multiply–accumulates of the surviving ops", [left], Scales("share of all ops", percent=True))
        + line_chart("Weight of the resource loss", [weight], Scales("λ", logarithmic=True))
    )
    texts = {record["epoch"]: record["genotype"] for record in search.genotypes}
    head = "".join(f'<th class="n">{title}</th>' for title in ("epoch", "parameters", "MACs", f"{words} accuracy"))
    body = [
        f'<tr><td class="n">{r["epoch"]}</td><td class="n">{r["parameters"]:,}</td><td class="n">{r["macs"]:,}</td>'
        f'<td class="n">{percent(r.get(name))}</td><td><details><summary>text</summary>'
        f"<code>{escape(texts.get(r['epoch'], ''))}</code></details></td></tr>"
        for r in listed
    ]
    note = '<p class="soft">Networks that stayed the same for long enough, and the last one. Train one of them with '
    note += "<code>jdarts train CONFIG --genotype TEXT</code>; the accuracies are those of the shared weights.</p>"
    return f'<div class="charts">{charts}</div>{note}{table(body, f"<tr>{head}<th>genotype</th></tr>")}'
