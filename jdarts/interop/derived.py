"""Weights of derived networks of images from and to PyTorch, by the names of their authors' code."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.genotypes.macro import mobile_of
from jdarts.interop.arrays import checked, shape_of, without_counters
from jdarts.interop.cells import darts_entries, nasbench201_entries
from jdarts.interop.entries import TorchEntry, VariablePath, from_torch, to_torch
from jdarts.interop.mobile import mobile_entries
from jdarts.networks.of_genotype import TrainedOnImages, derived_network

_HEAD = "auxiliary_head."
_SIDES = {"cifar": 32, "imagenet": 224}


def load_torch_network(
    arrays: Mapping[str, np.ndarray], genotype: TrainedOnImages, sizes: Mapping[str, Any]
) -> dict[str, Any]:
    """The variables `{"params", "batch_stats"}` of `derived_network(genotype, **sizes)`, from a PyTorch network.

    Args:
      arrays: floating-point arrays by PyTorch name, loaded as float32 (under `jax_enable_x64` float64);
        `num_batches_tracked` is ignored, and `auxiliary_head` unless `sizes` has an auxiliary head.
      genotype: cells of the DARTS family, a cell of NAS-Bench-201, or a mobile network (`jdarts.interop.mobile`).
      sizes: the other arguments of `jdarts.networks.of_genotype.derived_network`.

    Raises `UserError` naming the first array that is missing, unexpected, misshapen or not floating-point.

    Example::

        sizes = {"channels": 36, "cells": 20, "classes": 10, "auxiliary": True}
        variables = load_torch_network(np.load("weights.npz"), parse("DARTS_V2"), sizes)
    """
    arrays = without_counters(arrays)
    if not sizes.get("auxiliary", False):
        arrays = {name: array for name, array in arrays.items() if not name.startswith(_HEAD)}
    entries = _entries(genotype, sizes)
    leaves = _leaves(genotype, sizes, shape_of(arrays, entries[0].name, 4)[1])
    network = f"this network ({', '.join(f'{name} {value}' for name, value in sizes.items())})"
    for name in sorted(set(arrays) - {entry.name for entry in entries}):
        raise UserError(f"array {name!r} is not a part of {network}; check the genotype and the sizes")
    values: dict[VariablePath, jax.Array] = {}
    for entry in entries:
        leaf = leaves[entry.path]
        slot = np.empty(leaf.shape if entry.index is None else leaf.shape[1:], np.float32)
        value = from_torch(checked(arrays, entry.name, to_torch(slot, entry.kind).shape, network), entry.kind)
        values[entry.path] = jnp.asarray(value.reshape(leaf.shape), leaf.dtype)
    return traverse_util.unflatten_dict(values)


def save_torch_network(
    variables: Mapping[str, Any], genotype: TrainedOnImages, sizes: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The arrays of the PyTorch network with the weights `variables`, by PyTorch name.

    The inverse of `load_torch_network`; PyTorch's `load_state_dict` accepts the result (as tensors). Raises
    `UserError` if the variables are not those of
    `derived_network(genotype, **sizes)`, and for networks without PyTorch names.
    """
    flat = traverse_util.flatten_dict({name: dict(variables.get(name, {})) for name in ("params", "batch_stats")})
    entries = _entries(genotype, sizes)
    for path in sorted({entry.path for entry in entries} ^ set(flat)):
        what = "unexpected in" if path in flat else "missing from"
        raise UserError(f"{'/'.join(path)} is {what} the variables; the genotype or the sizes do not fit them")
    values = {path: np.asarray(value) for path, value in flat.items()}
    return {entry.name: to_torch(_only(values[entry.path], entry), entry.kind).copy() for entry in entries}


def _only(value: np.ndarray, entry: TorchEntry) -> np.ndarray:
    return value if entry.index is None else value[entry.index]


def _entries(genotype: TrainedOnImages, sizes: Mapping[str, Any]) -> list[TorchEntry]:
    """Every array of the PyTorch network; the first one is the kernel of its first convolution."""
    mobile = mobile_of(genotype)
    if mobile is not None:
        return list(mobile_entries(mobile.scaled(sizes.get("width_multiplier", 1.0))))
    if type(genotype) is not Genotype:
        raise UserError(f"networks of a {type(genotype).__name__} have no PyTorch names")
    return list((nasbench201_entries if genotype.reduce is None else darts_entries)(genotype, sizes))


def _leaves(genotype: TrainedOnImages, sizes: Mapping[str, Any], colours: int) -> dict[VariablePath, Any]:
    """Shapes of the variables by path."""
    side = _SIDES[sizes.get("stem", "cifar")]
    images = jax.ShapeDtypeStruct((1, side, side, colours), jnp.result_type(float))
    network = derived_network(genotype, **sizes)
    variables = jax.eval_shape(lambda images: network.init(jax.random.key(0), images, False), images)
    return traverse_util.flatten_dict(variables)
