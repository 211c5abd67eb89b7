"""Charts of reports: lines drawn by matplotlib as SVG, heat maps as small images next to HTML text.

Colours are CSS variables of `jdarts.report.style`, so that one file suits light and dark screens. Lines differ in
colour (Okabe and Ito's palette, safe for colour-blind readers) and in dash. Titles, legends and names of ops are HTML,
which wraps on narrow screens. Hovering over a mark shows its numbers, and every chart has a description for screen
readers.
"""

import base64
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter, ScalarFormatter

from jdarts.report.style import COLOURS

WIDTH, HEIGHT = 380, 230
"""Size of a chart in CSS pixels where its card is as wide; it grows and shrinks with the card."""
DASHES = ("", "6 3", "2 2", "8 2 2 2")
MOST_MARKERS = 120
"""Lines with more points have no markers."""
_DOT = "0 99"  # dashes of the legend of points: a single dot
_SVG = "http://www.w3.org/2000/svg"
_MAP = "cividis"
_LARGE = 1e4
_STEPS = (1, 2, 2.5, 5, 10)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.scale_dashes": False,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.pad": 6,
}


@dataclass(frozen=True)
class Series:
    """A line: its name, its points, a colour of `style.COLOURS`, an index into `DASHES`, and an optional band.

    `kind` is `line`, `steps` for a value that holds until the next point, or `points` for points without a line.
    `titles` are the texts of the points when the pointer is over them; by default their coordinates.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = "s0"
    dash: int = 0
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    kind: Literal["line", "steps", "points"] = "line"
    titles: Sequence[str] | None = None

    @property
    def finite(self) -> list[tuple[float, float]]:
        """The points that can be drawn."""
        return [(x, y) for x, y in zip(self.x, self.y, strict=True) if math.isfinite(y)]

    def hover(self, scales: "Scales") -> list[str]:
        """The texts of the points that can be drawn."""
        if self.titles is not None:
            return [title for title, y in zip(self.titles, self.y, strict=True) if math.isfinite(y)]
        return [f"{self.name}, {scales.x} {x:g}: {_value(y, scales)}" for x, y in self.finite]


@dataclass(frozen=True)
class Scales:
    """The axes of a chart: labels with units; y in percent, in whole numbers only, from zero on, or logarithmic.

    `x_logarithmic` is for x. `x_names` are words in place of the numbers 0, 1, … of x; x is in whole numbers if
    `x_whole`.
    """

    y: str
    x: str = "epoch"
    percent: bool = False
    whole: bool = False
    from_zero: bool = False
    logarithmic: bool = False
    x_logarithmic: bool = False
    x_whole: bool = True
    x_names: tuple[str, ...] = ()


def line_chart(title: str, series: Sequence[Series], scales: Scales, *, marks: Sequence[tuple[float, str]] = ()) -> str:
    """A figure with lines; `marks` are vertical lines `(x, text)`. Lines without finite points are left out."""
    series = [s for s in series if s.finite]
    if not series:
        return ""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(scales)
        hover: dict[str, list[str]] = {}
        for i, (x, text) in enumerate(marks):
            axes.axvline(x, color=_token("warn"), linewidth=1.5, dashes=(2, 2), gid=f"mark-{i}")
            hover[f"mark-{i}"] = [text]
        for i, s in enumerate(series):
            xs, ys = zip(*s.finite, strict=True)
            marker = "o" if len(xs) <= MOST_MARKERS or s.kind == "points" else ""
            size = 4 if len(xs) <= 60 else 2.4
            line = axes.plot(xs, ys, color=_token(s.colour), linewidth=2, marker=marker, markersize=size)[0]
            line.set(gid=f"line-{i}", clip_on=False, drawstyle="steps-post" if s.kind == "steps" else "default")
            if s.kind == "points":
                line.set_linestyle("none")
            elif DASHES[s.dash]:
                line.set_dashes([float(length) for length in DASHES[s.dash].split()])
            if s.low is not None and s.high is not None:
                axes.fill(*_outline(s), color=_token(s.colour), alpha=0.18, linewidth=0)
            hover[f"line-{i}"] = s.hover(scales)
        _limits(axes, series, scales)
        svg = _svg(figure, _description(title, series, scales), hover)
    warning_entry = [("warning", "warn", "2 2")] if marks else []
    entries = [(s.name, s.colour, _DOT if s.kind == "points" else DASHES[s.dash]) for s in series]
    return _card(title, svg, [*entries, *warning_entry])


def heat_map(
    title: str, rows: Sequence[str], epochs: Sequence[int], values: np.ndarray, span: tuple[float, float]
) -> str:
    """A small heat map of `values[row, epoch]` with the rows' names; colours stand for the range `span`."""
    low, high = span
    lines = []
    for row, line in zip(rows, values, strict=True):
        description = f"{row}: {line[0]:.3f} in epoch {epochs[0]}, {line[-1]:.3f} in epoch {epochs[-1]}"
        image = _image((line[None] - low) / (high - low))
        lines.append(
            f'<span>{escape(row)}</span><img src="{image}" alt="{escape(description)}" title="{escape(description)}"/>'
        )
    ends = f"<span>{epochs[0]}</span><span>{epochs[-1]}</span>" if len(epochs) > 1 else f"<span>{epochs[0]}</span>"
    return (
        f'<figure class="small"><figcaption>{escape(title)}</figcaption><div class="heat">{"".join(lines)}'
        f'<span>epoch</span><div class="ends">{ends}</div></div></figure>'
    )


def scale_bar(span: tuple[float, float], note: str) -> str:
    """The colours of heat maps and the numbers that they represent."""
    image = _image(np.linspace(0, 1, 64)[None])
    digits = max(2, 1 - math.floor(math.log10(span[1] - span[0])))
    low, high = (f"{value:.{digits}f}" for value in span)
    return (
        f'<p class="scale"><span>{low}</span><img src="{image}" alt="colours from {low} to {high}"/>'
        f"<span>{high}</span> <span>{escape(note)}</span></p>"
    )


def widened(values: np.ndarray, least: float) -> tuple[float, float]:
    """The range of `values`, widened around its middle to at least `least`."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    middle, half = (low + high) / 2, max(high - low, least) / 2
    return middle - half, middle + half


def _figure(scales: Scales) -> tuple[Figure, Axes]:
    """Empty axes in the style of reports; one point of matplotlib is one unit of the SVG."""
    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), layout="constrained", facecolor="none")
    axes = figure.subplots()
    axes.set_facecolor("none")
    axes.set_xlabel(scales.x, color=_token("soft"))
    axes.set_ylabel(scales.y, color=_token("soft"))
    axes.tick_params(colors=_token("soft"))
    axes.spines[["left", "bottom"]].set_color(_token("rule"))
    axes.grid(axis="y", color=_token("rule"), linewidth=1)
    axes.set_axisbelow(True)
    if scales.x_names:
        axes.set_xticks(range(len(scales.x_names)), scales.x_names)
        axes.set_xlim(-0.5, len(scales.x_names) - 0.5)
    elif scales.x_logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=scales.x_whole, steps=_STEPS, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=scales.whole, steps=_STEPS, min_n_ticks=1))
    axes.yaxis.set_major_formatter(PercentFormatter(1) if scales.percent else ScalarFormatter(useOffset=False))
    axes.yaxis.get_offset_text().set_color(_token("soft"))
    return figure, axes


def _outline(s: Series) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the band of a series. `fill_between` would put them into the `defs`, which `_svg` removes."""
    x, low, high = (np.asarray(values, float) for values in (s.x, s.low, s.high))
    if s.kind == "steps":
        x, low, high = np.repeat(x, 2)[1:], np.repeat(low, 2)[:-1], np.repeat(high, 2)[:-1]
    return np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]])


def _limits(axes: Axes, series: Sequence[Series], scales: Scales) -> None:
    """Set the limits of the axes: a single epoch and flat lines get room around them. Large numbers get a k or an M."""
    xs = [x for s in series for x, _ in s.finite]
    if max(map(abs, xs)) >= _LARGE and not scales.x_names:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if len(set(xs)) == 1 and not scales.x_names and not scales.x_logarithmic:
        axes.set_xlim(xs[0] - 0.5, xs[0] + 0.5)
    if scales.logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return
    if max(abs(y) for s in series for _, y in s.finite) >= _LARGE:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    low, high = axes.get_ylim()
    least = 1.0 if scales.whole else 1e-3 if scales.percent else 1e-2 * max(abs(low), abs(high)) or 1.0
    if high - low < least:
        low, high = widened(np.array([low, high]), least)
    if scales.from_zero:
        low = min(low, 0.0) if min(y for s in series for _, y in s.finite) < 0 else 0.0
    axes.set_ylim(low, high)


def _svg(figure: Figure, description: str, hover: dict[str, list[str]]) -> str:
    """The figure as inline SVG. Colours become CSS variables, and `hover[gid]` the titles of the marks of that gid."""
    text = io.StringIO()
    FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
    root = ElementTree.fromstring(text.getvalue())
    svg = ElementTree.Element("svg", {"viewBox": root.get("viewBox", ""), "class": "chart", "role": "img"})
    svg.set("aria-label", description)
    svg.extend(child for child in root if child.tag == f"{{{_SVG}}}g")
    for group in svg.iter():
        group.tag = group.tag.removeprefix(f"{{{_SVG}}}")
    for parent in list(svg.iter()):
        titles = hover.get(parent.get("id", ""), [])
        markers = [element for element in parent.iter() if element.tag == "use"]
        for marker, title in zip(markers, titles, strict=False):
            marker.tag = "circle"
            marker.attrib = {
                "cx": marker.get("x", ""),
                "cy": marker.get("y", ""),
                "r": "2.2" if len(markers) <= 60 else "1.2",
                "style": marker.get("style", ""),
            }
            ElementTree.SubElement(marker, "title").text = title
        if titles and not markers:
            name = ElementTree.Element("title")
            name.text = titles[0]
            parent.insert(0, name)
        for child in [c for c in parent if c.tag == "defs"]:
            parent.remove(child)
    for element in svg.iter():
        _simplify(element)
    return ElementTree.tostring(svg, encoding="unicode")


def _simplify(element: ElementTree.Element) -> None:
    """Remove ids, clipping, font families and needless digits from an element; write colours as CSS variables."""
    for name in ("id", "clip-path"):
        element.attrib.pop(name, None)
    for name in ("d", "x", "y", "cx", "cy", "transform"):
        if name in element.attrib:
            element.set(name, re.sub(r"(\.\d)\d+", r"\1", element.get(name, "").replace("\n", "")))
    if "style" in element.attrib:
        style = re.sub(r"font: ([\d.]+px)[^;]*", r"font-size: \1", element.get("style", ""))
        element.set("style", re.sub(r"#01ff([0-9a-f]{2})", lambda m: f"var(--{_NAMES[int(m[1], 16)]})", style))
    element.tail = None
    if element.tag not in ("text", "title"):
        element.text = None


_NAMES = tuple(COLOURS)


def _token(name: str) -> str:
    """The colour that represents a CSS variable until `_simplify` replaces it by the variable's name."""
    return f"#01ff{_NAMES.index(name):02x}"


def _card(title: str, body: str, legend: Sequence[tuple[str, str, str]]) -> str:
    """A captioned figure; legend entries are `(name, colour, dash)`."""
    line, dot = 'x1="1" stroke-width="2.5"', 'x1="13" stroke-width="5" stroke-linecap="round"'
    items = "".join(
        f'<li><svg viewBox="0 0 26 8" class="swatch" aria-hidden="true"><line {dot if dash == _DOT else line} x2="25" '
        f'y1="4" y2="4" style="stroke: var(--{colour})" stroke-dasharray="{dash or "none"}"/></svg>'
        f"{escape(name)}</li>"
        for name, colour, dash in legend
    )
    shown = f'<ul class="legend">{items}</ul>' if items else ""
    return f"<figure><figcaption>{escape(title)}</figcaption>{shown}{body}</figure>"


def _description(title: str, series: Sequence[Series], scales: Scales) -> str:
    """The chart in words, for screen readers."""
    parts = []
    for s in series:
        if s.kind == "points":
            parts.append(f"{s.name}, {len(s.finite)} points")
            continue
        (first, start), (last, end) = s.finite[0], s.finite[-1]
        parts.append(f"{s.name}, {_value(start, scales)} in {scales.x} {first:g}, {_value(end, scales)} in {last:g}")
    return f"{title} ({scales.y}) by {scales.x}: {'; '.join(parts)}"


def _value(value: float, scales: Scales) -> str:
    return f"{100 * value:.2f} %" if scales.percent else f"{value:.4g}"


def _image(shares: np.ndarray) -> str:
    """Numbers from 0 to 1, `[rows, columns]`, as an image of a pixel each; a missing number is transparent."""
    file = io.BytesIO()
    imsave(file, matplotlib.colormaps[_MAP](np.ma.masked_invalid(shares)), format="png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
