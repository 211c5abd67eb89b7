"""Drawings of cells, of ENAS macro, mobile and randomly wired networks as SVG, PNG and text.

`jdarts.report.cell_layout`, `layer_layout`, `mobile_layout` and `wired_layout` compute the positions.
"""

import itertools
from pathlib import Path
from xml.sax.saxutils import escape

from jdarts.errors import UserError
from jdarts.genotypes import Genotype, MacroArchitecture, MobileArchitecture, RandomlyWired
from jdarts.genotypes.macro import MacroNetwork, mobile_of
from jdarts.genotypes.recurrent import RecurrentCell
from jdarts.report.cell_layout import (
    FONT,
    INK,
    RECURRENT_INPUTS,
    Line,
    Scene,
    concatenates,
    labels,
    named_cells,
    output_label,
    printable,
    scene_of,
)
from jdarts.report.layer_layout import layer_scene
from jdarts.report.mobile_layout import mobile_lines, mobile_scene
from jdarts.report.wired_layout import wired_lines, wired_scene

Drawable = Genotype | MobileArchitecture | MacroNetwork


def draw_svg(genotype: Drawable, title: str = "", *, without: str = "") -> str:
    """An SVG document with the cells of `genotype` one below the other, under `title` if it is given.

    `without` is the name of a cell to leave out, `normal` or `reduce`. Of a mobile network it shows the layers.
    """
    scene = _scene(genotype, title, without)
    size = f"{scene.width:.0f} {scene.height:.0f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="{scene.width:.0f}" '
        f'height="{scene.height:.0f}" role="img" font-family="Helvetica, Arial, \'DejaVu Sans\', sans-serif" '
        f'font-size="{FONT}">',
        f"<title>{escape(printable(title) or _subject(genotype))}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for x, y, text in scene.headings:
        parts.append(f'<text x="{x:g}" y="{y:g}" font-weight="bold" fill="{INK}">{escape(text)}</text>')
    for line in scene.lines:
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        parts.append(f'<path d="{_svg_path(line)}" fill="none" stroke="{line.colour}" stroke-width="1.6"{dash}/>')
        if line.arrow:
            tip = " ".join(f"{x:.1f},{y:.1f}" for x, y in _arrow(line))
            parts.append(f'<polygon points="{tip}" fill="{line.colour}"/>')
    for box in scene.boxes:
        stroke, fill, ink = box.colours
        dash = ' stroke-width="1.4"' + (' stroke-dasharray="5 3"' if box.dashed else "")
        parts.append(
            f'<rect x="{box.x - box.width / 2:.1f}" y="{box.y - box.height / 2:.1f}" width="{box.width:g}" '
            f'height="{box.height:g}" rx="{box.radius:g}" fill="{fill}" stroke="{stroke}"{dash}/>'
        )
        name, _, index = box.label.partition("_{")
        label = escape(box.label)
        if index:
            index = escape(index[:-1].replace("-", "−"))
            label = f'<tspan font-style="italic">{name}</tspan><tspan dy="4" font-size="10">{index}</tspan>'
        baseline = box.y + (2.5 if index else 4.5)
        parts.append(f'<text x="{box.x:.1f}" y="{baseline:.1f}" text-anchor="middle" fill="{ink}">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])


def draw(genotype: Drawable, path: str | Path, title: str = "") -> None:
    """Write the drawing of `draw_svg` to `path`. Raises `UserError` if `path` ends in neither .svg nor .png."""
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (".svg", ".png"):
        raise UserError(f"cannot draw to {str(path)!r}: the ending is {ending!r}; use .svg or .png")
    if not path.parent.is_dir():
        raise UserError(f"cannot draw to {str(path)!r}: the folder {str(path.parent)!r} does not exist; create it")
    if ending == ".svg":
        path.write_text(draw_svg(genotype, title), encoding="utf-8")
    else:
        _write_png(_scene(genotype, title), path)


def draw_terminal(genotype: Drawable, *, without: str = "") -> str:
    """The cells as text, side by side; `without` is the name of a cell to leave out, `normal` or `reduce`.

    Of a mobile network, the layers, one on a line.
    """
    blocks = cell_texts(genotype, without)
    width = max(len(line) for line in blocks[0]) + 4
    rows = itertools.zip_longest(*blocks, fillvalue="")
    return "\n".join("".join(f"{cell:<{width}}" for cell in row).rstrip() for row in rows)


def cell_texts(genotype: Drawable, without: str = "") -> list[list[str]]:
    """The lines of each cell as text: its name, then one line an edge, with the op, grouped by the edge's target.

    A mobile network is one block: its family, then one line a layer.
    """
    blocks, chain = [], mobile_of(genotype)
    if chain is not None:
        return [mobile_lines(chain)]
    assert isinstance(genotype, Genotype)
    if isinstance(genotype, RandomlyWired):
        return [wired_lines(genotype)]
    for name, cell in named_cells(genotype, without):
        label = labels(cell)
        lines = [name]
        if isinstance(cell, RecurrentCell):
            lines.append(f"  {' '.join(RECURRENT_INPUTS)} ── {cell.first} ──▶ {label(0)}")
        edges = [edge for entering in cell.live_nodes for edge in entering]
        sources = max(len(label(source)) for _, source in edges)
        ops = max(len(op) for op, _ in edges)
        for node, entering in enumerate(cell.live_nodes, start=cell.inputs):
            for i, (op, source) in enumerate(entering):
                joint = "─" if len(entering) == 1 else "┬" if i == 0 else "╯" if i == len(entering) - 1 else "┤"
                target = f"─▶ {label(node)}" if i == 0 else ""
                lines.append(f"  {label(source):>{sources}} ── {op} {'─' * (ops - len(op) + 1)}{joint}{target}")
        if concatenates(cell):
            joined, output = output_label(cell)
            lines.append(f"  {' '.join(label(node) for node in cell.concat)} ══ {joined} ══▶ {output}")
        blocks.append(lines)
    return blocks


def _scene(architecture: Drawable, title: str, without: str = "") -> Scene:
    chain = mobile_of(architecture)
    if chain is not None:
        return mobile_scene(chain, title)
    assert isinstance(architecture, Genotype)
    if isinstance(architecture, RandomlyWired):
        return wired_scene(architecture, title)
    if isinstance(architecture, MacroArchitecture):
        return layer_scene(architecture, title)
    return scene_of(architecture, title, without)


def _subject(architecture: Drawable) -> str:
    return "cells of a genotype" if isinstance(architecture, Genotype) else "layers of a mobile network"


def _arrow(line: Line) -> list[tuple[float, float]]:
    x, y = line.points[-1]
    return [(x - 8, y - 4), (x, y), (x - 8, y + 4)]


def _curves(line: Line) -> list[tuple[tuple[float, float], ...]]:
    """Cubic segments, each as its two control points and its end."""
    segments = []
    points = [*line.points[:-1], (line.points[-1][0] - (6 if line.arrow else 0), line.points[-1][1])]
    for (x, y), (next_x, next_y) in itertools.pairwise(points):
        middle = (x + next_x) / 2
        segments.append(((middle, y), (middle, next_y), (next_x, next_y)))
    return segments


def _svg_path(line: Line) -> str:
    x, y = line.points[0]
    curves = " ".join("C" + " ".join(f"{px:.1f},{py:.1f}" for px, py in curve) for curve in _curves(line))
    return f"M{x:.1f},{y:.1f} {curves}"


def _write_png(scene: Scene, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
    from matplotlib.path import Path as Curve

    dots = 100  # a unit of the scene is one dot at this resolution; the file has twice as many
    points = 72 / dots
    figure = Figure(figsize=(scene.width / dots, scene.height / dots), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, scene.width), ylim=(scene.height, 0))
    axes.axis("off")
    for x, y, text in scene.headings:
        axes.text(x, y, text, size=FONT * points, weight="bold", color=INK, parse_math=False)
    for line in scene.lines:
        curves = _curves(line)
        codes = [Curve.MOVETO] + [Curve.CURVE4] * (3 * len(curves))
        curve = Curve([line.points[0], *itertools.chain(*curves)], codes)
        style = (0, (3, 2.4)) if line.dashed else "solid"
        axes.add_patch(PathPatch(curve, fill=False, edgecolor=line.colour, linewidth=1.6 * points, linestyle=style))
        if line.arrow:
            axes.add_patch(Polygon(_arrow(line), facecolor=line.colour, edgecolor="none"))
    for box in scene.boxes:
        stroke, fill, ink = box.colours
        corner = box.x - box.width / 2, box.y - box.height / 2
        rounded = f"round,pad=0,rounding_size={box.radius}"
        if box.width == 2 * box.radius:
            patch = Circle((box.x, box.y), box.radius)
        else:
            patch = FancyBboxPatch(corner, box.width, box.height, boxstyle=rounded)
        style = (0, (3, 2)) if box.dashed else "solid"
        patch.set(facecolor=fill, edgecolor=stroke, linewidth=1.4 * points, linestyle=style)
        axes.add_patch(patch)
        label = f"${box.label}$" if "{" in box.label else box.label
        axes.text(box.x, box.y, label, size=(FONT - 1) * points, color=ink, ha="center", va="center_baseline")
    figure.savefig(path, format="png", dpi=2 * dots)
