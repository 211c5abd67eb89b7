"""Types shared by all estimators: losses and results."""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax

PyTree = Any
Loss = Callable[[PyTree, PyTree, PyTree], tuple[jax.Array, Any]]
AxisName = str | tuple[str, ...] | None  # names of the mapped axes that hold parts of each batch
Estimator = Callable[..., tuple[PyTree, "Aux"]]  # (w, alphas, opt_state, train_batch, val_batch) -> (grads, aux)


def split_arrays(tree: PyTree) -> tuple[list, Callable[[list], PyTree], Hashable]:
    """`(arrays, rebuild, rest)`: the arrays of `tree`, a function, and all other leaves, such as flags and names.

    `rebuild(arrays)` is the tree with other arrays in it.
    """
    leaves, structure = jax.tree.flatten(tree)
    is_array = [hasattr(leaf, "dtype") for leaf in leaves]
    rest = tuple(None if array else leaf for leaf, array in zip(leaves, is_array, strict=True))

    def rebuild(arrays):
        remaining = iter(arrays)
        filled = [next(remaining) if array else leaf for leaf, array in zip(rest, is_array, strict=True)]
        return jax.tree.unflatten(structure, filled)

    arrays = [leaf for leaf, array in zip(leaves, is_array, strict=True) if array]
    return arrays, rebuild, (structure, rest)


class Aux(NamedTuple):
    """Values that an estimator computed besides the gradient; None for those that it did not compute.

    Attributes:
      val_loss, val_aux: value and aux of the loss that the alphas descend, at the point named in the estimator's
        docstring.
      train_loss, train_aux: value and aux of the training loss at `w` (k steps: on the first of the batches).
      weight_grads: gradient of the training loss by `w`, if the estimator returns it (`single_level`).
      moved: `(weights, state of the optimiser)` after the differentiated step (`look_back`).
      points_aux: aux of the training loss at the two points of `finite_difference`, in the order of the DARTS code:
        w − (ε/‖u‖) u, then w + (ε/‖u‖) u.
      residual: `‖v − (H + δI) x‖ / ‖v‖` of the linear system in the implicit estimators: 0 for an exact solution, 1 for
        x = 0.
      memory: the memory of the next call, of an estimator that has one (`jdarts.hypergrad.memory`).
    """

    val_loss: jax.Array
    val_aux: Any
    train_loss: jax.Array | None = None
    train_aux: Any = None
    weight_grads: Any = None
    moved: tuple[Any, Any] | None = None
    points_aux: Any = None
    residual: jax.Array | None = None
    memory: Any = None
