"""Amortised implicit differentiation: the solution x of `(H + δI) x = v` is carried from one call to the next.

The weights move little between two updates of the alphas, and so does x. A few products from the last x are therefore
as good as many from zero. x is the estimator's memory (`jdarts.hypergrad.memory`), of the size of the weights.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jdarts.config.ranges import NonNegative, Positive
from jdarts.errors import UserError
from jdarts.hypergrad.axes import axis_names, check_replicated, over_axis
from jdarts.hypergrad.checks import check_count, check_number, checked, describe
from jdarts.hypergrad.implicit import checked_solution, solution
from jdarts.hypergrad.linear_system import relative
from jdarts.hypergrad.memory import WithMemory
from jdarts.hypergrad.products import add, both_products, gradients, scale
from jdarts.hypergrad.solvers import ConjugateGradient, as_solver
from jdarts.hypergrad.types import Aux, AxisName, Loss, PyTree


def amortised(
    train_loss: Loss,
    val_loss: Loss,
    optimizer=None,
    *,
    step_size: Positive = 0.1,
    damping: NonNegative = 0.0,
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> WithMemory:
    """Implicit differentiation with one product a call: one gradient step on x for each call.

    With the memory x, all at the current w (SOBA, Dagréou et al. 2022; AmIGO by Arbel and Mairal 2022 takes several
    steps on x before it uses x, see `warm_started`):

        gradient     ∂_α L_val − ∇²_{αw} L_train x
        next memory  x + γ (v − (H + δI) x),      v = ∇_w L_val

    Hx and the mixed product come from one pass. A call therefore costs one gradient of the validation loss and one
    product, whatever the accuracy. The first call, with x = 0, is first order. For w, alphas and batches that stay, x
    converges to the solution if `0 < γ(λ + δ) < 2` for every eigenvalue λ of H, by the factor `max |1 − γ(λ + δ)|` a
    call. If it does not hold, x grows without bound over the calls: the Hessian of a network in training has negative
    eigenvalues, so a search needs a `damping` above minus the lowest. `aux.residual` = `‖v − (H + δI) x‖ / ‖v‖` of the
    x in use shows the growth.

    Args:
      optimizer: not used.
      step_size: γ, the step of x, below 2 / (largest eigenvalue of H + δ).
      damping: δ. Include the coupled weight decay of the weights' optimiser, which the training loss does not contain.
      microbatches, axis_name: as for `unrolled`.
    """
    del optimizer
    check_number("step_size", step_size, positive=True)
    check_number("damping", damping)
    check_count("microbatches", microbatches, 1)
    train_loss, val_loss = over_axis(train_loss, axis_name), over_axis(val_loss, axis_name)
    val_gradients, products = gradients(val_loss, microbatches), both_products(train_loss, microbatches)

    def estimator(w, alphas, opt_state, train_batch, val_batch, x):
        del opt_state
        check_memory(x, w, axis_name)
        (value, aux), (v, d) = val_gradients(w, alphas, val_batch)
        by_w, by_alphas = products(w, alphas, train_batch, scale(-1, x))
        r = add(v, add(by_w, scale(-damping, x)))
        after = Aux(value, aux, residual=relative(r, v), memory=add(x, scale(step_size, r)))
        return add(d, by_alphas), after

    sound = checked(estimator, train_loss=train_loss, val_loss=val_loss, microbatches=microbatches, axis_name=axis_name)
    return WithMemory(zeros, sound)


def warm_started(
    train_loss: Loss,
    val_loss: Loss,
    optimizer=None,
    *,
    solver: Any = None,
    damping: NonNegative = 0.0,
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> WithMemory:
    """`implicit` whose solver starts from the last solution x, the memory (AmIGO, Arbel and Mairal 2022, algorithm 1).

    With `ConjugateGradient(n)`, the default solver, it is the warm-started CG of AmIGO-CG; with `Neumann(n, γ)`, n
    steps of gradient descent on x, that of AmIGO-GD. The gradient uses the new x, unlike that of `amortised`. A call
    costs one gradient of the validation loss, one product for the residual of the last x, those of the solver, and one
    more. The first call is that of `implicit`. A cold start of as many iterations is often better if x comes from
    another mini-batch.

    Args:
      optimizer, damping, microbatches, axis_name: as for `implicit`.
      solver: as for `implicit`. `tolerance` of `ConjugateGradient` is relative to v, not to the first residual.
    """
    del optimizer
    solver = ConjugateGradient() if solver is None else as_solver(solver)
    solve = solution(train_loss, val_loss, solver, damping, microbatches, axis_name)

    def estimator(w, alphas, opt_state, train_batch, val_batch, x):
        check_memory(x, w, axis_name)
        grads, aux, x = solve(w, alphas, opt_state, train_batch, val_batch, x)
        return grads, aux._replace(memory=x)

    sound = checked_solution(estimator, train_loss, val_loss, solver, microbatches, axis_name)
    return WithMemory(zeros, sound, solver.batches)


def zeros(w: PyTree, alphas: PyTree) -> PyTree:
    """A memory like `w`, of zeros."""
    del alphas
    return jax.tree.map(jnp.zeros_like, w)


def check_memory(memory: PyTree, w: PyTree, axis_name: AxisName) -> None:
    """Raise `UserError` unless `memory` has the structure, shapes and dtypes of `w`, the same on all replicas."""
    if describe(memory) != describe(w) or jax.tree.structure(memory) != jax.tree.structure(w):
        raise UserError(
            f"memory is {describe(memory)}, but w is {describe(w)}; pass aux.memory of a call with weights like these, "
            "or leave it out to start afresh"
        )
    check_replicated(axis_names(axis_name), memory=memory)
