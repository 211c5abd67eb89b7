"""The layout of a drawing of a randomly wired network: a row for each stage, its nodes in order, an arc for each edge.

Nodes that read the input of the stage and nodes that are part of its output are coloured.
"""

from jdarts.genotypes.random_graphs import Wiring
from jdarts.genotypes.random_wiring import RandomlyWired, sinks
from jdarts.report.cell_layout import CHARACTER, HEADING, INK, MARGIN, NODE_COLOURS, Box, Line, Scene, printable

_NODE, _GAP, _RISE, _LIFT = 26, 12, 5.0, 14.0


def wired_scene(wiring: RandomlyWired, title: str) -> Scene:
    """The stages of the network, under `title` if it is not empty."""
    boxes, lines, headings = [], [], []
    top, right = float(MARGIN), 0.0
    for text in (printable(title), wiring.to_text()):
        if text:
            headings.append((MARGIN, top + 12, text))
            top += HEADING
            right = max(right, MARGIN + 1.1 * len(text) * CHARACTER)
    for number, graph in enumerate(wiring.stages):
        headings.append((MARGIN, top + 12, f"stage {number}"))
        longest = max((i - source for i, sources in enumerate(graph) for source in sources), default=0)
        y = top + HEADING + _LIFT + _RISE * longest + _NODE / 2
        boxes += _nodes(graph, y)
        lines += [_arc(source, i, y) for i, sources in enumerate(graph) for source in sources]
        right = max(right, _place(len(graph)))
        top = y + _NODE
    return Scene(right + MARGIN, top + MARGIN, boxes, lines, headings)


def wired_lines(wiring: RandomlyWired) -> list[str]:
    """The network as text: its notation, then one line a node with its sources."""
    found = [wiring.to_text()]
    for number, graph in enumerate(wiring.stages):
        found.append(f"  stage {number}")
        for i, sources in enumerate(graph):
            found.append(f"  {' '.join(map(str, sources)) or 'input':>{_width(graph)}} ──▶ {i}")
        found.append(f"  {' '.join(map(str, sinks(graph)))} ══ mean ══▶ output")
    return found


def _width(graph: Wiring) -> int:
    return max(len(" ".join(map(str, sources)) or "input") for sources in graph)


def _place(node: int) -> float:
    """The left end of a node."""
    return MARGIN + node * (_NODE + _GAP)


def _nodes(graph: Wiring, y: float) -> list[Box]:
    last = set(sinks(graph))
    kinds = ["input" if not sources else "output" if i in last else "node" for i, sources in enumerate(graph)]
    return [
        Box(_place(i) + _NODE / 2, y, _NODE, _NODE, _NODE / 2, NODE_COLOURS[kind], str(i))
        for i, kind in enumerate(kinds)
    ]


def _arc(source: int, target: int, y: float) -> Line:
    """An edge over the nodes between both, higher for a longer one; to the next node it is straight."""
    start, end = _place(source) + _NODE, _place(target)
    if target == source + 1:
        return Line(((start, y), (end, y)), INK, False, False)
    start, end, rise = start - _NODE / 2, end + _NODE / 2, y - _NODE / 2 - _LIFT - _RISE * (target - source)
    middle, foot = (start + end) / 2, y - _NODE / 2
    return Line(((start, foot), (middle, rise), (end, foot)), INK, False, False)
