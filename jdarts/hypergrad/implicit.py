"""Implicit differentiation at the optimum of the weights, by Hessian-vector products of the training loss.

If `∇_w L_train(w*(α), α) + δ w* = 0`, the implicit function theorem gives for `J(α) = L_val(w*(α), α)`

    dJ/dα = ∂_α L_val − ∇²_{αw} L_train x,      (H + δ I) x = v,      H = ∇²_{ww} L_train,  v = ∇_w L_val

all at w*. `implicit` leaves the solution of the system to a solver (`jdarts.hypergrad.solvers`). All estimators use the
current `w` as w*. They report the residual of the system; they cannot tell the distance between w and w*.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from jdarts.config.ranges import NonNegative
from jdarts.errors import UserError
from jdarts.hypergrad.axes import over_axis
from jdarts.hypergrad.checks import check_choice, check_count, check_number, checked
from jdarts.hypergrad.diagnosis import checked_steps
from jdarts.hypergrad.infinite import along
from jdarts.hypergrad.linear_system import Solver, System, last_of, relative
from jdarts.hypergrad.products import add, both_products, gradients, hessian_product, norm, power_of_two, scale
from jdarts.hypergrad.solvers import ConjugateGradient, as_solver
from jdarts.hypergrad.types import Aux, AxisName, Estimator, Loss, PyTree
from jdarts.hypergrad.update import Point, Step, no_adjoint


def implicit(
    train_loss: Loss,
    val_loss: Loss,
    optimizer: optax.GradientTransformation | None = None,
    *,
    solver: Any = None,
    damping: NonNegative = 0.0,
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> Estimator:
    """Implicit differentiation with `(H + δI) x = v` solved by `solver`; all losses are taken at `w`.

    One gradient of the validation loss, the products of the solver, and one product more. Exact if the solver is and w
    is at the optimum. For a network in training H is indefinite: use a `damping` above minus its lowest eigenvalue, or
    `GaussNewton`. Check `aux.residual` = `‖v − (H + δI) x‖ / ‖v‖`.

    Args:
      optimizer: not used; the system has no preconditioner but that of the solver (see `neumann` for one that has).
      solver: `Neumann(terms, step_size)`, `ConjugateGradient(iterations)` (the default), `Nystrom(rank)`,
        `GaussNewton(network, criterion, solver)`; a solver of lineax, such as `lineax.GMRES(rtol=1e-3, atol=1e-3)`;
        or a function `(multiply, v) -> x`, where `multiply(p)` is `(H + δI) p`.
      damping: δ. Include the coupled weight decay of the weights' optimiser, which the training loss does not contain.
      microbatches, axis_name: as for `unrolled`.

    Raises `UserError` for another `solver`.
    """
    del optimizer
    solver = ConjugateGradient() if solver is None else as_solver(solver)
    solve = solution(train_loss, val_loss, solver, damping, microbatches, axis_name)

    def estimator(*arguments):
        grads, aux, _ = solve(*arguments)
        return grads, aux

    return checked_solution(estimator, train_loss, val_loss, solver, microbatches, axis_name)


def checked_solution(
    estimator: Callable[..., tuple[PyTree, Aux]],
    train_loss: Loss,
    val_loss: Loss,
    solver: Solver,
    microbatches: int,
    axis_name: AxisName,
) -> Callable[..., tuple[PyTree, Aux]]:
    """`estimator` with checks of its arguments (`checked`), and of the batches that `solver` takes."""
    return checked(
        estimator,
        train_loss=over_axis(train_loss, axis_name),
        val_loss=over_axis(val_loss, axis_name),
        batches=solver.batches,
        microbatches=microbatches,
        axis_name=axis_name,
    )


def solution(
    train_loss: Loss, val_loss: Loss, solver: Solver, damping: float, microbatches: int, axis_name: AxisName
) -> Callable[..., tuple[PyTree, Aux, PyTree]]:
    """`(w, alphas, opt_state, train_batch, val_batch, start=None) -> (grads, aux, x)`: the work of `implicit`."""
    check_number("damping", damping)
    check_count("microbatches", microbatches, 1)
    train_loss, val_loss = over_axis(train_loss, axis_name), over_axis(val_loss, axis_name)
    curved = solver.curvature_of(train_loss)
    curvature = hessian_product(curved, microbatches, axis_name if curved is not train_loss else None)
    val_gradients, products = gradients(val_loss, microbatches), both_products(train_loss, microbatches)

    def solve(w, alphas, opt_state, train_batch, val_batch, start=None):
        (value, aux), (v, d) = val_gradients(w, alphas, val_batch)
        system = System(curvature, damping, w, alphas, opt_state, train_batch)
        unit, back = power_of_two(v)  # keeps the squares of very large or very small gradients in range
        x = solver.solve(system, scale(unit, v), None if start is None else scale(unit, start))
        x = scale(back, x)
        last = train_batch if solver.batches == 1 else last_of(train_batch)
        by_w, by_alphas = products(w, alphas, last, scale(-1, x))
        r = add(v, add(by_w, scale(-damping, x))) if curved is train_loss else system.on(last).residual(v, x)
        return add(d, by_alphas), Aux(value, aux, residual=relative(r, v)), x

    return solve


def conjugate_gradient(
    train_loss: Loss,
    val_loss: Loss,
    optimizer=None,
    *,
    iterations: int = 5,
    damping: NonNegative = 0.0,
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> Estimator:
    """Implicit differentiation by conjugate gradients (Rajeswaran et al. 2019): `ConjugateGradient` in `implicit`.

    The result is exact at w* if `H + δI` is positive definite and the number of iterations is at least the number of
    distinct eigenvalues of H. The Hessian of a network in training is indefinite; with a `damping` above minus its
    lowest eigenvalue the system is positive definite. The iteration stops before a direction whose curvature is not
    positive beyond rounding; check `aux.residual`. If H + δI is singular and v has a part in its null space, there is
    no solution, and x is the last iterate, not the one of least norm; use `damping`. This happens for weights that move
    only the validation loss, such as the weights of a pixel that is black in the training batch.

    Args:
      iterations: largest number of iterations, each one Hessian-vector product; 0 is first order.
      damping: δ. Include the coupled weight decay of the weights' optimiser, which the training loss does not contain.
      microbatches, axis_name: as for `unrolled`.
    """
    del optimizer
    solver = ConjugateGradient(iterations)
    return implicit(
        train_loss, val_loss, solver=solver, damping=damping, microbatches=microbatches, axis_name=axis_name
    )


def neumann(
    train_loss: Loss,
    val_loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    terms: int = 3,
    point: Literal["w", "unrolled"] = "w",
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> Estimator:
    """Implicit differentiation by `terms` terms of the Neumann series, preconditioned by the optimiser.

    The terms are `u_j = (∂U/∂g)ᵀ λ_j` and `λ_{j+1} = λ_j + (∂U/∂w)ᵀ λ_j + H u_j`, with `λ_0 = v`. For SGD this is the
    series `γ Σ_j (I − γH)^j` with γ the current learning rate. Weight decay in the chain counts as curvature. Clipping
    and Adam's scale act as in the step. Past momentum does not count. The result equals that of k = `terms` unrolled
    SGD steps on one batch that do not leave w. For iDARTS' series with a step size of its own, use
    `implicit(solver=Neumann(terms, step_size))`.

    Args:
      terms: number of terms, 0 or more; each costs one Hessian-vector product. 0 is first order; infinitely many are
        exact at w* if the series converges.
      point: the weights at which the validation loss is taken: "w", or w' after one optimiser step ("unrolled"). One
        term at w' is exactly `unrolled`.
      microbatches, axis_name: as for `unrolled`.

    `aux.residual` is that of the preconditioned system.
    """
    check_count("terms", terms, 0)
    check_count("microbatches", microbatches, 1)
    check_choice("point", point, ("w", "unrolled"))
    if optimizer is None:
        raise UserError("neumann needs an optimizer; without one, use implicit(solver=Neumann(terms, step_size))")
    train_loss, val_loss = over_axis(train_loss, axis_name), over_axis(val_loss, axis_name)
    train_gradients, val_gradients = gradients(train_loss, microbatches), gradients(val_loss, microbatches)
    step = Step(optimizer)
    series = _Series(train_loss, step, terms, microbatches)

    def estimator(w, alphas, opt_state, train_batch, val_batch):
        (train_value, train_aux), (g, slope) = train_gradients(w, alphas, train_batch)
        reached = step.advance(g, opt_state, w, train_value)[0] if point == "unrolled" else w
        (val_value, val_aux), (v, d) = val_gradients(reached, alphas, val_batch)
        grads, residual = series.solve(step.point(g, opt_state, w, train_value, slope), alphas, train_batch, v, d)
        return grads, Aux(val_value, val_aux, train_value, train_aux, residual=residual)

    return checked_steps(estimator, train_loss, val_loss, optimizer, microbatches=microbatches, axis_name=axis_name)


class _Series:
    """The Neumann series with the optimiser's step as its preconditioner."""

    def __init__(self, train_loss: Loss, step: Step, terms: int, microbatches: int):
        self.step, self.terms = step, terms
        self.curvature = hessian_product(train_loss, microbatches)
        self.products = both_products(train_loss, microbatches)

    def pull(self, adjoint: PyTree, at: Point):
        """`(u, λ + (∂U/∂w)ᵀ λ, adjoint of the loss value, True if u may be infinite)` for an adjoint λ of w."""
        u, _, rest, by_value, singular = self.step.pull_back((adjoint, no_adjoint(at.opt_state)), at)
        return u, at.through_value(by_value, rest, at.g), by_value, singular

    def solve(self, at: Point, alphas: PyTree, batch: PyTree, v: PyTree, d: PyTree) -> tuple[PyTree, jax.Array]:
        """`(d − ∇²_{αw} L x, relative residual)`."""
        if self.terms == 0:
            return d, jnp.ones_like(norm(v))

        def term(carry, _):
            adjoint, total = carry
            u, rest, _, singular = self.pull(adjoint, at)
            adjoint = add(rest, along(lambda u: self.curvature(at.w, alphas, batch, u), u, singular))
            return (adjoint, add(total, adjoint)), None

        (_, total), _ = jax.lax.scan(term, (v, v), length=self.terms - 1)
        # The pull-back is linear: it maps the sum of the adjoints to the sum of the terms.
        u, rest, by_value, singular = self.pull(total, at)
        by_w, by_alphas = along(lambda u: self.products(at.w, alphas, batch, u), u, singular)
        d = at.through_value(by_value, add(d, by_alphas))
        return d, relative(add(add(v, add(rest, scale(-1, total))), by_w), v)
