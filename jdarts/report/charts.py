"""Charts as inline SVG whose colours are CSS variables, so that one file suits light and dark screens.

Sizes are user units of a view box about 400 wide; a chart fills its column. Every mark carries its numbers in a
`<title>`, which browsers show on hovering. Series differ in colour (Okabe and Ito's palette, safe for colour-blind
readers) and in dash.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 400, 220
LEFT, RIGHT, TOP, BOTTOM = 50, 10, 8, 36
STEPS = 10
"""Steps of the sequential colour scale, classes q0 … q9."""


@dataclass(frozen=True)
class Series:
    """A line: `name`, its points, its colour class (s0 … s7, or op-NAME), and an optional band `low`, `high`."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str = "s0"
    dash: str = ""
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str = "epoch",
    y_label: str = "",
    percent: bool = False,
    from_zero: bool = False,
    whole: bool = False,
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """A figure with lines; `marks` are vertical lines `(x, text)`. Lines without points are left out.

    `percent` shows shares in percent; `whole` marks whole numbers only.
    """
    series = [s for s in series if len(s.x)]
    if not series:
        return ""
    xs = [x for s in series for x in s.x]
    ys = [y for s in series for v in (s.y, s.low or (), s.high or ()) for y in v if math.isfinite(y)]
    if not ys:
        return ""
    x_ticks = ticks(min(xs), max(xs), 6, whole=x_label == "epoch")
    y_ticks = ticks(0.0 if from_zero else min(ys), max(ys), 5, whole=whole)
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1e-9)
    y_low, y_high = y_ticks[0], y_ticks[-1]
    if len(set(xs)) == 1:
        x_low, x_high = x_low - 0.5, x_high + 0.5

    def px(x: float) -> float:
        return LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def py(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" class="chart">']
    for y in y_ticks:
        text = f"{100 * y:g} %" if percent else number(y)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py(y):.1f}" y2="{py(y):.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{py(y) + 4:.1f}" text-anchor="end">{text}</text>')
    for x in x_ticks:
        if x_low <= x <= x_high:
            parts.append(
                f'<text class="tick" x="{px(x):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{x:g}</text>'
            )
    parts.append(
        f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 5}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    for x, text in marks:
        parts.append(
            f'<line class="mark" x1="{px(x):.1f}" x2="{px(x):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}">'
            f"<title>{escape(text)}</title></line>"
        )
    for s in series:
        if s.low is not None and s.high is not None:
            edge = [*zip(s.x, s.high, strict=True), *reversed(list(zip(s.x, s.low, strict=True)))]
            points = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in edge if math.isfinite(y))
            parts.append(f'<polygon class="band {s.style}" points="{points}"/>')
        finite = [(x, y) for x, y in zip(s.x, s.y, strict=True) if math.isfinite(y)]
        points = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in finite)
        dash = f' stroke-dasharray="{s.dash}"' if s.dash else ""
        parts.append(f'<polyline class="line {s.style}" points="{points}"{dash}/>')
        for x, y in finite if len(finite) <= 120 else ():
            shown = f"{100 * y:.2f} %" if percent else f"{y:.4g}"
            small = 2.2 if len(finite) <= 60 else 1.2
            parts.append(
                f'<circle class="dot {s.style}" cx="{px(x):.1f}" cy="{py(y):.1f}" r="{small}">'
                f"<title>{escape(s.name)}, {escape(x_label)} {x:g}: {shown}</title></circle>"
            )
    parts.append("</svg>")
    return figure(title, "".join(parts), legend(series) if len(series) > 1 or y_label else "", y_label)


def figure(title: str, body: str, below_title: str = "", note: str = "") -> str:
    """A captioned figure."""
    shown = f'<span class="unit">{escape(note)}</span>' if note else ""
    return f"<figure><figcaption>{escape(title)} {shown}</figcaption>{below_title}{body}</figure>"


def legend(series: Sequence[Series]) -> str:
    """Names with a swatch each."""
    if len(series) < 2:
        return ""
    items = []
    for s in series:
        dash = f' stroke-dasharray="{s.dash}"' if s.dash else ""
        line = f'<line class="line {s.style}" x1="1" x2="21" y1="4" y2="4"{dash}/>'
        items.append(f'<li><svg viewBox="0 0 22 8" class="swatch">{line}</svg>{escape(s.name)}</li>')
    return f'<ul class="legend">{"".join(items)}</ul>'


def heat_map(
    title: str,
    rows: Sequence[str],
    columns: Sequence[int],
    values: Sequence[Sequence[float]],
    *,
    low: float,
    high: float,
) -> str:
    """A small heat map `values[row][column]` over epochs, with short row names; colours span `low` to `high`."""
    label, width, height = 34, 156, 11
    keep = thinned(len(columns), 60)
    step = (width - label) / len(keep)
    total = height * len(rows)
    parts = [f'<svg viewBox="0 0 {width} {total + 13}" class="heat" role="img" aria-label="{escape(title)}">']
    for i, (row, line) in enumerate(zip(rows, values, strict=True)):
        top = i * height
        first, last = line[keep[0]], line[keep[-1]]
        parts.append(
            f"<g><title>{escape(row)}: {first:.3f} in epoch {columns[0]}, {last:.3f} in epoch {columns[-1]}</title>"
        )
        parts.append(
            f'<text class="op" x="{label - 3}" y="{top + height - 2.5}" text-anchor="end">{escape(short(row))}</text>'
        )
        start, colours = 0, [quantile(line[k], low, high) for k in keep]
        for k in range(1, len(keep) + 1):  # equal neighbours are one rectangle
            if k == len(keep) or colours[k] != colours[start]:
                x = label + start * step
                parts.append(
                    f'<rect class="q{colours[start]}" x="{x:.1f}" y="{top}" '
                    f'width="{(k - start) * step + 0.15:.2f}" height="{height - 0.6}"/>'
                )
                start = k
        parts.append("</g>")
    parts.append(f'<text class="op" x="{label}" y="{total + 10}">{columns[0]}</text>')
    parts.append(f'<text class="op" x="{width}" y="{total + 10}" text-anchor="end">{columns[-1]}</text></svg>')
    return f'<figure class="small"><figcaption>{escape(title)}</figcaption>{"".join(parts)}</figure>'


def scale_bar(low: float, high: float, note: str) -> str:
    """The colours of heat maps with their numbers."""
    cells = "".join(f'<rect class="q{i}" x="{i * 18}" y="0" width="18" height="12"/>' for i in range(STEPS))
    return (
        f'<p class="scale"><span>{number(low)}</span><svg viewBox="0 0 {STEPS * 18} 12" class="bar">{cells}</svg>'
        f"<span>{number(high)}</span> <span>{escape(note)}</span></p>"
    )


SHORT = {
    "none": "none",
    "skip_connect": "skip",
    "max_pool_3x3": "max",
    "avg_pool_3x3": "avg",
    "sep_conv_3x3": "sep 3",
    "sep_conv_5x5": "sep 5",
    "sep_conv_7x7": "sep 7",
    "dil_conv_3x3": "dil 3",
    "dil_conv_5x5": "dil 5",
    "nor_conv_1x1": "conv 1",
    "nor_conv_3x3": "conv 3",
    "conv_7x1_1x7": "7·1",
}


def short(op: str) -> str:
    """A name of at most six characters."""
    return SHORT.get(op, op[:6])


def quantile(value: float, low: float, high: float) -> int:
    """Which of the `STEPS` colours."""
    if not math.isfinite(value) or high <= low:
        return 0
    return min(STEPS - 1, max(0, int((value - low) / (high - low) * STEPS)))


def thinned(count: int, most: int) -> list[int]:
    """At most `most` of `range(count)`, evenly, both ends included."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def ticks(low: float, high: float, count: int, *, whole: bool = False) -> list[float]:
    """Round numbers whose first and last enclose `low` and `high`."""
    if high <= low:
        high = low + (abs(low) or 1.0) * 0.1
    raw = (high - low) / max(count - 1, 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
    if whole:
        step = max(1.0, math.ceil(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def number(value: float) -> str:
    """Four digits at most."""
    return f"{value:.4g}"
