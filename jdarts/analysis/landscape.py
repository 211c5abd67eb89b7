"""Loss and accuracy around the alphas, on a grid along two directions; the weights stay fixed.

It is `L(α + x d₁ + y d₂)` for x, y in [−1, 1], as plotted by DARTS- (two random directions, scaled "cell") and
SmoothDARTS (gradient and an orthogonal direction). Published grids have 51 × 51 points on 25,000 images in evaluation
mode.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Grid:
    """The points `α + x[i] d₁ + y[j] d₂` for x and y in [−reach, reach].

    Attributes:
      directions: the pair `(d₁, d₂)`, trees like the alphas.
      points: number of points along both directions, or a number for each.
      reach: largest x and y.

    Raises `UserError` for a direction of norm zero and for a grid without points.
    """

    directions: tuple[Any, Any]
    points: int | tuple[int, int] = 51
    reach: float = 1.0

    def __post_init__(self):
        for name, direction in zip(("first direction", "second direction"), self.directions, strict=True):
            check_direction(direction, name)
        if min(self.counts) < 1:
            raise UserError(f"the grid has {self.counts[0]} × {self.counts[1]} points; use at least 1 of each")

    @property
    def counts(self) -> tuple[int, int]:
        """Number of points along each direction."""
        return (self.points, self.points) if isinstance(self.points, int) else self.points

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """The coordinates x and y; a single point lies at 0."""
        x, y = (np.linspace(-self.reach, self.reach, count) if count > 1 else np.zeros(1) for count in self.counts)
        return x, y


def landscape(
    loss: Loss,
    w: Any,
    alphas: Any,
    batches: Sequence[Any],
    grid: Grid,
    *,
    chunk: int = 1,
    compile: Callable = jax.jit,
) -> Landscape:
    """Loss and accuracy at the points of `grid`, means over `batches`.

    `vmap` evaluates `chunk` grid points at once (1 is best on a CPU). Raises `UserError` for a chunk below 1, or
    without batches.
    """
    if not batches:
        raise UserError("a landscape needs at least one batch")
    if chunk < 1:
        raise UserError(f"chunk is {chunk}; evaluate at least 1 grid point at a time")
    centre, unflatten = flatten(alphas)
    first, second = (flatten(d)[0] for d in grid.directions)

    def one(at, w, batch):
        value, aux = loss(w, unflatten(centre + at[0] * first + at[1] * second), batch)
        right = aux.get("accuracy") if isinstance(aux, dict) else None
        return jnp.stack([value, jnp.asarray(jnp.nan if right is None else right, value.dtype)])

    many = compile(
        lambda at, w, batch: jax.vmap(lambda a: one(a, w, batch))(at) if chunk > 1 else one(at[0], w, batch)[None]
    )
    x, y = grid.axes
    points = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    padded = np.concatenate([points, np.zeros((-len(points) % chunk, 2))])
    values = np.zeros((len(padded), 2))
    for first_row in range(0, len(padded), chunk):
        at = jnp.asarray(padded[first_row : first_row + chunk], centre.dtype)
        values[first_row : first_row + chunk] = np.mean([np.asarray(many(at, w, b), np.float64) for b in batches], 0)
    loss_values, accuracies = values[: len(points)].reshape(*grid.counts, 2).transpose(2, 0, 1)
    return Landscape(x, y, loss_values, accuracies)
