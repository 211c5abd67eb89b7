"""What all estimators share: the shapes of losses and results."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

PyTree = Any
Loss = Callable[[PyTree, PyTree, PyTree], tuple[jax.Array, Any]]
AxisName = str | tuple[str, ...] | None  # of the mapped axes that hold parts of each batch
Estimator = Callable[[PyTree, PyTree, PyTree, PyTree, PyTree], tuple[PyTree, "Aux"]]


class Aux(NamedTuple):
    """What an estimator saw on the way; None where it did not look.

    Attributes:
      val_loss, val_aux: value and aux of the loss that the alphas descend, at the point the estimator's docstring
      names.
      train_loss, train_aux: value and aux of the training loss at `w` (k steps: on the first of the batches).
      weight_grads: gradient of the training loss by `w`, where the estimator returns it (`single_level`).
      points_aux: aux of the training loss at the two points of `finite_difference(points_aux=True)`, in the order of
        the DARTS code: w − (ε/‖u‖) u, then w + (ε/‖u‖) u.
      residual: `‖v − (H + δI) x‖ / ‖v‖` of the linear solve in the implicit estimators: 0 exact, 1 nothing solved.
    """

    val_loss: jax.Array
    val_aux: Any
    train_loss: jax.Array | None = None
    train_aux: Any = None
    weight_grads: Any = None
    points_aux: Any = None
    residual: jax.Array | None = None
