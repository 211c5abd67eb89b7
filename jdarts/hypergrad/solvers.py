"""Solvers of `(H + δI) x = v`: the Neumann series, conjugate gradients, and Gauss–Newton products in place of H."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jdarts.errors import UserError
from jdarts.hypergrad.checks import check_count, check_number
from jdarts.hypergrad.linear_system import Preconditioner, Solver, System, last_of
from jdarts.hypergrad.lineax_solver import Lineax
from jdarts.hypergrad.products import add, inner, scale
from jdarts.hypergrad.types import Loss, PyTree


@dataclass(frozen=True)
class Neumann(Solver):
    """The first `terms` terms of the Neumann series `(H + δI)⁻¹ = γ Σ_j (I − γ(H + δI))^j`; each costs one product.

    This is iDARTS (Zhang et al. 2021; its K is `terms − 1`). It converges if `0 < γ(λ + δ) < 2` for every
    eigenvalue λ of H. From a `start` it is as many Richardson iterations `x ← x + γ (v − (H + δI) x)`.

    With `fresh`, every term has its own batch, as in stocBiO (Ji et al. 2021): `γ Σ_j Π_{i≤j} (I − γ(H_i + δI))
    v`, where H_i belongs to batch i. `train_batch` then holds `terms` batches, stacked along a new leading axis
    (`jdarts.hypergrad.stack_batches`); one batch is not stacked. All but the last serve the terms. The last serves the
    mixed product and the residual. For independent batches the mean of x is the series with the mean Hessian.

    Attributes:
      terms: number of terms, 0 or more; 0 is first order.
      step_size: γ, in units of 1/H.
      fresh: a batch for each term.
    """

    terms: int = 3
    step_size: float = 0.1
    fresh: bool = False

    def __post_init__(self):
        check_count("terms", self.terms, 0)
        check_number("step_size", self.step_size, positive=True)

    @property
    def batches(self) -> int:
        """`terms` with `fresh`, otherwise 1."""
        return max(self.terms, 1) if self.fresh else 1

    def solve(self, system: System, v: PyTree, start: PyTree = None) -> PyTree:
        """The partial sum of the series, from `start`."""
        if start is not None:
            at = system if self.batches == 1 else system.on(last_of(system.batch))
            return add(start, self.solve(system, at.residual(v, start)))
        if self.terms == 0:
            return jax.tree.map(jnp.zeros_like, v)

        def term(carry, batch):
            part, total = carry
            at = system if self.batches == 1 else system.on(batch)
            part = add(part, scale(-self.step_size, at.multiply(part)))
            return (part, add(total, part)), None

        first = scale(self.step_size, v)
        batches = None if self.batches == 1 else jax.tree.map(lambda leaf: leaf[:-1], system.batch)
        return jax.lax.scan(term, (first, first), batches, length=self.terms - 1)[0][1]


@dataclass(frozen=True)
class ConjugateGradient(Solver):
    """Conjugate gradients (Hestenes and Stiefel 1952), which stop before a direction without positive curvature.

    Exact if `H + δI` is positive definite and `iterations` is at least the number of its distinct eigenvalues. The
    loop is the project's own because `lineax.CG` returns NaN from a singular system and steps along directions of
    negative curvature; otherwise `implicit(solver=lineax.CG(…))` does the same.

    Attributes:
      iterations: largest number of iterations, each one Hessian product; 0 is first order.
      tolerance: stop at this residual `‖v − (H + δI) x‖ / ‖v‖`.
      preconditioner: `system -> (r -> P r)` with a positive definite `P ≈ (H + δI)⁻¹`, for example `Nystrom(10)`.
    """

    iterations: int = 5
    tolerance: float = 0.0
    preconditioner: Preconditioner | None = None

    def __post_init__(self):
        check_count("iterations", self.iterations, 0)
        check_number("tolerance", self.tolerance)

    def solve(self, system: System, v: PyTree, start: PyTree = None) -> PyTree:
        """The last iterate.

        The curvature of a direction in the null space is a rounding error of either sign. A curvature below the
        precision times the largest curvature so far therefore counts as zero, and the step is not taken.
        """
        precondition = self.preconditioner(system) if self.preconditioner is not None else lambda r: r
        enough = self.tolerance**2 * inner(v, v)
        precision = max(float(jnp.finfo(a.dtype).eps) for a in jax.tree.leaves(v))

        def more(carry):
            i, go, *_, r, _, rz = carry
            return (i < self.iterations) & go & (inner(r, r) > enough) & (rz > 0)

        def improve(carry):
            i, _, most, x, r, p, rz = carry
            product = system.multiply(p)
            bend, square = inner(p, product), inner(p, p)
            most = jnp.maximum(most, bend / square)
            go = bend > precision * most * square
            length = rz / jnp.where(go, bend, 1)
            go &= jnp.isfinite(length)  # a positive curvature can be too small to divide by
            length = jnp.where(go, length, 0)
            x = jax.tree.map(lambda old, new: jnp.where(go, new, old), x, add(x, scale(length, p)))
            r = add(r, scale(-length, product))
            z = precondition(r)
            new = inner(r, z)
            return i + 1, go, most, x, r, add(z, scale(new / rz, p)), new  # rz > 0, otherwise `more` is False

        x = jax.tree.map(jnp.zeros_like, v) if start is None else start
        r = v if start is None else system.residual(v, start)
        z = precondition(r)
        rz = inner(r, z)
        return jax.lax.while_loop(more, improve, (0, True, jnp.zeros_like(rz), x, r, z, rz))[3]


@dataclass(frozen=True)
class GaussNewton(Solver):
    """A solver with the Gauss–Newton matrix `G = Jᵀ (∇²ℓ) J` in place of the Hessian (Schraudolph 2002).

    For the training loss `ℓ(network(w))`, where `J` is the Jacobian of the network by w. G is positive semi-definite
    if ℓ is convex in the outputs, so that `G + δI` has an inverse where H, the Hessian of a network in training, is
    indefinite. G equals H where the network is linear in w or fits its targets exactly; elsewhere the hypergradient is
    biased. A product costs a forward-mode and a reverse-mode pass of the network, and no second derivative of it. The
    mixed product stays that of the training loss.

    Attributes:
      network: `(w, alphas, batch) -> outputs`, any pytree.
      criterion: `(outputs, batch) -> scalar`, a mean over the batch.
      solver: the solver of `(G + δI) x = v`.
    """

    network: Callable[[PyTree, PyTree, PyTree], PyTree]
    criterion: Callable[[PyTree, PyTree], jax.Array]
    solver: Any = ConjugateGradient()

    def __post_init__(self):
        object.__setattr__(self, "solver", as_solver(self.solver))

    @property
    def batches(self) -> int:
        """The number of batches that the inner solver takes."""
        return self.solver.batches

    def solve(self, system: System, v: PyTree, start: PyTree = None) -> PyTree:
        """The solution by the inner solver."""
        return self.solver.solve(system, v, start)

    def curvature_of(self, train_loss: Loss) -> Loss:
        """A loss whose Hessian by w is G."""
        del train_loss
        return _linearised(self.network, self.criterion)


@functools.lru_cache(maxsize=64)
def _linearised(network, criterion) -> Loss:
    """The criterion of the network linearised at w itself: its Hessian at w is the Gauss–Newton matrix."""

    def linearised(w, alphas, batch):
        at = jax.lax.stop_gradient(w)
        moved = jax.tree.map(lambda a, b: a - b, w, at)
        outputs, change = jax.jvp(lambda p: network(p, alphas, batch), (at,), (moved,))
        return criterion(add(outputs, change), batch), None

    return linearised


@dataclass(frozen=True)
class _Function(Solver):
    """A solver of the user's: `function(multiply, v) -> x`."""

    function: Callable[[Callable[[PyTree], PyTree], PyTree], PyTree]

    def solve(self, system: System, v: PyTree, start: PyTree = None) -> PyTree:
        """The solution of the system for the residual of `start`, added to it."""
        if start is None:
            return self.function(system.multiply, v)
        return add(start, self.function(system.multiply, system.residual(v, start)))


def as_solver(solver: Any) -> Solver:
    """`solver` as a `Solver`: one itself, a solver of lineax, or a function `(multiply, v) -> x`."""
    if isinstance(solver, Solver):
        return solver
    lineax = sys.modules.get("lineax")
    if lineax is not None and isinstance(solver, lineax.AbstractLinearSolver):
        return Lineax(solver)
    if callable(solver) and not isinstance(solver, type):
        return _Function(solver)
    raise UserError(
        f"solver is {solver!r}; use Neumann(terms, step_size), ConjugateGradient(iterations), Nystrom(rank), "
        "GaussNewton(…), a solver of lineax such as lineax.GMRES(rtol=1e-3, atol=1e-3), or a function "
        "(multiply, v) -> x"
    )
