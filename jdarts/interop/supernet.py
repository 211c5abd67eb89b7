"""Supernet weights from and to PyTorch: the parameter names of the DARTS code and its descendants.

Convolutions are OIHW, as in a search network such as RobustDARTS'. In jdarts the edges out of one node share a
module and their weights are stacked; in PyTorch each edge has its own. The alphas are not among the arrays.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jdarts.errors import UserError
from jdarts.interop.arrays import checked, shape_of, without_counters
from jdarts.interop.entries import (
    TorchEntry,
    VariablePath,
    factorized_reduce,
    from_torch,
    relu_conv_bn,
    statistics,
    to_torch,
)
from jdarts.networks.reductions import reduction_cells
from jdarts.networks.wiring import DARTS_EDGES, NODES, OpTable, row
from jdarts.spaces.cell_space import CellSpace

_CELL = re.compile(r"cells\.(\d+)\.")


def load_torch_supernet(
    arrays: Mapping[str, np.ndarray],
    space: CellSpace,
    *,
    channels: int | None = None,
    cells: int | None = None,
    classes: int | None = None,
) -> dict[str, Any]:
    """The variables `{"params", "batch_stats"}` of a supernet of `space`, from a PyTorch search network.

    Args:
      arrays: floating-point arrays by PyTorch name, loaded as float32 (under `jax_enable_x64` float64);
        `num_batches_tracked` is ignored.
      space: its candidates, in the order of the PyTorch network's ops.
      channels, cells, classes: sizes of the supernet; inferred from the arrays if None.

    Raises `UserError` naming the first array that is missing, unexpected, misshapen or not floating-point. The
    statistics behind one pooling op are shared by all edges out of a node in jdarts; those of the PyTorch edges must
    agree (to 1e-5, relative).

    Example::

        variables = load_torch_supernet(np.load("weights.npz"), robust_s3)
        supernet = robust_s3.supernet(channels=16, cells=8, classes=10)
        logits = supernet.apply(variables, op_weights, images, train=False)
    """
    arrays = without_counters(arrays)
    stem = shape_of(arrays, "stem.0.weight", 4)
    channels = stem[0] // 3 if channels is None else channels
    classes = shape_of(arrays, "classifier.weight", 2)[0] if classes is None else classes
    if cells is None:
        cells = len({match[1] for name in arrays if (match := _CELL.match(name))})
    if channels < 2 or channels % 2 or cells < 1 or classes < 1:
        raise UserError(
            f"the arrays describe a supernet with channels={channels}, cells={cells}, classes={classes}; "
            "it has even channels and at least one cell and class"
        )
    network = f"the {space.name} supernet with channels={channels}, cells={cells}, classes={classes}"
    leaves = _template(space, channels, cells, classes, stem[1], jnp.result_type(float))
    entries = list(_entries(space, cells))
    for name in sorted(set(arrays) - {entry.name for entry in entries}):
        raise UserError(f"array {name!r} is not a part of {network}; check the space and the number of cells")
    values = _collect(arrays, entries, leaves, network)
    return traverse_util.unflatten_dict({path: jnp.asarray(value) for path, value in values.items()})


def _collect(
    arrays: Mapping[str, np.ndarray], entries: list[TorchEntry], leaves: Mapping[VariablePath, Any], network: str
) -> dict[VariablePath, np.ndarray]:
    """The variables by path, put together from the PyTorch arrays; `network` describes the supernet in errors."""
    values: dict[VariablePath, np.ndarray] = {}
    first: dict[tuple[VariablePath, int | None], str] = {}  # the array that filled a place
    for entry in entries:
        leaf = leaves[entry.path]
        slot_shape = leaf.shape if entry.index is None else leaf.shape[1:]
        expected = to_torch(np.empty(slot_shape, np.float32), entry.kind).shape
        value = from_torch(checked(arrays, entry.name, expected, network), entry.kind)
        target = values.setdefault(entry.path, np.empty(leaf.shape, leaf.dtype))
        slot = (entry.path, entry.index)
        if slot in first and not np.allclose(target[entry.index], value, rtol=1e-5, atol=1e-7):
            raise UserError(
                f"array {entry.name!r} differs from {first[slot]!r}; all edges out of a node share a "
                "pooling op's statistics, so give both arrays the same values"
            )
        if slot not in first:
            first[slot] = entry.name
            target[... if entry.index is None else entry.index] = value
    return values


def save_torch_supernet(variables: Mapping[str, Any], space: CellSpace) -> dict[str, np.ndarray]:
    """The arrays of the PyTorch search network with the weights `variables`, by PyTorch name.

    The inverse of `load_torch_supernet`; PyTorch's `load_state_dict` accepts the result (as tensors).
    Raises `UserError` if `variables` are not those of a supernet of `space`.
    """
    values = {
        path: np.asarray(value)
        for path, value in traverse_util.flatten_dict(dict(variables)).items()
        if path[0] in ("params", "batch_stats")
    }
    stem, classifier = values.get(("params", "stem", "conv")), values.get(("params", "classifier", "kernel"))
    if stem is None or classifier is None:
        raise UserError("variables have no params of stem and classifier; pass those of a supernet")
    cells = len({path[1] for path in values if path[1].startswith("cell_")})
    sizes = stem.shape[-1] // 3, cells, classifier.shape[-1], stem.shape[2]
    leaves = _template(space, *sizes, jnp.result_type(float))
    for path in sorted(set(values) ^ set(leaves)):
        what = "missing from" if path in leaves else "unexpected in"
        raise UserError(f"{'/'.join(path)} is {what} the variables; space {space.name} does not fit them")
    for path, leaf in leaves.items():
        if values[path].shape != leaf.shape:
            raise UserError(f"{'/'.join(path)} has shape {values[path].shape}; space {space.name} needs {leaf.shape}")
    arrays = {}
    for entry in _entries(space, cells):
        value = values[entry.path]
        arrays[entry.name] = to_torch(value if entry.index is None else value[entry.index], entry.kind).copy()
    return arrays


# The arrays, by PyTorch name


def _entries(space: CellSpace, cells: int) -> Iterator[TorchEntry]:
    """Every array of the PyTorch network, in its order."""
    if space.edges != DARTS_EDGES or space.ops:
        raise UserError(f"space {space.name} has cells or ops that PyTorch DARTS lacks")
    params, stats = ("params", "stem"), ("batch_stats", "stem", "norm")
    yield TorchEntry("stem.0.weight", (*params, "conv"), None, "dense")
    yield TorchEntry("stem.1.weight", (*params, "norm", "scale"), 0, "vector")
    yield TorchEntry("stem.1.bias", (*params, "norm", "bias"), 0, "vector")
    yield TorchEntry("stem.1.running_mean", (*stats, "mean"), 0, "vector")
    yield TorchEntry("stem.1.running_var", (*stats, "var"), 0, "vector")
    reductions = reduction_cells(cells)
    for c in range(cells):
        torch, here = f"cells.{c}", f"cell_{c}"
        if c - 1 in reductions:
            yield from factorized_reduce(f"{torch}.preprocess0", (here, "preprocess_0"), 0)
        else:
            yield from relu_conv_bn(f"{torch}.preprocess0", (here, "preprocess_0"))
        yield from relu_conv_bn(f"{torch}.preprocess1", (here, "preprocess_1"))
        table = space.reduce if c in reductions else space.normal
        for target in range(2, 2 + NODES):
            for source in range(target):
                strided = c in reductions and source < 2
                yield from _edge(f"{torch}._ops.{row(source, target)}", here, table, source, target, strided)
    yield TorchEntry("classifier.weight", ("params", "classifier", "kernel"), None, "linear")
    yield TorchEntry("classifier.bias", ("params", "classifier", "bias"), None, "vector")


def _edge(torch: str, cell: str, table: OpTable, source: int, target: int, strided: bool) -> Iterator[TorchEntry]:
    for k, op in enumerate(table[row(source, target)]):
        name, here = f"{torch}._ops.{k}", (cell, f"from_{source}_{op}")
        index = sum(op in table[row(source, t)] for t in range(max(2, source + 1), target))
        match op.split("_")[0]:
            case "sep" | "dil" as kind:
                for stage, layer in ((1, 1), (2, 5)) if kind == "sep" else ((1, 1),):
                    weights = ("params", *here)
                    yield TorchEntry(f"{name}.op.{layer}.weight", (*weights, f"depthwise_{stage}"), index, "depthwise")
                    yield TorchEntry(
                        f"{name}.op.{layer + 1}.weight", (*weights, f"pointwise_{stage}"), index, "pointwise"
                    )
                    yield from statistics(f"{name}.op.{layer + 2}", (*here, f"norm_{stage}"), index)
            case "max" | "avg":
                yield from statistics(f"{name}.1", (*here, "norm_1"), 0)
            case "skip" if strided:
                yield from factorized_reduce(name, (*here, "reduce"), index)
            case "skip" | "none" | "noise":
                pass
            case _:
                raise UserError(f"op {op} of edge {source}→{target} has no PyTorch names; it cannot be exchanged")


# Checks


@lru_cache(maxsize=8)
def _template(space: CellSpace, channels: int, cells: int, classes: int, image_channels: int, dtype: Any) -> dict:
    """Shapes of the supernet's variables by path; their `dtype` is part of the cache's key."""
    supernet = space.supernet(channels=channels, cells=cells, classes=classes)
    side = 2 ** len(reduction_cells(cells))
    weights = {name: jnp.zeros(shape) for name, shape in space.alpha_shapes.items()}
    images = jnp.zeros((1, side, side, image_channels), dtype)
    variables = jax.eval_shape(lambda key: supernet.init(key, weights, images, False), jax.random.key(0))
    return traverse_util.flatten_dict(variables)
