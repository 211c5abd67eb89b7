"""The arrays of PyTorch networks of cells: `NetworkCIFAR` and `NetworkImageNet` of the DARTS code, NAS-Bench-201's."""

from collections.abc import Iterator, Mapping
from typing import Any

from jdarts.errors import UserError
from jdarts.genotypes import Cell, Genotype
from jdarts.interop.entries import TorchEntry, VariablePath, factorized_reduce, norm, relu_conv_bn, separable
from jdarts.networks.nasbench201 import STAGES
from jdarts.networks.reductions import reduction_cells


def darts_entries(genotype: Genotype, sizes: Mapping[str, Any]) -> Iterator[TorchEntry]:
    """Every array of `NetworkCIFAR` or, with the stem for ImageNet, of `NetworkImageNet`, in its order.

    The ops of a cell are numbered in the order of its edges; the DARTS code has two of them a node.
    """
    assert genotype.reduce is not None
    imagenet = sizes.get("stem", "cifar") == "imagenet"
    reductions = reduction_cells(sizes["cells"])
    yield from _imagenet_stem() if imagenet else _stem("stem", ("stem_0",))
    for c in range(sizes["cells"]):
        torch, here = f"cells.{c}", f"cell_{c}"
        preprocess, where = f"{torch}.preprocess0", (here, "preprocess_0")
        if c - 1 in reductions or (c == 0 and imagenet):
            yield from factorized_reduce(preprocess, where, 0, affine=True)
        else:
            yield from relu_conv_bn(preprocess, where, affine=True)
        yield from relu_conv_bn(f"{torch}.preprocess1", (here, "preprocess_1"), affine=True)
        reduction = c in reductions
        yield from _cell(torch, here, genotype.reduce if reduction else genotype.normal, reduction)
    if sizes.get("auxiliary", False):
        yield from _auxiliary_head(second_norm=not imagenet)
    yield from linear("classifier", ("classifier",))


def nasbench201_entries(genotype: Genotype, sizes: Mapping[str, Any]) -> Iterator[TorchEntry]:
    """Every array of NAS-Bench-201's network, in its order; the blocks between the stages count as cells."""
    yield from _stem("stem", ("stem",))
    cells = sizes["cells"]
    for stage in range(STAGES):
        if stage:
            torch, here = f"cells.{stage * (cells + 1) - 1}", f"reduction_{stage}"
            for conv in ("conv_a", "conv_b"):
                yield from _nor_conv(f"{torch}.{conv}", (here, conv))
            yield TorchEntry(f"{torch}.downsample.1.weight", ("params", here, "shortcut"), None, "pointwise")
        for i in range(cells):
            torch, here = f"cells.{stage * (cells + 1) + i}", f"cell_{stage * cells + i}"
            edges = [(t, *edge) for t, node in enumerate(genotype.normal.nodes, start=1) for edge in node]
            for k, (target, op, source) in enumerate(edges):
                if op.startswith("nor_conv"):
                    yield from _nor_conv(f"{torch}.layers.{k}", (here, f"node_{target}_from_{source}_{op}"))
    yield from norm("lastact.0", ("norm",))
    yield from linear("classifier", ("classifier",))


def linear(name: str, here: VariablePath, *, bias: bool = True) -> Iterator[TorchEntry]:
    """A linear layer."""
    yield TorchEntry(f"{name}.weight", ("params", *here, "kernel"), None, "linear")
    if bias:
        yield TorchEntry(f"{name}.bias", ("params", *here, "bias"), None, "vector")


def _stem(torch: str, here: VariablePath) -> Iterator[TorchEntry]:
    yield TorchEntry(f"{torch}.0.weight", ("params", *here, "conv"), None, "dense")
    yield from norm(f"{torch}.1", (*here, "norm"))


def _imagenet_stem() -> Iterator[TorchEntry]:
    for stage, (torch, layer) in enumerate((("stem0", 0), ("stem0", 3), ("stem1", 1)), start=1):
        yield TorchEntry(f"{torch}.{layer}.weight", ("params", "stem_0", f"conv_{stage}"), None, "dense")
        yield from norm(f"{torch}.{layer + 1}", ("stem_0", f"norm_{stage}"))


def _cell(torch: str, here: str, cell: Cell, reduction: bool) -> Iterator[TorchEntry]:
    number = 0
    for target, edges in enumerate(cell.live_nodes, start=cell.inputs):
        for k, (op, source) in enumerate(edges):
            strided = reduction and source < cell.inputs
            yield from _op(f"{torch}._ops.{number}", (here, f"node_{target}_edge_{k}_{op}"), op, strided)
            number += 1


def _op(name: str, here: VariablePath, op: str, strided: bool) -> Iterator[TorchEntry]:
    match op.split("_"):
        case ["sep", "conv", _]:
            yield from separable(f"{name}.op", 1, here, 1, 0, affine=True)
            yield from separable(f"{name}.op", 5, here, 2, 0, affine=True)
        case ["dil", "conv", _]:
            yield from separable(f"{name}.op", 1, here, 1, 0, affine=True)
        case ["conv", "7x1", "1x7"]:
            yield TorchEntry(f"{name}.1.weight", ("params", *here, "conv_1x7"), None, "dense")
            yield TorchEntry(f"{name}.2.weight", ("params", *here, "conv_7x1"), None, "dense")
            yield from norm(f"{name}.3", (*here, "norm_1"))
        case ["skip", "connect"] if strided:
            yield from factorized_reduce(name, (*here, "reduce"), 0, affine=True)
        case ["skip", "connect"] | ["max" | "avg", "pool", "3x3"] | ["none"]:
            pass
        case _:
            raise UserError(f"op {op} has no PyTorch names; the network cannot be exchanged")


def _nor_conv(torch: str, here: VariablePath) -> Iterator[TorchEntry]:
    yield TorchEntry(f"{torch}.op.1.weight", ("params", *here, "conv"), None, "dense")
    yield from norm(f"{torch}.op.2", (*here, "norm"))


def _auxiliary_head(*, second_norm: bool) -> Iterator[TorchEntry]:
    head = "auxiliary_head"
    yield TorchEntry(f"{head}.features.2.weight", ("params", head, "conv_1"), None, "dense")
    yield from norm(f"{head}.features.3", (head, "norm_1"))
    yield TorchEntry(f"{head}.features.5.weight", ("params", head, "conv_2"), None, "dense")
    if second_norm:
        yield from norm(f"{head}.features.6", (head, "norm_2"))
    yield from linear(f"{head}.classifier", (head, "classifier"))
