"""Implicit differentiation at the optimum of the weights, by Hessian-vector products of the training loss.

If `∇_w L_train(w*(α), α) + δ w* = 0`, the implicit function theorem gives for `J(α) = L_val(w*(α), α)`

    dJ/dα = ∂_α L_val − ∇²_{αw} L_train x,      (H + δ I) x = v,      H = ∇²_{ww} L_train,  v = ∇_w L_val

all at w*. The two estimators solve for x by different methods. Both use the current `w` as w*. Both report the residual
of the system; neither can tell the distance between w and w*.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import optax

from jdarts.errors import UserError
from jdarts.hypergrad.axes import over_axis
from jdarts.hypergrad.checks import check_choice, check_count, check_number, checked
from jdarts.hypergrad.diagnosis import explained
from jdarts.hypergrad.infinite import along
from jdarts.hypergrad.products import add, both_products, gradients, hessian_product, inner, norm, power_of_two, scale
from jdarts.hypergrad.types import Aux, AxisName, Estimator, Loss
from jdarts.hypergrad.update import Step, no_adjoint


def neumann(
    train_loss: Loss,
    val_loss: Loss,
    optimizer: optax.GradientTransformation | None = None,
    *,
    terms: int = 3,
    step_size: float | None = None,
    damping: float = 0.0,
    point: Literal["w", "unrolled"] = "w",
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> Estimator:
    """Implicit differentiation with the first `terms` terms of the Neumann series `H⁻¹ = γ Σ_j (I − γH)^j`.

    With `step_size=γ` and `point="w"` this is iDARTS (Zhang et al. 2021), whose K is `terms − 1`. Zero terms give first
    order; infinitely many are exact at w* if `0 < γ(H + δI) < 2`. The result equals that of k = `terms` unrolled SGD
    steps on one batch that do not leave w.

    Args:
      terms: number of terms, 0 or more; each costs one Hessian-vector product.
      step_size: γ. None uses the optimiser at its current state as the preconditioner: the terms are `u_j = (∂U/∂g)ᵀ
        λ_j` and `λ_{j+1} = λ_j + (∂U/∂w)ᵀ λ_j + H u_j`. For SGD this means that γ is the current learning rate. Weight
        decay in the chain counts as curvature. Clipping and Adam's scale act as in the step. Past momentum does not
        count.
      damping: δ, added to the curvature.
      point: the weights at which the validation loss is taken: "w", or w' after one optimiser step ("unrolled"). One
        term at w' with `step_size=None` is exactly `unrolled`.
      microbatches, axis_name: as for `unrolled`.

    `aux.residual` is `‖v − (H + δI) x‖ / ‖v‖`, with the current preconditioner.
    """
    check_count("terms", terms, 0)
    check_number("damping", damping)
    check_count("microbatches", microbatches, 1)
    check_choice("point", point, ("w", "unrolled"))
    if step_size is not None:
        check_number("step_size", step_size, positive=True)
    preconditioner = optimizer if step_size is None else optax.sgd(step_size)
    if preconditioner is None or (optimizer is None and point == "unrolled"):
        raise UserError('neumann needs an optimizer, or a step_size together with point="w"')
    optimizer = optimizer if step_size is None or point == "unrolled" else None
    train_loss, val_loss = over_axis(train_loss, axis_name), over_axis(val_loss, axis_name)
    train_gradients = gradients(train_loss, microbatches)
    val_gradients = gradients(val_loss, microbatches)
    curvature, products = hessian_product(train_loss, microbatches), both_products(train_loss, microbatches)
    step = Step(preconditioner)
    move = Step(optimizer).advance if optimizer is not None else None

    def pull(adjoint, at):
        """`(u, λ + (∂U/∂w)ᵀ λ + δu, adjoint of the loss value, True if u may be infinite)` for an adjoint λ of w."""
        u, _, rest, by_value, singular = step.pull_back((adjoint, no_adjoint(at.opt_state)), at)
        return u, at.through_value(by_value, add(rest, scale(damping, u)), at.g), by_value, singular

    def solve(at, alphas, batch, v, d):
        if terms == 0:
            return d, jnp.ones_like(norm(v))

        def term(carry, _):
            adjoint, total = carry
            u, rest, _, singular = pull(adjoint, at)
            adjoint = add(rest, along(lambda u: curvature(at.w, alphas, batch, u), u, singular))
            return (adjoint, add(total, adjoint)), None

        (_, total), _ = jax.lax.scan(term, (v, v), length=terms - 1)
        # The pull-back is linear: it maps the sum of the adjoints to the sum of the terms.
        u, rest, by_value, singular = pull(total, at)
        by_w, by_alphas = along(lambda u: products(at.w, alphas, batch, u), u, singular)
        d = at.through_value(by_value, add(d, by_alphas))
        return d, _relative(add(add(v, add(rest, scale(-1, total))), by_w), v)

    def estimator(w, alphas, opt_state, train_batch, val_batch):
        train_value = train_aux = None
        reached = g = w  # with a given step size, the pull-back depends on neither gradient nor state
        slope, value = None, jnp.zeros(())
        if move is not None:
            (train_value, train_aux), (g, slope) = train_gradients(w, alphas, train_batch)
            value = train_value
            reached = move(g, opt_state, w, value)[0] if point == "unrolled" else w
        if step_size is not None:
            opt_state = preconditioner.init(w)
        (val_value, val_aux), (v, d) = val_gradients(reached, alphas, val_batch)
        grads, residual = solve(step.point(g, opt_state, w, value, slope), alphas, train_batch, v, d)
        return grads, Aux(val_value, val_aux, train_value, train_aux, residual=residual)

    sound = checked(
        estimator,
        train_loss=train_loss,
        val_loss=val_loss,
        optimizer=optimizer,
        microbatches=microbatches,
        axis_name=axis_name,
    )
    return explained(sound, train_loss, val_loss, optimizer, 1, microbatches) if step_size is None else sound


def conjugate_gradient(
    train_loss: Loss,
    val_loss: Loss,
    optimizer=None,
    *,
    iterations: int = 5,
    damping: float = 0.0,
    tolerance: float = 0.0,
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> Estimator:
    """Implicit differentiation with `(H + δI) x = v` solved by conjugate gradients (Rajeswaran et al. 2019).

    The validation loss is taken at `w`. The result is exact at w* if `H + δI` is positive definite and the number of
    iterations is at least the number of distinct eigenvalues of H. The Hessian of a network in training is indefinite;
    with a `damping` above minus its lowest eigenvalue the system is positive definite. The iteration stops before a
    direction whose curvature is not positive beyond rounding; check `aux.residual` = `‖v − (H + δI) x‖ / ‖v‖`. If
    H + δI is singular and v has a part in its null space, there is no solution, and x is the last iterate, not the one
    of least norm; use `damping`. This happens for weights that move only the validation loss, such as the weights of a
    pixel that is black in the training batch.

    Args:
      iterations: largest number of iterations, each one Hessian-vector product; 0 is first order.
      damping: δ. Include the coupled weight decay of the weights' optimiser, which the training loss does not contain.
      tolerance: stop at this relative residual.
      microbatches, axis_name: as for `unrolled`.
    """
    del optimizer
    check_count("iterations", iterations, 0)
    check_number("damping", damping)
    check_number("tolerance", tolerance)
    check_count("microbatches", microbatches, 1)
    train_loss, val_loss = over_axis(train_loss, axis_name), over_axis(val_loss, axis_name)
    val_gradients = gradients(val_loss, microbatches)
    curvature, products = hessian_product(train_loss, microbatches), both_products(train_loss, microbatches)

    def solve(w, alphas, batch, v, d):
        def damped(p):
            return add(curvature(w, alphas, batch, p), scale(damping, p))

        unit, back = power_of_two(v)  # keeps the squares of very large or very small gradients in range
        x = scale(back, _solve_by_cg(damped, scale(unit, v), iterations, tolerance))
        by_w, by_alphas = products(w, alphas, batch, scale(-1, x))
        return add(d, by_alphas), _relative(add(v, add(by_w, scale(-damping, x))), v)

    def estimator(w, alphas, opt_state, train_batch, val_batch):
        del opt_state
        (value, aux), (v, d) = val_gradients(w, alphas, val_batch)
        grads, residual = solve(w, alphas, train_batch, v, d)
        return grads, Aux(value, aux, residual=residual)

    return checked(estimator, train_loss=train_loss, val_loss=val_loss, microbatches=microbatches, axis_name=axis_name)


def _solve_by_cg(multiply, v, iterations, tolerance):
    """Solve `multiply(x) ≈ v` from x = 0 (Hestenes and Stiefel 1952); stop when a direction has no curvature.

    The curvature of a direction in the null space is a rounding error of either sign. A curvature below the precision
    times the largest curvature so far therefore counts as zero, and the step, which may be infinite, is not computed.
    The solver of `jax.scipy` cannot be used: the type of its result varies over the devices of a `shard_map`.
    """
    enough, precision = tolerance**2 * inner(v, v), max(float(jnp.finfo(a.dtype).eps) for a in jax.tree.leaves(v))

    def more(carry):
        i, go, *_, rr = carry
        return (i < iterations) & go & (rr > enough)

    def improve(carry):
        i, _, most, x, r, p, rr = carry
        product = multiply(p)
        bend, square = inner(p, product), inner(p, p)
        most = jnp.maximum(most, bend / square)
        go = bend > precision * most * square
        length = rr / jnp.where(go, bend, 1)
        go &= jnp.isfinite(length)  # a positive curvature can be too small to divide by
        length = jnp.where(go, length, 0)
        x = jax.tree.map(lambda old, new: jnp.where(go, new, old), x, add(x, scale(length, p)))
        r = add(r, scale(-length, product))
        new = inner(r, r)
        return i + 1, go, most, x, r, add(r, scale(new / rr, p)), new  # rr > 0, otherwise `more` is False

    square = inner(v, v)
    start = (0, True, jnp.zeros_like(square), jax.tree.map(jnp.zeros_like, v), v, v, square)
    return jax.lax.while_loop(more, improve, start)[3]


def _relative(r, v):
    length = norm(v)
    return norm(r) / jnp.where(length > 0, length, 1)
