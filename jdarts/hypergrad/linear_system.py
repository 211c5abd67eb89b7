"""The linear system of implicit differentiation and the base class of its solvers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jdarts.hypergrad.products import add, norm, scale
from jdarts.hypergrad.types import Loss, PyTree


class System(NamedTuple):
    """The matrix `H + δI` of the system `(H + δI) x = v` at one point, given by its products.

    Attributes:
      curvature: `(w, alphas, batch, p) -> H p`.
      damping: δ.
      w, alphas, opt_state, batch: the point, and the training batch (several are stacked, see `Solver.batches`).
    """

    curvature: Callable[..., PyTree]
    damping: Any
    w: PyTree
    alphas: PyTree
    opt_state: PyTree
    batch: PyTree

    def multiply(self, p: PyTree) -> PyTree:
        """`(H + δI) p`, like `p`."""
        return add(self.curvature(self.w, self.alphas, self.batch, p), scale(self.damping, p))

    def residual(self, v: PyTree, x: PyTree) -> PyTree:
        """`v − (H + δI) x`."""
        return add(v, self.multiply(scale(-1, x)))

    def on(self, batch: PyTree) -> "System":
        """The system of another training batch."""
        return self._replace(batch=batch)


Preconditioner = Callable[[System], Callable[[PyTree], PyTree]]
"""`preconditioner(system)` is a function `r -> P r`, linear, symmetric and positive definite, with `P ≈ (H + δI)⁻¹`.

It may use the system's point, for example the second moments of Adam in `system.opt_state`."""


@dataclass(frozen=True)
class Solver:
    """A method to solve `(H + δI) x = v`, for `jdarts.hypergrad.implicit`; subclasses define `solve`."""

    @property
    def batches(self) -> int:
        """The number of training batches that the solver takes, stacked; 1 is one batch, not stacked."""
        return 1

    def solve(self, system: System, v: PyTree, start: PyTree = None) -> PyTree:
        """`x` such that `(H + δI) x ≈ v`, like `v`; `start` is a first guess, and None is zero.

        The largest entry of `v` is about 1: the estimator scales it by a power of two.
        """
        raise NotImplementedError

    def curvature_of(self, train_loss: Loss) -> Loss:
        """The loss whose Hessian is H: the training loss, unless the solver puts another matrix in its place."""
        return train_loss


def last_of(batches: PyTree) -> PyTree:
    """The last of stacked batches."""
    return jax.tree.map(lambda leaf: leaf[-1], batches)


def relative(r: PyTree, v: PyTree) -> jax.Array:
    """`‖r‖ / ‖v‖`; 0 if both are 0."""
    length = norm(v)
    return norm(r) / jnp.where(length > 0, length, 1)
