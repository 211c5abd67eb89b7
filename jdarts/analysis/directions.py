"""Directions in the space of the alphas: coordinates, the softmax's flat directions, random and orthogonal ones.

n: number of all alphas, in the order of the pytree's leaves (normal before reduce), row-major.
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jdarts.errors import UserError

Scaling = Literal["cell", "edge", "model", "none"]


def flatten(alphas):
    """`(vector [n], unflatten)` of a pytree of arrays."""
    return ravel_pytree(alphas)


def as_tree(vector, alphas):
    """`vector [n]` in the shapes and dtypes of `alphas`."""
    flat, unflatten = flatten(alphas)
    if np.shape(vector) != flat.shape:
        raise UserError(f"the direction has shape {list(np.shape(vector))}; these alphas need [{flat.size}]")
    return unflatten(jnp.asarray(vector, flat.dtype))


def unit_directions(parts: Sequence[jax.Array], active: Sequence[np.ndarray], chunk: int) -> list[jax.Array]:
    """The unit vectors along the `active` entries of arrays, in chunks: for each part `[chunks, chunk, *part]`.

    `active`: indices into each flattened part. The last chunk is padded with zeros.
    """
    count = sum(map(len, active))
    chunk = max(1, min(chunk, count))
    units, first = [], 0
    for part, own in zip(parts, active, strict=True):
        rows = np.zeros((-(-count // chunk) * chunk, part.size), part.dtype)
        rows[first + np.arange(len(own)), own] = 1
        units.append(jnp.asarray(rows.reshape(-1, chunk, *part.shape)))
        first += len(own)
    return units


def shift_directions(alphas) -> np.ndarray:
    """Orthonormal directions `[n, edges]`, float64, along which a softmax over the last axis does not change.

    Each direction adds a constant to all alphas of one edge. The Hessian of any loss of softmaxed alphas is zero along
    these directions.
    """
    leaves = [np.shape(leaf) for leaf in jax.tree.leaves(alphas)]
    n, edges = sum(map(np.prod, leaves)), sum(np.prod(shape[:-1], dtype=int) for shape in leaves)
    basis = np.zeros((int(n), int(edges)))
    start = edge = 0
    for shape in leaves:
        for _ in range(int(np.prod(shape[:-1], dtype=int))):
            basis[start : start + shape[-1], edge] = 1 / np.sqrt(shape[-1])
            start, edge = start + shape[-1], edge + 1
    return basis


def project_off(matrix: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The symmetric `matrix [n, n]` or vector `[n]` without its components along the orthonormal `basis [n, k]`."""
    if matrix.ndim == 1:
        return matrix - basis @ (basis.T @ matrix)
    half = matrix - basis @ (basis.T @ matrix)
    return half - (half @ basis) @ basis.T


def random_direction(key: jax.Array, alphas):
    """Independent N(0, 1) entries in the shapes of `alphas`."""
    leaves, structure = jax.tree.flatten(alphas)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        structure, [jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=True)]
    )


def scaled(direction, alphas, scaling: Scaling = "cell"):
    """`direction` scaled to the size of `alphas`.

    "cell": every array has the Frobenius norm of its alphas (as in the published plots of DARTS-). "edge": every row
    has the norm of its alphas, like filter normalisation. "model": one factor for all arrays. "none": unchanged.

    Raises `UserError` for a direction of norm zero or a non-finite direction.
    """
    check_direction(direction)
    if scaling == "none":
        return direction
    if scaling == "model":
        factor = _norm(alphas) / _norm(direction)
        return jax.tree.map(lambda d: factor * d, direction)
    if scaling not in ("cell", "edge"):
        raise UserError(f"scaling is {scaling!r}; use 'cell', 'edge', 'model' or 'none'")

    def scale(d, a):
        axes = tuple(range(d.ndim)) if scaling == "cell" else (-1,)
        size, own = (jnp.sqrt(jnp.sum(x * x, axis=axes, keepdims=True)) for x in (a, d))
        return d * size / jnp.where(own > 0, own, 1)

    return jax.tree.map(scale, direction, alphas)


def orthogonal_to(first, direction, *, legacy: bool = False):
    """`direction` without its component along `first` (Gram-Schmidt over all arrays together).

    `legacy` divides the inner product by ‖first‖ instead of ‖first‖², as the published DARTS- code does; the result is
    then not orthogonal in general.
    """
    check_direction(first)
    squared = _norm(first) ** 2
    factor = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(direction), strict=True))
    factor = factor / (jnp.sqrt(squared) if legacy else squared)
    return jax.tree.map(lambda d, f: d - factor * f, direction, first)


def check_direction(direction, name: str = "direction") -> None:
    """Raise `UserError` unless the direction is finite and has a positive norm."""
    norm = float(_norm(direction))
    if not np.isfinite(norm):
        raise UserError(f"the {name} has entries that are not finite; give finite numbers")
    if norm == 0:
        raise UserError(f"the {name} has norm zero; give a direction that is not zero")


def _norm(tree) -> jax.Array:
    return jnp.sqrt(sum((jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(tree)), jnp.zeros(())))
