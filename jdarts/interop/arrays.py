"""Checks of arrays from PyTorch, by name."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from jdarts.errors import UserError

COUNTER = ".num_batches_tracked"  # of PyTorch's batch norm; its momentum mode, the only one in use, ignores it


def without_counters(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays as NumPy arrays, without the counters of batch norm."""
    return {name: np.asarray(array) for name, array in arrays.items() if not name.endswith(COUNTER)}


def shape_of(arrays: Mapping[str, np.ndarray], name: str, ndim: int) -> tuple[int, ...]:
    """The shape of the array called `name`; raises `UserError` if it is missing or has another number of dimensions."""
    if name not in arrays:
        raise UserError(f"array {name!r} is missing; pass the state_dict of a PyTorch search network")
    if arrays[name].ndim != ndim:
        raise UserError(f"array {name!r} has shape {arrays[name].shape}; expected {ndim} dimensions")
    return arrays[name].shape


def checked(arrays: Mapping[str, np.ndarray], name: str, expected: tuple[int, ...], network: str) -> np.ndarray:
    """The array called `name`; raises `UserError` if it is missing, has another shape or is not floating-point."""
    if name not in arrays:
        raise UserError(f"array {name!r} of shape {expected} is missing for {network}")
    array = arrays[name]
    if array.shape != expected:
        raise UserError(f"array {name!r} has shape {array.shape}; {network} needs {expected}")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise UserError(f"array {name!r} of shape {expected} has dtype {array.dtype}; it must be floating-point")
    return array
