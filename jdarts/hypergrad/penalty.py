"""A fully first-order hypergradient: the training problem as a penalty, with a second copy of the weights."""

import jax
import jax.numpy as jnp

from jdarts.config.ranges import Positive
from jdarts.hypergrad.amortised import check_memory
from jdarts.hypergrad.axes import over_axis
from jdarts.hypergrad.checks import check_count, check_number, checked
from jdarts.hypergrad.memory import WithMemory
from jdarts.hypergrad.products import gradients
from jdarts.hypergrad.types import Aux, AxisName, Loss, PyTree


def penalised(
    train_loss: Loss,
    val_loss: Loss,
    optimizer=None,
    *,
    multiplier: Positive = 10.0,
    step_size: Positive = 0.1,
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> WithMemory:
    """The fully first-order hypergradient F2SA (Kwon et al. 2023, algorithm 1): no second derivative.

    It is the gradient of the Lagrangian `L_val(y, α) + λ (L_train(y, α) − min_w L_train(w, α))`. The minimum over y is
    a second copy of the weights, the memory, which starts at w and takes one gradient step in each call:

        gradient     ∂_α L_val(y) + λ (∂_α L_train(y) − ∂_α L_train(w))
        next memory  y − γ (∇_w L_train(y) + ∇_w L_val(y) / λ)

    A call costs three gradients (both losses at y, the training loss at w by α only). For y and w at their minima it
    errs by O(1/λ) from the implicit gradient; rounding errors and the noise of a batch grow with λ. The first call,
    with y = w, is first order. The validation loss and its aux are those at y, the training loss those at w. With one
    step a call, y follows w only if the alphas move slowly. In a search, y is a network of its own trained by plain
    gradient descent, without the momentum, decay and clipping of the weights' optimiser, and as large as w.

    Args:
      optimizer: not used.
      multiplier: λ, constant; F2SA increases it over the calls.
      step_size: γ, in the scale of the training loss, below 2 / (largest eigenvalue of its Hessian).
      microbatches, axis_name: as for `unrolled`.
    """
    del optimizer
    check_number("multiplier", multiplier, positive=True)
    check_number("step_size", step_size, positive=True)
    check_count("microbatches", microbatches, 1)
    train_loss, val_loss = over_axis(train_loss, axis_name), over_axis(val_loss, axis_name)
    train_gradients, val_gradients = gradients(train_loss, microbatches), gradients(val_loss, microbatches)

    def estimator(w, alphas, opt_state, train_batch, val_batch, y):
        del opt_state
        check_memory(y, w, axis_name)
        (train_value, train_aux), (_, at_w) = train_gradients(w, alphas, train_batch)
        _, (pull, at_y) = train_gradients(y, alphas, train_batch)
        (value, aux), (v, d) = val_gradients(y, alphas, val_batch)
        grads = jax.tree.map(lambda d, a, b: (d + multiplier * (a - b)).astype(d.dtype), d, at_y, at_w)
        move = jax.tree.map(lambda y, g, v: (y - step_size * (g + v / multiplier)).astype(y.dtype), y, pull, v)
        return grads, Aux(value, aux, train_value, train_aux, memory=move)

    sound = checked(estimator, train_loss=train_loss, val_loss=val_loss, microbatches=microbatches, axis_name=axis_name)
    return WithMemory(_copy, sound)


def _copy(w: PyTree, alphas: PyTree) -> PyTree:
    """The memory at the start: arrays of its own, equal to those of `w`."""
    del alphas
    return jax.tree.map(jnp.copy, w)
