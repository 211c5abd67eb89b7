"""The section of a report with the results of `jdarts analyze`."""

from html import escape
from typing import Any

from jdarts.report.charts import Scales, Series, line_chart
from jdarts.report.records import RunRecord
from jdarts.report.words import percent, plain


def analysis_section(run: RunRecord) -> str:
    """The numbers of `analysis.json` and the spectrum of the alpha-Hessian; empty if the run was not analysed."""
    found = run.analysis
    if not found:
        return ""
    rows: list[tuple[str, str]] = [("analysed", f"epoch {found.get('epoch')}, on {found.get('device')}")]
    charts = []
    if isinstance(hessian := found.get("hessian"), dict):
        values, errors = hessian.get("eigenvalues") or [], hessian.get("errors") or []
        if values:
            error = f" ± {errors[0]:.2g} (standard error over batches)" if errors and errors[0] is not None else ""
            rows.append(("largest eigenvalue of ∂²L/∂α²", f"{values[0]:.4g}{error}"))
            rows.append(("smallest", plain(values[-1])))
            ranks = list(range(1, len(values) + 1))
            charts.append(
                line_chart(
                    "Spectrum of the alpha-Hessian", [Series("eigenvalue", ranks, values)], Scales("eigenvalue", "rank")
                )
            )
    if isinstance(gap := found.get("gap"), dict):
        for name, label in (
            ("soft", "soft op weights"),
            ("one_hot", "derived ops only"),
            ("soft_recalibrated", "soft, batch norm recalibrated"),
            ("one_hot_recalibrated", "derived ops only, recalibrated"),
        ):
            rows.append((f"validation accuracy, {label}", percent(_inner(gap, name, "accuracy"))))
    for scheme, ops in (_inner(found, "correlation", "schemes") or {}).items():
        words = ", ".join(f"{op} {plain(c.get('cosine'))}" for op, c in ops.items() if c.get("cosine") is not None)
        rows.append((f"gradient cosine, {scheme}", words))
    if isinstance(weights := found.get("weights"), dict):
        rows.append(("largest eigenvalue of ∂²L/∂w²", plain(weights.get("largest"))))
        rows.append(("trace of ∂²L/∂w²", f"{plain(weights.get('trace'))} ± {plain(weights.get('trace_error'))}"))
    table = "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in rows)
    return (
        f'<section><h2>Analysis</h2><div class="columns"><div class="card scroll"><table>{table}</table></div>'
        f'<div class="charts">{"".join(charts)}</div></div></section>'
    )


def _inner(value: Any, *names: str) -> Any:
    """A nested entry, or None if it is missing."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
