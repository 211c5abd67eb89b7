"""Checks of op weights before a genotype is derived from them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import excerpt
from jdarts.spaces.space import Space


def checked_weights(space: Space, op_weights: Mapping[str, Any], what: str = "op_weights") -> dict[str, np.ndarray]:
    """The op weights as float64 arrays `{cell type: [edges, ops]}` with this space's names and shapes.

    Raises `UserError` for missing or unknown cell types, entries that are not numbers, and other shapes.
    """
    shapes = space.alpha_shapes
    if not isinstance(op_weights, Mapping) or set(op_weights) != set(shapes):
        found = sorted(map(str, op_weights)) if isinstance(op_weights, Mapping) else excerpt(op_weights)
        raise UserError(f"{what} has the entries {found}; space {space.name} needs {list(shapes)}")
    arrays = {}
    for cell_type, shape in shapes.items():
        try:
            arrays[cell_type] = np.asarray(op_weights[cell_type], np.float64)
        except (TypeError, ValueError):
            raise UserError(
                f'{what}["{cell_type}"] is {excerpt(op_weights[cell_type])}; expected numbers of shape {shape}'
            ) from None
        if arrays[cell_type].shape != shape:
            raise UserError(
                f'{what}["{cell_type}"] has shape {arrays[cell_type].shape}; space {space.name} needs {shape}'
            )
    return arrays


def finite_weights(space: Space, op_weights: Mapping[str, Any], what: str = "op_weights") -> dict[str, np.ndarray]:
    """`checked_weights` with only finite entries, so that entries can be compared.

    Raises `UserError` that names the cell type, edge and op of the first NaN or infinite entry.
    """
    arrays = checked_weights(space, op_weights, what)
    for cell_type, array in arrays.items():
        wrong = np.argwhere(~np.isfinite(array))
        if len(wrong):
            row, column = map(int, wrong[0])
            source, target = space.edges[row]
            op = space.tables[cell_type][row][column]
            raise UserError(
                f'{what}["{cell_type}"] row {row} (edge {source}→{target}) is {array[row, column]} for {op}, '
                f"one of {len(wrong)} entries that are not finite; no genotype can be derived from them: the search "
                "diverged, use alphas from before that"
            )
    return arrays
