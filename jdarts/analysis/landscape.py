"""Loss and accuracy around the alphas, on a grid along two directions; the weights stay fixed.

It is `L(α + x d₁ + y d₂)` for x, y in [−1, 1], as plotted by DARTS- (two random directions, scaled "cell") and
SmoothDARTS (gradient and an orthogonal direction). Published grids have 51 × 51 points on 25,000 images in evaluation
mode.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.analysis.directions import (
    Scaling,
    as_tree,
    check_direction,
    flatten,
    orthogonal_to,
    random_direction,
    scaled,
)
from jdarts.errors import UserError
from jdarts.hypergrad import Loss


class Landscape(NamedTuple):
    """Values on the grid `α + x[i] d₁ + y[j] d₂`.

    Attributes:
      x, y: coordinates, `[I]` and `[J]`.
      loss: means over all batches, `[I, J]`.
      accuracy: means over all batches, `[I, J]`; NaN if the aux of the loss has no accuracy.
    """

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray


def random_directions(key: jax.Array, alphas: Any, *, scaling: Scaling = "cell", legacy: bool = False) -> tuple:
    """Two random directions, made orthogonal, then scaled (DARTS-); `legacy`: see `orthogonal_to`."""
    first, second = (random_direction(k, alphas) for k in jax.random.split(key))
    second = orthogonal_to(first, second, legacy=legacy)
    return scaled(first, alphas, scaling), scaled(second, alphas, scaling)


def gradient_directions(key: jax.Array, gradient: Any, alphas: Any, *, scaling: Scaling = "model") -> tuple:
    """The `gradient` by the alphas (tree or `[n]`) and a random direction orthogonal to it (SmoothDARTS)."""
    first = as_tree(gradient, alphas) if np.ndim(gradient) == 1 and not isinstance(gradient, dict) else gradient
    check_direction(first, "gradient")
    second = orthogonal_to(first, random_direction(key, alphas))
    first, second = scaled(first, alphas, scaling), scaled(second, alphas, scaling)
    return first, second


def eigen_directions(eigenvectors: np.ndarray, alphas: Any, *, scaling: Scaling = "model") -> tuple:
    """The first two columns of `eigenvectors [n, n]` as directions, which span the plane of largest curvature."""
    first, second = (as_tree(eigenvectors[:, i], alphas) for i in range(2))
    return scaled(first, alphas, scaling), scaled(second, alphas, scaling)


def landscape(
    loss: Loss,
    w: Any,
    alphas: Any,
    batches: Sequence[Any],
    directions: tuple[Any, Any],
    *,
    points: int | tuple[int, int] = 51,
    reach: float = 1.0,
    chunk: int = 1,
    compile: Callable = jax.jit,
) -> Landscape:
    """Loss and accuracy on a `points` × `points` grid over [−reach, reach]².

    `vmap` evaluates `chunk` grid points at once (1 is best on a CPU). Raises `UserError` for a direction of norm zero,
    for a grid without points, and without batches.
    """
    for name, direction in zip(("first direction", "second direction"), directions, strict=True):
        check_direction(direction, name)
    if not batches:
        raise UserError("a landscape needs at least one batch")
    counts = (points, points) if isinstance(points, int) else points
    if min(counts) < 1 or chunk < 1:
        raise UserError(f"the grid is {counts[0]} × {counts[1]} in chunks of {chunk}; use at least 1 of each")
    x, y = (np.linspace(-reach, reach, c) if c > 1 else np.zeros(1) for c in counts)
    centre, unflatten = flatten(alphas)
    first, second = (flatten(d)[0] for d in directions)

    def one(at, w, batch):
        value, aux = loss(w, unflatten(centre + at[0] * first + at[1] * second), batch)
        right = aux.get("accuracy") if isinstance(aux, dict) else None
        return jnp.stack([value, jnp.asarray(jnp.nan if right is None else right, value.dtype)])

    many = compile(
        lambda at, w, batch: jax.vmap(lambda a: one(a, w, batch))(at) if chunk > 1 else one(at[0], w, batch)[None]
    )
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    padded = np.concatenate([grid, np.zeros((-len(grid) % chunk, 2))])
    values = np.zeros((len(padded), 2))
    for first_row in range(0, len(padded), chunk):
        at = jnp.asarray(padded[first_row : first_row + chunk], centre.dtype)
        values[first_row : first_row + chunk] = np.mean([np.asarray(many(at, w, b), np.float64) for b in batches], 0)
    loss_values, accuracies = values[: len(grid)].reshape(*counts, 2).transpose(2, 0, 1)
    return Landscape(x, y, loss_values, accuracies)
