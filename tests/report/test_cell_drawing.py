import itertools
import subprocess
import sys
from collections import Counter
from xml.etree import ElementTree

import pytest

from jdarts.errors import UserError
from jdarts.genotypes import OPS, Cell, Genotype, MacroArchitecture, parse, parse_architecture, published
from jdarts.report.cell_drawing import draw, draw_svg, draw_terminal
from jdarts.report.layer_layout import skip_tracks

SVG = "{http://www.w3.org/2000/svg}"
SAMPLE = [
    *("NASNet", "AmoebaNet", "DARTS_V1", "DARTS_V2", "PC_DARTS_cifar", "ENASNet", "SGAS_Cri2_best"),
    *("FairDARTS_a", "FairDARTS_b", "FairDARTS_g", "DCO_SPARSE_BS_64", "rsps_s3_cifar10", "rsps_s4_cifar100"),
    *("nasbench201_best_cifar10", "nasbench201_resnet", "nasbench201_all_skip_connect"),
]
MOBILE = ["PROXYLESS_GPU", "FAIRNAS_B_SE", "MNASNET_SMALL", "SPOS", "00000000"]
RECURRENT = ["DARTS_RNN", "ENAS_RNN", "ENAS_LM"]
LAYERS = ["enas_macro: 0 3 1 4 0 1 5 1 1 0 1 1 0 0 1 2 0 1 0 1 1", "enas_macro: 2"]


def _live_ops(genotype):
    return Counter(op for cell in genotype.cells.values() for edges in cell.live_nodes for op, _ in edges)


def _boxes(root):
    for rect in root.iter(f"{SVG}rect"):
        if rect.get("rx"):
            x, y, width, height = (float(rect.get(key, "")) for key in ("x", "y", "width", "height"))
            yield x, y, x + width, y + height


@pytest.mark.parametrize("name", SAMPLE)
def test_svg_is_well_formed_and_shows_every_op_and_node(name):
    genotype = parse(name)
    root = ElementTree.fromstring(draw_svg(genotype, title=f"{name} <&>"))
    texts = Counter("".join(text.itertext()) for text in root.iter(f"{SVG}text"))
    assert {op: texts[op] for op in OPS if texts[op]} == _live_ops(genotype)
    assert texts[f"{name} <&>"] == 1
    if genotype.reduce is None:
        assert texts["input"] == texts["output"] == texts["1"] == texts["2"] == 1
    else:
        assert texts["ck−2"] == texts["ck−1"] == texts["ck"] == 2
        nodes = Counter(str(node - 2) for cell in genotype.cells.values() for node in cell.present)
        assert {node: texts[node] for node in nodes} == nodes


@pytest.mark.parametrize("name", [*SAMPLE, *RECURRENT, *LAYERS, *MOBILE])
def test_boxes_lie_inside_and_do_not_overlap(name):
    root = ElementTree.fromstring(draw_svg(parse_architecture(name)))
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    boxes = list(_boxes(root))
    assert all(left >= 0 and right <= width and top >= 0 and low <= height for left, top, right, low in boxes)
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


@pytest.mark.parametrize("name", [*SAMPLE, *RECURRENT, *LAYERS, *MOBILE])
def test_no_line_runs_through_a_box(name):
    root = ElementTree.fromstring(draw_svg(parse_architecture(name)))
    boxes = list(_boxes(root))
    for path in root.iter(f"{SVG}path"):
        numbers = path.get("d", "").replace("M", "").replace("C", "").split()
        points = [tuple(map(float, pair.split(","))) for pair in numbers]
        for start in range(0, len(points) - 1, 3):
            for step in range(1, 20):
                t = step / 20
                weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
                x, y = (
                    sum(w * p[axis] for w, p in zip(weights, points[start : start + 4], strict=True)) for axis in (0, 1)
                )
                for left, top, right, bottom in boxes:
                    assert not (left + 0.5 < x < right - 0.5 and top < y < bottom), (x, y)


@pytest.mark.parametrize("name", RECURRENT)
def test_drawings_of_recurrent_cells_show_inputs_nodes_and_activations(name):
    genotype = parse(name)
    root = ElementTree.fromstring(draw_svg(genotype))
    texts = Counter("".join(text.itertext()) for text in root.iter(f"{SVG}text"))
    assert texts == Counter(["recurrent cell", "xt", "ht−1", "ht", "tanh", "0"]) + _live_ops(genotype) + Counter(
        str(node) for node in genotype.normal.present
    )


@pytest.mark.parametrize("name", MOBILE)
def test_drawings_of_mobile_networks_show_every_layer(name):
    network = parse_architecture(name)
    expected = Counter(
        (f"MB{layer.expansion}" if layer.op == "mb" else layer.op)
        + (f" {layer.kernel}×{layer.kernel}" if layer.op in ("mb", "conv", "shuffle") else "")
        + (" SE" if layer.squeeze else "")
        + (" /2" if layer.stride == 2 else "")
        for layer in network.layers
    )
    root = ElementTree.fromstring(draw_svg(network, "title"))
    texts = Counter("".join(text.itertext()) for text in root.iter(f"{SVG}text"))
    assert {label: texts[label] for label in expected} == expected
    assert texts["image"] == texts["classes"] == texts["title"] == 1
    skips = sum(network.has_skip(i) for i in range(len(network.layers)))
    assert sum(path.get("stroke") == "#2f8f4e" for path in root.iter(f"{SVG}path")) == skips
    lines = draw_terminal(network).splitlines()
    assert len(lines) == len(network.layers) + 2
    assert sum(line.endswith("+ input") for line in lines) == skips


def test_terminal_drawing_of_a_mobile_network(tmp_path):
    network = parse_architecture("mnasnet: conv_k3_c8_s2 mb_k5_e3_se0.25_c8 mb_k3_c8_poolskip conv_k1_c64 dropout_0.2")
    assert draw_terminal(network).splitlines() == [
        "mnasnet network: channels @ height and width, as parts of those of the image",
        "    0 ── conv 3×3 /2 ─▶ 8 @ 1/2",
        "    1 ── MB3 5×5 SE ──▶ 8 @ 1/2  + input",
        "    2 ── MB1 3×3 ─────▶ 8 @ 1/2  + maxima of input",
        "    3 ── conv 1×1 ────▶ 64 @ 1/2",
        "   ══ mean over pixels, dropout 0.2 ══▶ classes",
    ]
    draw(network, tmp_path / "network.png")
    assert (tmp_path / "network.png").read_bytes().startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize("name", LAYERS)
def test_drawings_of_layers_show_every_op_and_skip(name):
    genotype = MacroArchitecture.read(name)
    root = ElementTree.fromstring(draw_svg(genotype, title="layers"))
    texts = Counter("".join(text.itertext()) for text in root.iter(f"{SVG}text"))
    numbers = map(str, range(1, 1 + len(genotype.ops)))
    assert texts == Counter(["layers", "stem", "output", *genotype.ops, *numbers])
    paths = [path for path in root.iter(f"{SVG}path")]
    assert len(paths) == len(genotype.ops) + 1 + sum(map(len, genotype.skips))
    assert sum("stroke-dasharray" in path.attrib for path in paths) == sum(map(len, genotype.skips))


def test_skips_that_overlap_have_tracks_of_their_own():
    assert skip_tracks([(0, 2), (0, 3), (2, 4), (1, 4), (4, 6)]) == [0, 1, 0, 2, 0]
    assert skip_tracks([]) == []


def test_skips_are_dashed():
    root = ElementTree.fromstring(draw_svg(parse("nasbench201_all_skip_connect")))
    assert all(path.get("stroke-dasharray") for path in root.iter(f"{SVG}path"))
    root = ElementTree.fromstring(draw_svg(parse("nasbench201_all_nor_conv_3x3")))
    assert not any(path.get("stroke-dasharray") for path in root.iter(f"{SVG}path"))


def test_every_op_has_a_colour():
    cell = Cell(tuple(((op, 0), (op, 1)) for op in OPS), (2,))
    ElementTree.fromstring(draw_svg(Genotype(cell, cell), title="all\x00ops\n"))


def test_drawing_is_reproducible():
    assert draw_svg(parse("NASNet")) == draw_svg(parse("NASNet"))


def test_files_by_ending(tmp_path):
    genotype = published.get("AmoebaNet")
    draw(genotype, tmp_path / "cell.svg", title="AmoebaNet")
    assert (tmp_path / "cell.svg").read_text(encoding="utf-8") == draw_svg(genotype, title="AmoebaNet")
    draw(genotype, str(tmp_path / "cell.PNG"), title="$a_{ $")
    assert (tmp_path / "cell.PNG").read_bytes().startswith(b"\x89PNG\r\n")
    with pytest.raises(UserError, match=r"the ending is '\.pdf'; use \.svg or \.png"):
        draw(genotype, tmp_path / "cell.pdf")
    with pytest.raises(UserError, match="does not exist; create it"):
        draw(genotype, tmp_path / "missing" / "cell.svg")


def test_terminal_drawing_of_layers():
    assert draw_terminal(parse("enas_macro: 0 3 1")).splitlines() == [
        "network",
        "  stem ── conv_3x3 ───────▶ 1",
        "     1 ── sep_conv_5x5 ─┬─▶ output",
        "  stem ── skip_connect ─╯",
    ]


def test_terminal_drawing():
    assert draw_terminal(parse("nasbench201_resnet")).splitlines() == [
        "cell",
        "  input ── nor_conv_3x3 ───▶ 1",
        "  input ── none ─────────┬─▶ 2",
        "      1 ── nor_conv_3x3 ─╯",
        "  input ── skip_connect ─┬─▶ output",
        "      1 ── none ─────────┤",
        "      2 ── skip_connect ─╯",
    ]
    assert draw_terminal(parse("enas: 3 0 1 0 0")).splitlines() == [
        "recurrent cell",
        "  x_{t} h_{t-1} ── sigmoid ──▶ 0",
        "  0 ── relu ───▶ 1",
        "  0 ── tanh ───▶ 2",
        "  1 2 ══ mean ══▶ h_{t}",
    ]
    lines = draw_terminal(parse("AmoebaNet")).splitlines()
    assert len(lines) == 12 and max(map(len, lines)) <= 80
    assert lines[1] == "  c_{k-2} ── avg_pool_3x3 ─┬─▶ 0      c_{k-2} ── avg_pool_3x3 ─┬─▶ 0"
    assert lines[-1] == "  2 3 4 ══ concat ══▶ c_{k}           1 2 4 ══ concat ══▶ c_{k}"


@pytest.mark.parametrize("name", SAMPLE)
def test_terminal_drawing_has_every_edge(name):
    genotype = parse(name)
    words = Counter(draw_terminal(genotype).split())
    assert {op: words[op] for op in OPS if words[op]} == _live_ops(genotype)


def test_import_needs_neither_jax_nor_matplotlib():
    code = (
        "import sys, jdarts.report.cell_drawing, jdarts.networks.counting, jdarts.genotypes.published; "
        "jdarts.genotypes.published.get('DARTS_V2'); print({'jax', 'matplotlib'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
