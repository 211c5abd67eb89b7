"""Exported networks of cells: those of the DARTS family and of NAS-Bench-201."""

from collections.abc import Mapping
from typing import Any

from jdarts.errors import UserError
from jdarts.export import layers
from jdarts.export.source import Raw, Written, call, statement
from jdarts.genotypes import Cell, Genotype
from jdarts.networks.reductions import reduction_cells
from jdarts.ops import user_ops

_TRAIN = "(s{source}, train)"

_NETWORK = '''
class Network(nn.Module):
    """{stem_words}, {cells} cells with reduction cells at {reductions}, mean over the pixels, linear layer."""

    @nn.compact
    def __call__(self, images, train: bool = False):
        """Normalised images `[N, H, W, {colours}]` → logits `[N, {classes}]`."""
        {stem}
        channels = {channels}
        for i in range({cells}):
            reduction, after_reduction = i in {reductions}, {after}
            channels *= 2 if reduction else 1
            cell = (ReductionCell if reduction else NormalCell)(channels, after_reduction, name=f"cell_{{i}}")
            s0, s1 = s1, cell(s0, s1, train)
        return nn.Dense({classes}, name="classifier")(s1.mean((1, 2)))
'''

_CELL = '''
class {name}(nn.Module):
    """The {kind} cell. s0 and s1 are the outputs of the two cells before; the output joins nodes {concat}."""

    channels: int
    after_reduction: bool

    @nn.compact
    def __call__(self, s0, s1, train: bool):
        """Outputs of the two cells before, `[N, H, W, ·]` → `[N, {size}, {width}·channels]`."""
        c = self.channels
        s0 = (FactorizedHalving if self.after_reduction else Preprocess)(c, name="preprocess_0")(s0, train)
        s1 = Preprocess(c, name="preprocess_1")(s1, train)
{nodes}
        return jnp.concatenate([{outputs}], axis=-1)
'''

_NETWORK_201 = '''
class Network(nn.Module):
    """Stem, three stages of {cells} cells with {channels}, {twice}, {four} channels, mean of pixels, linear layer."""

    @nn.compact
    def __call__(self, images, train: bool = False):
        """Normalised images `[N, H, W, {colours}]` → logits `[N, {classes}]`."""
        x, channels = PlainStem({channels}, name="stem")(images, train), {channels}
        for stage in range(3):
            if stage:
                channels *= 2
                x = ResidualHalving(channels, name=f"reduction_{{stage}}")(x, train)
            for i in range(stage * {cells}, (stage + 1) * {cells}):
                x = SearchedCell(channels, name=f"cell_{{i}}")(x, train)
        x = nn.relu(norm(train, "norm")(x))
        return nn.Dense({classes}, name="classifier")(x.mean((1, 2)))
'''

_CELL_201 = '''
class SearchedCell(nn.Module):
    """The cell: node 0 is its input, node 3 its output, every node the sum of its edges."""

    channels: int

    @nn.compact
    def __call__(self, s0, train: bool):
        """`[N, H, W, channels]` → the same shape."""
        c = self.channels
{nodes}
        return s3
'''


def write_darts(genotype: Genotype, sizes: Mapping[str, Any], colours: int) -> dict[str, str]:
    """The code of a network of normal and reduction cells, and its title; `sizes` as of `derived_network`."""
    assert genotype.reduce is not None
    _refuse_random(genotype)
    cells, channels, imagenet = sizes["cells"], sizes["channels"], sizes.get("stem", "cifar") == "imagenet"
    reductions = reduction_cells(cells)
    stem = "s0, s1 = StemByEight({}" if imagenet else "s0 = s1 = PlainStem({}"
    network = _NETWORK.format(
        stem_words="Three convolutions of stride 2" if imagenet else "A convolution",
        stem=stem.format(channels if imagenet else 3 * channels) + ', name="stem_0")(images, train)',
        after=f"i - 1 in {(-1, *reductions) if imagenet else reductions}",
        cells=cells,
        reductions=reductions,
        channels=channels,
        classes=sizes["classes"],
        colours=colours,
    )
    kinds = {"normal": genotype.normal, "reduction": genotype.reduce}
    used = {kind: cell for kind, cell in kinds.items() if kind == "reduction" or cells > len(reductions)}
    code = "\n\n\n".join(_cell(kind, cell).strip() for kind, cell in used.items())
    if "normal" not in used:
        network = network.replace("(ReductionCell if reduction else NormalCell)", "ReductionCell")
    return {
        "code": f"{code}\n\n\n{network.strip()}",
        "title": f"A network of {cells} DARTS cells, {channels} channels.",
    }


def write_nasbench201(genotype: Genotype, sizes: Mapping[str, Any], colours: int) -> dict[str, str]:
    """The code of a network of NAS-Bench-201, and its title."""
    lines: list[str] = []
    for target, edges in enumerate(genotype.normal.nodes, start=1):
        terms = [_edge_201(op, source, f"node_{target}_from_{source}_{op}") for op, source in edges]
        lines += statement(f"s{target}", terms)
    channels = sizes["channels"]
    network = _NETWORK_201.format(
        cells=sizes["cells"],
        channels=channels,
        twice=2 * channels,
        four=4 * channels,
        classes=sizes["classes"],
        colours=colours,
    )
    body = "\n".join(lines)
    cell = _CELL_201.format(nodes=body)
    if "(c, " not in body:
        cell = cell.replace("        c = self.channels\n", "")
    return {
        "code": f"{cell.strip()}\n\n\n{network.strip()}",
        "title": f"A network of NAS-Bench-201, {channels} channels.",
    }


def _cell(kind: str, cell: Cell) -> str:
    lines: list[str] = []
    for target, edges in enumerate(cell.live_nodes, start=cell.inputs):
        terms = [
            _edge(op, source, 2 if kind == "reduction" and source < cell.inputs else 1, f"node_{target}_edge_{k}_{op}")
            for k, (op, source) in enumerate(edges)
        ]
        lines += statement(f"s{target}", terms) if terms else []
    return _CELL.format(
        name="NormalCell" if kind == "normal" else "ReductionCell",
        kind=kind,
        concat=", ".join(map(str, cell.concat)),
        size="H, W" if kind == "normal" else "H/2, W/2",
        width=len(cell.concat),
        nodes="\n".join(lines),
        outputs=", ".join(f"s{i}" for i in cell.concat),
    )


def _edge(op: str, source: int, stride: int, name: str) -> str:
    """The value of an op of the DARTS family."""
    strided = {"stride": stride} if stride > 1 else {}
    after = _TRAIN.format(source=source)
    match op.split("_"):
        case ["sep", "conv", size]:
            return call("SeparableConv", Raw("c"), int(size[0]), **strided, name=name) + after
        case ["dil", "conv", size]:
            return call("DilatedConv", Raw("c"), int(size[0]), **strided, name=name) + after
        case ["conv", "7x1", "1x7"]:
            return call("ConvOneBySeven", Raw("c"), **strided, name=name) + after
        case ["max" | "avg" as kind, "pool", "3x3"]:
            return call(f"{kind}_pool", Raw(f"s{source}"), stride)
        case ["skip", "connect"] if stride == 1:
            return f"s{source}"
        case ["skip", "connect"]:
            return call("FactorizedHalving", Raw("c"), name=name) + after
        case ["none"]:
            return f"jnp.zeros_like(s{source}{f'[:, ::{stride}, ::{stride}]' if stride > 1 else ''})"
    raise _unwritten(op)


def _edge_201(op: str, source: int, name: str) -> str:
    """The value of an op of NAS-Bench-201."""
    match op.split("_"):
        case ["nor", "conv", size]:
            return call("ConvOfCell", Raw("c"), int(size[0]), name=name) + _TRAIN.format(source=source)
        case ["avg", "pool", "3x3"]:
            return call("avg_pool", Raw(f"s{source}"), 1)
        case ["skip", "connect"]:
            return f"s{source}"
        case ["none"]:
            return f"jnp.zeros_like(s{source})"
    raise _unwritten(op)


def _refuse_random(genotype: Genotype) -> None:
    for cell in genotype.cells.values():
        for op in (op for edges in cell.live_nodes for op, _ in edges):
            if user_ops.is_own(op) or op == "noise":
                raise _unwritten(op)


def _unwritten(op: str) -> UserError:
    return UserError(f"op {op} has no source outside of jdarts; use --format stablehlo, which exports every network")


CONSTANTS: dict[str, object] = {"EPSILON": layers.EPSILON, "MOMENTUM": layers.MOMENTUM}


def written(parts: Mapping[str, str], notation: str, usage: str, helpers: str) -> Written:
    """The parts of the file."""
    return Written(parts["title"], notation, layers, CONSTANTS, parts["code"], usage, helpers)
