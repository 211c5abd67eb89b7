"""The layout of a drawing of cells: positions of boxes, lines and headings.

The layout is layered from left to right (Sugiyama's method). A node's column is the length of its longest path from
the inputs. Each op is a box in the column before the node that it enters. An edge that passes a column has its own
position there and crosses the column horizontally, so that lines never run through labels.
"""

import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from jdarts.genotypes import Cell, Genotype
from jdarts.genotypes.enas import MacroCell
from jdarts.genotypes.one_shot import ChoiceCell
from jdarts.genotypes.recurrent import RecurrentCell
from jdarts.ops import user_ops

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
    "tanh": ("#2f6fc4", "#e3eefb", "#173f75"),
    "relu": ("#cf6a17", "#fdeddd", "#7c3b05"),
    "sigmoid": ("#7d4bb5", "#efe6f9", "#4a2573"),
    "identity": ("#2f8f4e", "#e4f5e9", "#16522a"),
}
_OWN = ("#0f7f8c", "#dcf2f4", "#07474f")  # the user's ops
INK, _CONCAT = "#1f2937", "#98a2b0"
NODE_COLOURS = {  # line, fill, text
    "input": ("#4b5563", "#eef0f3", INK),
    "node": ("#1f2937", "#ffffff", INK),
    "output": ("#1f2937", "#1f2937", "#ffffff"),
}
FONT = 13
_SIZES = {"input": (58, 34), "node": (34, 34), "output": (64, 34), "pass": (0, 4)}
OP_HEIGHT, CHARACTER, _GAP, _PASS_GAP = 26, 7.8, 12, 9
MARGIN, HEADING = 24, 30


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
class Box:
    """A node or an op: centre, size, corner radius; colours of line, fill and text."""

    x: float
    y: float
    width: float
    height: float
    radius: float
    colours: tuple[str, str, str]
    label: str
    dashed: bool = False


@dataclass(frozen=True)
class Line:
    """A line through `points` with horizontal tangents: straight between points of equal height, else an S curve."""

    points: tuple[tuple[float, float], ...]
    colour: str
    dashed: bool
    arrow: bool


@dataclass(frozen=True)
class Scene:
    """A whole drawing, in units of a pixel; `headings` are `(x, y, text)`."""

    width: float
    height: float
    boxes: list[Box]
    lines: list[Line]
    headings: list[tuple[float, float, str]]


def named_cells(genotype: Genotype, without: str = "") -> list[tuple[str, Cell]]:
    """The cells of a genotype with the names that they are drawn under, except the cell called `without`."""
    if genotype.reduce is None:
        names = {RecurrentCell: "recurrent cell", MacroCell: "network"}
        return [(names.get(type(genotype.normal), "cell"), genotype.normal)]
    names = {"normal": "normal cell", "reduce": "reduction cell"}
    return [(names[kind], cell) for kind, cell in genotype.cells.items() if kind != without]


def concatenates(cell: Cell) -> bool:
    """True if the output is a separate node that joins others. In NAS-Bench-201 it is the last node."""
    return isinstance(cell, RecurrentCell) or not (cell.inputs == 1 and len(cell.concat) == 1)


def labels(cell: Cell) -> Callable[[int], str]:
    """A function `node -> label`: the labels of the papers' figures, with subscripts in TeX."""

    def label(node: int) -> str:
        if isinstance(cell, RecurrentCell):
            return str(node)
        if isinstance(cell, ChoiceCell) and node >= cell.inputs:
            block, is_output = divmod(node - cell.inputs, 2)
            return str(block) if is_output else f"Σ_{{{block}}}"
        if cell.inputs == 1:
            first = "stem" if isinstance(cell, MacroCell) else "input"
            return first if node == 0 else "output" if (node,) == cell.concat else str(node)
        return f"c_{{k-{cell.inputs - node}}}" if node < cell.inputs else str(node - cell.inputs)

    return label


def output_label(cell: Cell) -> tuple[str, str]:
    """The operation that joins the nodes of the output, and the label of the output."""
    return ("mean", "h_{t}") if isinstance(cell, RecurrentCell) else ("concat", "c_{k}")


RECURRENT_INPUTS = ("x_{t}", "h_{t-1}")
"""The labels of what node 0 of a recurrent cell reads."""


def printable(text: str) -> str:
    """`text` with a space for every character that XML does not allow."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def scene_of(genotype: Genotype, title: str, without: str = "") -> Scene:
    """The cells of `genotype`, except the cell `without`, one below the other, under `title` if it is not empty."""
    boxes, lines, headings = [], [], []
    top, width = float(MARGIN), 0.0
    if title := printable(title):
        headings.append((MARGIN, top + 12, title))
        top += HEADING
        width = len(title) * CHARACTER
    for name, cell in named_cells(genotype, without):
        headings.append((MARGIN, top + 12, name))
        columns, chains = _graph(cell)
        _order(columns)
        right, bottom = _place(columns, MARGIN, top + HEADING)
        for column in columns:
            boxes += [_box(vertex) for vertex in column if vertex.kind != "pass"]
        lines += _route(chains)
        top, width = bottom + MARGIN, max(width, right)
    return Scene(width + MARGIN, top, boxes, lines, headings)


@dataclass(frozen=True)
class _Chain:
    vertices: list[_Vertex]
    colour: str
    dashed: bool
    arrow: bool


def op_box(op: str) -> Callable[[float, float], Box]:
    """A function from the left side and the middle height to the box of an op."""
    width, dashed = _op_width(op), op in ("skip_connect", "none")
    return lambda left, y: Box(left + width / 2, y, width, OP_HEIGHT, 6, _colours(op), op, dashed)


def end_box(kind: str, label: str) -> Callable[[float, float], Box]:
    """The same for the box of an "input" or "output"."""
    width, height = _SIZES[kind]
    return lambda left, y: Box(left + width / 2, y, width, height, height / 2, NODE_COLOURS[kind], label)


def _op_width(op: str) -> float:
    return len(op) * CHARACTER + 18


def _graph(cell: Cell) -> tuple[list[list[_Vertex]], list[_Chain]]:
    """Columns of vertices and the edges as chains of them. Nodes are in even columns, ops in odd ones."""
    label = labels(cell)
    recurrent = isinstance(cell, RecurrentCell)
    inputs = RECURRENT_INPUTS if recurrent else [label(node) for node in range(cell.inputs)]
    columns = [[_Vertex("input", 0, *_SIZES["input"], text) for text in inputs]]
    vertices = dict(enumerate(columns[0]))
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

    def add_op(op: str, column: int, sources: Iterable[_Vertex], target: _Vertex) -> None:
        box = add("op", column, _op_width(op), OP_HEIGHT, op)
        colour, dashed = _colours(op)[0], op in ("skip_connect", "none")
        for source in sources:
            connect(source, box, colour, dashed, False)
        connect(box, target, colour, dashed, True)

    if recurrent:
        first = add("node", 2, *_SIZES["node"], label(0))
        add_op(cell.first, 1, columns[0], first)
        vertices = {0: first}
    for node, entering in enumerate(cell.live_nodes, start=cell.inputs):
        if node not in cell.present:
            continue
        column = 2 + max(vertices[source].column for _, source in entering)
        kind = "output" if not concatenates(cell) and (node,) == cell.concat else "node"
        vertices[node] = add(kind, column, *_SIZES[kind], label(node))
        for op, source in entering:
            add_op(op, column - 1, [vertices[source]], vertices[node])
    if concatenates(cell):
        output = add("output", len(columns), *_SIZES["output"], output_label(cell)[1])
        for node in cell.concat:
            connect(vertices[node], output, _CONCAT, False, True)
    return columns, chains


def _order(columns: list[list[_Vertex]]) -> None:
    """Order each column so that few edges cross: barycentre sweeps from many starts; the best order is kept."""
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
    """Set x and y of all vertices; return the right and the bottom end of the cell."""
    for column in columns:
        _separate(column, [0.0] * len(column))
    for sweep in range(120):
        for column in columns if sweep % 2 else columns[::-1]:
            targets = []
            for vertex in column:
                near = [(v, 20 if {v.kind, vertex.kind} == {"pass"} else 1) for v in vertex.before + vertex.after]
                weight = sum(w for _, w in near)
                targets.append(sum(v.y * w for v, w in near) / weight if near else vertex.y)
            _separate(column, targets)
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


def _separate(column: list[_Vertex], targets: list[float]) -> None:
    """Set y as near to `targets` (least squares) as order and least distances allow: pool adjacent violators."""
    offsets = [0.0]
    for above, below in itertools.pairwise(column):
        gap = _PASS_GAP if "pass" in (above.kind, below.kind) else _GAP
        offsets.append(offsets[-1] + (above.height + below.height) / 2 + gap)
    pools: list[tuple[float, int]] = []  # mean, size
    for target, offset in zip(targets, offsets, strict=True):
        mean, size = target - offset, 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    means = [mean for mean, size in pools for _ in range(size)]
    for vertex, mean, offset in zip(column, means, offsets, strict=True):
        vertex.y = mean + offset


def _route(chains: list[_Chain]) -> list[Line]:
    """Lines from port to port. The ports of a vertex lie on its side in the order of the lines' other ends."""
    ports: dict[tuple[int, int], float] = {}
    for side in (0, -1):  # start and end of edges
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
        lines.append(Line(tuple(points), chain.colour, chain.dashed, chain.arrow))
    return sorted(lines, key=lambda line: line.colour != _CONCAT)  # concatenation below everything else


def _colours(op: str) -> tuple[str, str, str]:
    return _OWN if user_ops.is_own(op) else _FAMILIES[op.split("_")[0]]


def _box(vertex: _Vertex) -> Box:
    size = vertex.x, vertex.y, vertex.width, vertex.height
    if vertex.kind == "op":
        return Box(*size, 6, _colours(vertex.label), vertex.label, vertex.label in ("skip_connect", "none"))
    return Box(*size, vertex.height / 2, NODE_COLOURS[vertex.kind], vertex.label)
