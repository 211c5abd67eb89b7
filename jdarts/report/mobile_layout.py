"""The layout of a drawing of a mobile network: its layers as a chain, a row for each width, and as lines of text.

A row starts with the features that its first layer reads, as in `32 @ 1/4`: 32 channels, a fourth of the image's height
and width. A box is as high as the kernel is large. A line above a box is a skip.
"""

from jdarts.genotypes.mobile import MobileArchitecture, MobileLayer
from jdarts.report.cell_layout import CHARACTER, HEADING, INK, MARGIN, NODE_COLOURS, Box, Line, Scene, printable

_COLOURS = {  # line, fill and text of each op
    "conv": ("#0f7f8c", "#dcf2f4", "#07474f"),
    "mb": ("#2f6fc4", "#e3eefb", "#173f75"),
    "identity": ("#2f8f4e", "#e4f5e9", "#16522a"),
    "shuffle": ("#cf6a17", "#fdeddd", "#7c3b05"),
    "xception": ("#7d4bb5", "#efe6f9", "#4a2573"),
}
_SKIP = "#2f8f4e"
_GAP, _ARC, _TALLEST = 28, 12, 54


def label_of(layer: MobileLayer) -> str:
    """The layer in a few characters: `MB6 5×5 SE` is an inverted residual with expansion 6."""
    name = f"MB{layer.expansion}" if layer.op == "mb" else layer.op
    kernel = "" if layer.op in ("identity", "xception") else f" {layer.kernel}×{layer.kernel}"
    return name + kernel + (" SE" if layer.squeeze else "") + (" /2" if layer.stride == 2 else "")


def features(architecture: MobileArchitecture) -> list[str]:
    """The outputs of all layers, as in `32 @ 1/4`."""
    found, divided = [], 1
    for layer in architecture.layers:
        divided *= layer.stride
        found.append(f"{layer.width} @ 1/{divided}" if divided > 1 else f"{layer.width} @ 1")
    return found


def mobile_scene(architecture: MobileArchitecture, title: str) -> Scene:
    """The layers of the network, under `title` if it is not empty."""
    boxes, lines, headings = [], [], []
    top, right = float(MARGIN), 0.0
    for text in (printable(title), f"{architecture.family} network"):
        if text:
            headings.append((MARGIN, top + 12, text))
            top += HEADING
            right = max(right, MARGIN + len(text) * CHARACTER)
    outputs = ["image", *features(architecture)]
    first = 0
    while first < len(architecture.layers):
        last = first
        width = architecture.layers[first].width
        while last + 1 < len(architecture.layers) and architecture.layers[last + 1].width == width:
            last += 1
        y = top + _ARC + _TALLEST / 2
        x = _add(boxes, lines, MARGIN, y, _node(outputs[first], "input"))
        for i in range(first, last + 1):
            layer = architecture.layers[i]
            start = x
            x = _add(boxes, lines, start, y, _layer(layer))
            if architecture.has_skip(i):
                lines.append(_arc(start, x, y, boxes[-1].height, layer.skip == "pool"))
        if last + 1 == len(architecture.layers):
            x = _add(boxes, lines, x, y, _node("classes", "output"))
        else:
            lines.append(_arrow_behind(x, y))
            x += _GAP
        right = max(right, x)
        top += _ARC + _TALLEST + 8
        first = last + 1
    return Scene(right + MARGIN, top + MARGIN, boxes, lines, headings)


def mobile_lines(architecture: MobileArchitecture) -> list[str]:
    """The network as text: its family, then one line a layer, with its output."""
    labels = [label_of(layer) for layer in architecture.layers]
    longest = max(map(len, labels))
    found = [f"{architecture.family} network: channels @ height and width, as parts of those of the image"]
    for i, (label, output) in enumerate(zip(labels, features(architecture), strict=True)):
        skip = ""
        if architecture.has_skip(i):
            skip = "  + maxima of input" if architecture.layers[i].skip == "pool" else "  + input"
        found.append(f"  {i:>3} ── {label} {'─' * (longest - len(label) + 1)}▶ {output}{skip}")
    dropout = f", dropout {architecture.dropout:g}" if architecture.dropout else ""
    return [*found, f"   ══ mean over pixels{dropout} ══▶ classes"]


def _node(label: str, kind: str) -> Box:
    return Box(0, 0, len(label) * CHARACTER + 18, 34, 17, NODE_COLOURS[kind], label)


def _layer(layer: MobileLayer) -> Box:
    label = label_of(layer)
    height = min(_TALLEST, 26 + 5 * (layer.kernel - 3)) if layer.kernel > 3 else 26
    return Box(0, 0, len(label) * CHARACTER + 18, height, 6, _COLOURS[layer.op], label, layer.op == "identity")


def _add(boxes: list[Box], lines: list[Line], x: float, y: float, box: Box) -> float:
    """Place a box behind the position `x`, with an arrow unless it is the first of a row; the end of the box."""
    if x > MARGIN:
        lines.append(_arrow_behind(x, y))
        x += _GAP
    boxes.append(Box(x + box.width / 2, y, box.width, box.height, box.radius, box.colours, box.label, box.dashed))
    return x + box.width


def _arrow_behind(x: float, y: float) -> Line:
    return Line(((x, y), (x + _GAP, y)), INK, False, True)


def _arc(start: float, end: float, y: float, height: float, dashed: bool) -> Line:
    """The skip over the box between `start` + gap and `end`, from the arrow in front of it to the one behind it."""
    above = y - height / 2 - _ARC / 2
    points = ((start + 2, y), (start + _GAP - 4, above), (end + 4, above), (end + _GAP - 10, y))
    return Line(points, _SKIP, dashed, False)
