"""Arrays of PyTorch and their places among the variables of jdarts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

VariablePath = tuple[str, ...]
WeightKind = Literal["vector", "linear", "dense", "pointwise", "depthwise"]


@dataclass(frozen=True)
class TorchEntry:
    """A PyTorch array and its place in jdarts: `path` in the variables, `index` on the edge axis, if any."""

    name: str
    path: VariablePath
    index: int | None
    kind: WeightKind


def relu_conv_bn(name: str, here: VariablePath, *, affine: bool = False) -> Iterator[TorchEntry]:
    """ReLU, 1 × 1 convolution, batch norm; `here` is its place below `params` and `batch_stats`."""
    yield TorchEntry(f"{name}.op.1.weight", ("params", *here, "conv_1"), 0, "pointwise")
    yield from norm(f"{name}.op.2", (*here, "norm_1"), 0, affine=affine)


def factorized_reduce(name: str, here: VariablePath, index: int, *, affine: bool = False) -> Iterator[TorchEntry]:
    """Two 1 × 1 convolutions of stride 2 and a batch norm."""
    for conv in ("conv_1", "conv_2"):
        yield TorchEntry(f"{name}.{conv}.weight", ("params", *here, conv), index, "pointwise")
    yield from norm(f"{name}.bn", (*here, "norm_1"), index, affine=affine)


def separable(name: str, layer: int, here: VariablePath, stage: int, index: int, *, affine: bool = False):
    """Depthwise and 1 × 1 convolution, batch norm: the layers `layer`, `layer + 1` and `layer + 2` of `name`."""
    yield TorchEntry(f"{name}.{layer}.weight", ("params", *here, f"depthwise_{stage}"), index, "depthwise")
    yield TorchEntry(f"{name}.{layer + 1}.weight", ("params", *here, f"pointwise_{stage}"), index, "pointwise")
    yield from norm(f"{name}.{layer + 2}", (*here, f"norm_{stage}"), index, affine=affine)


def norm(name: str, here: VariablePath, index: int = 0, *, affine: bool = True) -> Iterator[TorchEntry]:
    """Batch norm: running averages and, if `affine`, scale and shift."""
    if affine:
        yield TorchEntry(f"{name}.weight", ("params", *here, "scale"), index, "vector")
        yield TorchEntry(f"{name}.bias", ("params", *here, "bias"), index, "vector")
    yield from statistics(name, here, index)


def statistics(name: str, here: VariablePath, index: int) -> Iterator[TorchEntry]:
    """The running averages of a batch norm."""
    yield TorchEntry(f"{name}.running_mean", ("batch_stats", *here, "mean"), index, "vector")
    yield TorchEntry(f"{name}.running_var", ("batch_stats", *here, "var"), index, "vector")


def to_torch(value: np.ndarray, kind: WeightKind) -> np.ndarray:
    """A weight of jdarts in the order of axes of PyTorch."""
    match kind:
        case "linear":
            return value.T  # [in, out] → [out, in]
        case "dense":
            return value.transpose(3, 2, 0, 1)  # HWIO → OIHW
        case "pointwise":
            return value.T[:, :, None, None]  # [in, out] → [out, in, 1, 1]
        case "depthwise":
            return value.transpose(2, 0, 1)[:, None]  # [k, k, C] → [C, 1, k, k]
    return value


def from_torch(value: np.ndarray, kind: WeightKind) -> np.ndarray:
    """The inverse of `to_torch`."""
    match kind:
        case "linear":
            return value.T
        case "dense":
            return value.transpose(2, 3, 1, 0)
        case "pointwise":
            return value[:, :, 0, 0].T
        case "depthwise":
            return value[:, 0].transpose(1, 2, 0)
    return value
