"""Drawings of cells: SVG, PNG, and text for the terminal.

The layout is layered, left to right (Sugiyama's method at the size of a cell): a node stands at its longest
path from the inputs, each op in a box just before the node that it enters. An edge that passes a column gets
a place of its own there and crosses it horizontally, so that lines never run through labels.
"""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from jdarts import own_ops
from jdarts.errors import UserError
from jdarts.genotype import Cell, Genotype

# Line, fill and text colour of each family of ops
_FAMILIES = {
    "sep": ("#2f6fc4", "#e3eefb", "#173f75"),
    "dil": ("#7d4bb5", "#efe6f9", "#4a2573"),
    "nor": ("#2f6fc4", "#e3eefb", "#173f75"),
    "conv": ("#0f7f8c", "#dcf2f4", "#07474f"),
    "max": ("#cf6a17", "#fdeddd", "#7c3b05"),
    "avg": ("#b58a0c", "#fbf3d6", "#664d02"),
    "skip": ("#2f8f4e", "#e4f5e9", "#16522a"),
    "noise": ("#b03a5b", "#fae4ea", "#6d1730"),
    "none": ("#a9b0ba", "#f5f6f7", "#6b7280"),
}
_OWN = ("#0f7f8c", "#dcf2f4", "#07474f")  # ops of the user's own
_INK, _CONCAT = "#1f2937", "#98a2b0"
_NODES = {  # line, fill, text
    "input": ("#4b5563", "#eef0f3", _INK),
    "node": ("#1f2937", "#ffffff", _INK),
    "output": ("#1f2937", "#1f2937", "#ffffff"),
}
_FONT = 13
_SIZES = {"input": (58, 34), "node": (34, 34), "output": (64, 34), "pass": (0, 4)}
_OP_HEIGHT, _CHARACTER, _GAP, _PASS_GAP = 26, 7.8, 12, 9
_MARGIN, _HEADING = 24, 30


@dataclass(eq=False)
class _Vertex:
    kind: str  # input, node, output, op, or pass: where a long edge crosses a column
    column: int
    width: float
    height: float
    label: str = ""
    x: float = 0.0  # centre
    y: float = 0.0
    before: list["_Vertex"] = field(default_factory=list)
    after: list["_Vertex"] = field(default_factory=list)


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    width: float
    height: float
    radius: float
    colours: tuple[str, str, str]
    label: str
    dashed: bool = False


@dataclass(frozen=True)
class _Line:
    """Horizontal tangents everywhere: a line to the next point is straight if level, else an S curve."""

    points: tuple[tuple[float, float], ...]
    colour: str
    dashed: bool
    arrow: bool


@dataclass(frozen=True)
class _Scene:
    width: float
    height: float
    boxes: list[_Box]
    lines: list[_Line]
    headings: list[tuple[float, float, str]]


def draw_svg(genotype: Genotype, title: str = "") -> str:
    """An SVG document with the cells of `genotype` one below the other, under `title` if it is given."""
    scene = _scene(genotype, title)
    size = f"{scene.width:.0f} {scene.height:.0f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="{scene.width:.0f}" '
        f'height="{scene.height:.0f}" role="img" font-family="Helvetica, Arial, \'DejaVu Sans\', sans-serif" '
        f'font-size="{_FONT}">',
        f"<title>{escape(_printable(title) or 'cells of a genotype')}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for x, y, text in scene.headings:
        parts.append(f'<text x="{x:g}" y="{y:g}" font-weight="bold" fill="{_INK}">{escape(text)}</text>')
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


def draw(genotype: Genotype, path: str | Path, title: str = "") -> None:
    """Writes the drawing of `draw_svg` to `path`, which ends in .svg or .png (else `UserError`)."""
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


def draw_terminal(genotype: Genotype) -> str:
    """The cells as text, side by side: one line an edge, with the op, grouped by the node that it enters."""
    blocks = []
    for name, cell in _named(genotype):
        label = _labels(cell)
        lines = [name]
        edges = [edge for entering in cell.live_nodes for edge in entering]
        sources = max(len(label(source)) for _, source in edges)
        ops = max(len(op) for op, _ in edges)
        for node, entering in enumerate(cell.live_nodes, start=cell.inputs):
            for i, (op, source) in enumerate(entering):
                joint = "─" if len(entering) == 1 else "┬" if i == 0 else "╯" if i == len(entering) - 1 else "┤"
                target = f"─▶ {label(node)}" if i == 0 else ""
                lines.append(f"  {label(source):>{sources}} ── {op} {'─' * (ops - len(op) + 1)}{joint}{target}")
        if _concatenates(cell):
            lines.append(f"  {' '.join(label(node) for node in cell.concat)} ══ concat ══▶ c_{{k}}")
        blocks.append(lines)
    width = max(len(line) for line in blocks[0]) + 4
    rows = itertools.zip_longest(*blocks, fillvalue="")
    return "\n".join("".join(f"{cell:<{width}}" for cell in row).rstrip() for row in rows)


def _named(genotype: Genotype) -> list[tuple[str, Cell]]:
    if genotype.reduce is None:
        return [("cell", genotype.normal)]
    return [("normal cell", genotype.normal), ("reduction cell", genotype.reduce)]


def _concatenates(cell: Cell) -> bool:
    """Whether the output is a node of its own; NAS-Bench-201's is the last node."""
    return not (cell.inputs == 1 and len(cell.concat) == 1)


def _labels(cell: Cell) -> Callable[[int], str]:
    def label(node: int) -> str:
        if cell.inputs == 1:
            return "input" if node == 0 else "output" if (node,) == cell.concat else str(node)
        return f"c_{{k-{cell.inputs - node}}}" if node < cell.inputs else str(node - cell.inputs)

    return label


# Layout


def _scene(genotype: Genotype, title: str) -> _Scene:
    boxes, lines, headings = [], [], []
    top, width = float(_MARGIN), 0.0
    if title := _printable(title):
        headings.append((_MARGIN, top + 12, title))
        top += _HEADING
        width = len(title) * _CHARACTER
    for name, cell in _named(genotype):
        headings.append((_MARGIN, top + 12, name))
        columns, chains = _graph(cell)
        _order(columns)
        right, bottom = _place(columns, _MARGIN, top + _HEADING)
        for column in columns:
            boxes += [_box(vertex) for vertex in column if vertex.kind != "pass"]
        lines += _route(chains)
        top, width = bottom + _MARGIN, max(width, right)
    return _Scene(width + _MARGIN, top, boxes, lines, headings)


@dataclass(frozen=True)
class _Chain:
    vertices: list[_Vertex]
    colour: str
    dashed: bool
    arrow: bool


def _graph(cell: Cell) -> tuple[list[list[_Vertex]], list[_Chain]]:
    """Columns of vertices and the edges as chains of them. Nodes are in even columns, ops in odd ones."""
    label = _labels(cell)
    vertices = {node: _Vertex("input", 0, *_SIZES["input"], label(node)) for node in range(cell.inputs)}
    columns = [list(vertices.values())]
    chains: list[_Chain] = []

    def add(kind: str, column: int, width: float, height: float, text: str = "") -> _Vertex:
        while len(columns) <= column:
            columns.append([])
        columns[column].append(_Vertex(kind, column, width, height, text))
        return columns[column][-1]

    def connect(start: _Vertex, end: _Vertex, colour: str, dashed: bool, arrow: bool) -> None:
        passes = [add("pass", column, *_SIZES["pass"]) for column in range(start.column + 1, end.column)]
        chain = [start, *passes, end]
        for left, right in itertools.pairwise(chain):
            left.after.append(right)
            right.before.append(left)
        chains.append(_Chain(chain, colour, dashed, arrow))

    for node, entering in enumerate(cell.live_nodes, start=cell.inputs):
        if node not in cell.present:
            continue
        column = 2 + max(vertices[source].column for _, source in entering)
        kind = "output" if not _concatenates(cell) and (node,) == cell.concat else "node"
        vertices[node] = add(kind, column, *_SIZES[kind], label(node))
        for op, source in entering:
            box = add("op", column - 1, len(op) * _CHARACTER + 18, _OP_HEIGHT, op)
            colour, dashed = _colours(op)[0], op in ("skip_connect", "none")
            connect(vertices[source], box, colour, dashed, False)
            connect(box, vertices[node], colour, dashed, True)
    if _concatenates(cell):
        output = add("output", len(columns), *_SIZES["output"], "c_{k}")
        for node in cell.concat:
            connect(vertices[node], output, _CONCAT, False, True)
    return columns, chains


def _order(columns: list[list[_Vertex]]) -> None:
    """Orders each column so that few edges cross: barycentres from many starts, the best order kept."""
    generator = random.Random(0)
    best, fewest = [list(column) for column in columns], None
    for attempt in range(40):
        if attempt:
            for column in columns[1:]:
                generator.shuffle(column)
        for sweep in range(10):
            for column in columns[1:] if sweep % 2 == 0 else columns[-2:0:-1]:
                rank = {id(v): i / len(c) for c in columns for i, v in enumerate(c)}
                centre = {}
                for vertex in column:
                    near = vertex.before if sweep % 2 == 0 else vertex.after
                    near = near or vertex.before
                    centre[id(vertex)] = sum(rank[id(v)] for v in near) / len(near) if near else rank[id(vertex)]
                column.sort(key=lambda v: centre[id(v)])
            crossings = _crossings(columns)
            if fewest is None or crossings < fewest:
                best, fewest = [list(column) for column in columns], crossings
        if fewest == 0:
            break
    for column, order in zip(columns, best, strict=True):
        column[:] = order


def _crossings(columns: list[list[_Vertex]]) -> int:
    rank = {id(vertex): i for column in columns for i, vertex in enumerate(column)}
    count = 0
    for column in columns:
        segments = [(rank[id(v)], rank[id(end)]) for v in column for end in v.after]
        for (a, b), (c, d) in itertools.combinations(segments, 2):
            count += (a - c) * (b - d) < 0
    return count


def _place(columns: list[list[_Vertex]], left: float, top: float) -> tuple[float, float]:
    """Sets x and y of all vertices; returns the right and the bottom end."""
    for column in columns:
        _separate(column, [0.0] * len(column))
    for sweep in range(120):
        for column in columns if sweep % 2 else columns[::-1]:
            wished = []
            for vertex in column:
                near = [(v, 20 if {v.kind, vertex.kind} == {"pass"} else 1) for v in vertex.before + vertex.after]
                weight = sum(w for _, w in near)
                wished.append(sum(v.y * w for v, w in near) / weight if near else vertex.y)
            _separate(column, wished)
    shift = top - min(vertex.y - vertex.height / 2 for column in columns for vertex in column)
    right = left
    for i, column in enumerate(columns):
        width = max(vertex.width for vertex in column)
        for vertex in column:
            vertex.y += shift
            vertex.x = right + width / 2
            vertex.width = width if vertex.kind in ("pass", "op") else vertex.width
        reach = max([abs(v.y - end.y) for v in column for end in v.after] or [0.0])
        right += width + (min(96.0, max(30.0, 22 + 0.45 * reach)) if i < len(columns) - 1 else 0)
    return right, max(vertex.y + vertex.height / 2 for column in columns for vertex in column)


def _separate(column: list[_Vertex], wished: list[float]) -> None:
    """The y nearest to `wished` in least squares that keep order and distances (pool adjacent violators)."""
    offsets = [0.0]
    for above, below in itertools.pairwise(column):
        gap = _PASS_GAP if "pass" in (above.kind, below.kind) else _GAP
        offsets.append(offsets[-1] + (above.height + below.height) / 2 + gap)
    pools: list[tuple[float, int]] = []  # mean, size
    for wish, offset in zip(wished, offsets, strict=True):
        mean, size = wish - offset, 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    means = [mean for mean, size in pools for _ in range(size)]
    for vertex, mean, offset in zip(column, means, offsets, strict=True):
        vertex.y = mean + offset


def _route(chains: list[_Chain]) -> list[_Line]:
    """Lines from port to port; ports of a vertex are spread over its side in the order of the other ends."""
    ports: dict[tuple[int, int], float] = {}
    for side in (0, -1):  # where edges start, where they end
        groups: dict[int, list[_Chain]] = {}
        for chain in chains:
            groups.setdefault(id(chain.vertices[side]), []).append(chain)
        for group in groups.values():
            group.sort(key=lambda chain: chain.vertices[1 if side == 0 else -2].y)
            vertex = group[0].vertices[side]
            step = min(7.0, (vertex.height - 12) / max(1, len(group) - 1))
            for i, chain in enumerate(group):
                ports[id(chain), side] = vertex.y + step * (i - (len(group) - 1) / 2)
    lines = []
    for chain in chains:
        start, *passes, end = chain.vertices
        points = [(start.x + start.width / 2, ports[id(chain), 0])]
        for vertex in passes:
            points += [(vertex.x - vertex.width / 2, vertex.y), (vertex.x + vertex.width / 2, vertex.y)]
        points.append((end.x - end.width / 2, ports[id(chain), -1]))
        lines.append(_Line(tuple(points), chain.colour, chain.dashed, chain.arrow))
    return sorted(lines, key=lambda line: line.colour != _CONCAT)  # concatenation below everything else


def _colours(op: str) -> tuple[str, str, str]:
    return _OWN if own_ops.is_own(op) else _FAMILIES[op.split("_")[0]]


def _box(vertex: _Vertex) -> _Box:
    size = vertex.x, vertex.y, vertex.width, vertex.height
    if vertex.kind == "op":
        return _Box(*size, 6, _colours(vertex.label), vertex.label, vertex.label in ("skip_connect", "none"))
    return _Box(*size, vertex.height / 2, _NODES[vertex.kind], vertex.label)


def _arrow(line: _Line) -> list[tuple[float, float]]:
    x, y = line.points[-1]
    return [(x - 8, y - 4), (x, y), (x - 8, y + 4)]


# Output


def _printable(text: str) -> str:
    """`text` without what XML cannot hold."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def _curves(line: _Line) -> list[tuple[tuple[float, float], ...]]:
    """Cubic segments, each as its two control points and its end."""
    segments = []
    points = [*line.points[:-1], (line.points[-1][0] - (6 if line.arrow else 0), line.points[-1][1])]
    for (x, y), (next_x, next_y) in itertools.pairwise(points):
        middle = (x + next_x) / 2
        segments.append(((middle, y), (middle, next_y), (next_x, next_y)))
    return segments


def _svg_path(line: _Line) -> str:
    x, y = line.points[0]
    curves = " ".join("C" + " ".join(f"{px:.1f},{py:.1f}" for px, py in curve) for curve in _curves(line))
    return f"M{x:.1f},{y:.1f} {curves}"


def _write_png(scene: _Scene, path: Path) -> None:
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
        axes.text(x, y, text, size=_FONT * points, weight="bold", color=_INK, parse_math=False)
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
        axes.text(box.x, box.y, label, size=(_FONT - 1) * points, color=ink, ha="center", va="center_baseline")
    figure.savefig(path, format="png", dpi=2 * dots)
