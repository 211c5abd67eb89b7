"""Numbers as text, and tables."""

import math
from collections.abc import Sequence

import numpy as np


def table(rows: Sequence[str], head: str = "") -> str:
    """Rows `<tr>…</tr>` as a table on a card, which scrolls sideways on narrow screens."""
    return f'<div class="card scroll"><table>{head}{"".join(rows)}</table></div>'


def percent(value: float | None) -> str:
    """A share in percent, or a dash."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.2f} %"


def plain(value: float | None) -> str:
    """A number with four digits, or a dash."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4g}".replace("-", "−")


def mean_std(values: list[float], is_share: bool) -> str:
    """`mean ± sample standard deviation`; no spread for a single value."""
    if not values:
        return "–"
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
    if is_share:
        return percent(mean) if spread is None else f"{100 * mean:.2f} ± {100 * spread:.2f} %"
    return plain(mean) if spread is None else f"{mean:.4g} ± {spread:.2g}"


def duration(seconds: float) -> str:
    """Seconds as `1 h 02 min`, `25 min`, `3 min 05 s` or `4.2 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 10:
        return f"{minutes} min {rest:02} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def precise(value: float | None) -> str:
    """A number with six digits, large ones with separators; a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    return (f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.6g}").replace("-", "−")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first of which is the head, as a Markdown table with columns of equal width."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) + " |"

    return "\n".join([line(rows[0]), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows[1:])])
