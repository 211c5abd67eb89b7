"""The layout of a drawing of a network of layers: a row of boxes from left to right, with the skips above it.

Skips that pass the same gap between two boxes have different heights. They rise and fall only in gaps, so that no line
runs through a box.
"""

from collections.abc import Sequence

from jdarts.genotypes import MacroArchitecture
from jdarts.report.cell_layout import (
    CHARACTER,
    HEADING,
    MARGIN,
    OP_HEIGHT,
    Box,
    Line,
    Scene,
    end_box,
    op_box,
    printable,
)

_GAP, _TRACK = 44.0, 14.0
_PORT = 5.0  # a skip leaves and enters this far above the middle of a box

Skip = tuple[int, int]
"""The numbers of the boxes that a skip begins and ends at."""


def layer_scene(architecture: MacroArchitecture, title: str = "") -> Scene:
    """A macro network, under `title` if it is not empty: the stem, and the op of each layer with its number."""
    skips = [(k, layer + 1) for layer, read in enumerate(architecture.skips) for k in read]
    tracks = skip_tracks(skips)
    headings, top = [], float(MARGIN)
    if title := printable(title):
        headings.append((MARGIN, top + 12, title))
        top += HEADING
    middle = top + OP_HEIGHT + _TRACK * (max(tracks, default=-1) + 1)
    boxes: list[Box] = []
    left = float(MARGIN)
    for make in (end_box("input", "stem"), *map(op_box, architecture.ops), end_box("output", "output")):
        boxes.append(make(left, middle))
        left += boxes[-1].width + _GAP
    lines = [_line(boxes, (i, i + 1), middle, middle) for i in range(len(boxes) - 1)]
    for skip, track in zip(skips, tracks, strict=True):
        lines.append(_line(boxes, skip, middle - _PORT, middle - OP_HEIGHT - _TRACK * track, skip=True))
    below = middle + OP_HEIGHT + 8
    numbers = [(box.x - CHARACTER / 2, below, str(i)) for i, box in enumerate(boxes[1:-1], start=1)]
    width = max(left - _GAP, MARGIN + len(title) * CHARACTER)
    return Scene(width + MARGIN, below + MARGIN, boxes, lines, [*headings, *numbers])


def skip_tracks(skips: Sequence[Skip]) -> list[int]:
    """A track of each skip, from 0; skips on one track do not overlap, and short ones come first."""
    taken: list[list[Skip]] = []
    found: dict[Skip, int] = {}
    for start, end in sorted(skips, key=lambda skip: (skip[1] - skip[0], skip)):
        free = (i for i, others in enumerate(taken) if all(end <= a or b <= start for a, b in others))
        track = next(free, len(taken))
        if track == len(taken):
            taken.append([])
        taken[track].append((start, end))
        found[start, end] = track
    return [found[skip] for skip in skips]


def _line(boxes: Sequence[Box], ends: Skip, port: float, height: float, *, skip: bool = False) -> Line:
    """From the right side of one box at `port` to the left side of another one, between them at `height`."""
    start, end = (boxes[i] for i in ends)
    left, right = start.x + start.width / 2, end.x - end.width / 2
    between = ((left + _GAP, height), (right - _GAP, height)) if skip else ()
    colour = op_box("skip_connect")(0, 0).colours[0] if skip else end.colours[0]
    return Line(((left, port), *between, (right, port)), colour, skip, True)
