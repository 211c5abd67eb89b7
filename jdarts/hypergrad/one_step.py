"""Estimators with the current weights or with steps of their optimiser: first order, single level, exact unrolling."""

import optax

from jdarts.hypergrad.axes import over_axis
from jdarts.hypergrad.checks import check_count, checked
from jdarts.hypergrad.diagnosis import checked_steps
from jdarts.hypergrad.infinite import along
from jdarts.hypergrad.k_step import Forward, Reverse, check_mode, k_step
from jdarts.hypergrad.products import gradients, mixed_product
from jdarts.hypergrad.types import Aux, AxisName, Estimator, Loss
from jdarts.hypergrad.update import Step


def first_order(
    train_loss: Loss, val_loss: Loss, optimizer=None, *, microbatches: int = 1, axis_name: AxisName = None
) -> Estimator:
    """The first-order approximation ξ = 0: `∂_α L_val(w, α)` at the current weights (Liu et al. 2019, §2.3).

    The validation loss is taken at `w`; the training batch is not used.
    """
    del train_loss, optimizer
    check_count("microbatches", microbatches, 1)
    val_gradients = gradients(val_loss, microbatches, axis_name)

    def estimator(w, alphas, opt_state, train_batch, val_batch):
        del opt_state, train_batch
        (value, aux), (_, grads) = val_gradients(w, alphas, val_batch)
        return grads, Aux(val_loss=value, val_aux=aux)

    return checked(estimator, val_loss=val_loss, microbatches=microbatches, axis_name=axis_name)


def single_level(
    train_loss: Loss,
    val_loss: Loss | None = None,
    optimizer=None,
    *,
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> Estimator:
    """One loss, one batch and one backward pass for both weights and alphas: `∂_α L_train(w, α)`.

    The validation loss and batch are not used. The alphas descend the training loss at `w`; `aux.val_loss` is its
    value. `aux.weight_grads` is the weight gradient of the same pass; a weight step that uses it saves a backward pass.
    """
    del val_loss, optimizer
    check_count("microbatches", microbatches, 1)
    train_gradients = gradients(train_loss, microbatches, axis_name)

    def estimator(w, alphas, opt_state, train_batch, val_batch):
        del opt_state, val_batch
        (value, aux), (weight_grads, grads) = train_gradients(w, alphas, train_batch)
        return grads, Aux(value, aux, value, aux, weight_grads=weight_grads)

    return checked(estimator, train_loss=train_loss, microbatches=microbatches, axis_name=axis_name)


def unrolled(
    train_loss: Loss,
    val_loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    steps: int = 1,
    mode: Reverse | Forward = Reverse(),  # noqa: B008
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> Estimator:
    """The exact hypergradient of `steps` optimiser steps (derivation in the package docstring).

    The validation loss is taken at the weights after those steps (w' for one step); so are the value and aux of it in
    the result.

    Args:
      train_loss, val_loss: `loss(w, alphas, batch) -> (scalar, aux)`.
      optimizer: the optax chain that takes the steps, from its state `opt_state`. For the real step pass the chain
        that trains the weights. A virtual step may differ: the DARTS code unrolls momentum and decay, but not clipping.
        Another chain receives the state of the real one; put `optax.identity()` in place of a stateless part that it
        leaves out.
      steps: with 1, `train_batch` is one batch. With k > 1 it is k different batches, stacked along a new leading axis
        of every array (`stack_batches`); the optimiser's state advances from step to step.
      mode: `Reverse` costs about two gradients and one product per step, for any number of alphas; `Forward` costs one
        product per step and alpha, and its memory does not grow with the steps (for k > 1 and few alphas). Both can
        differentiate the last steps only.
      microbatches: number of equal parts of every batch; gradients and products are accumulated over the parts.
      axis_name: the mapped axis (or a tuple of axes) over which each batch is split; see the package docstring.
    """
    check_count("steps", steps, 1)
    check_count("microbatches", microbatches, 1)
    check_mode(mode, steps)
    train_loss, val_loss = over_axis(train_loss, axis_name), over_axis(val_loss, axis_name)
    if steps > 1 or isinstance(mode, Forward):
        estimator = k_step(train_loss, val_loss, optimizer, steps=steps, mode=mode, microbatches=microbatches)
    else:
        estimator = _one_step(train_loss, val_loss, optimizer, microbatches)
    return checked_steps(
        estimator, train_loss, val_loss, optimizer, steps=steps, microbatches=microbatches, axis_name=axis_name
    )


def look_back(
    train_loss: Loss,
    val_loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> Estimator:
    """The exact hypergradient of the step that the weights really take, which moves the weights first.

    The gradient is that of `unrolled`, and `aux.moved` holds `(w', opt_state')`, the end of the step. The caller goes
    on from w' instead of taking the step again with the new alphas:

        (w, α) → w' = w + U(∇_w L_train(w, α)),    α' from dL_val(w', α)/dα through that step

    This saves one of the gradients of a search step. It is another algorithm than DARTS': there, the weights follow
    the new alphas (Liu et al. 2019, Algorithm 1); here, they follow the old ones. `optimizer`, with its state
    `opt_state`, must be the one that trains the weights. Other arguments: as for `unrolled`.
    """
    check_count("microbatches", microbatches, 1)
    train_loss, val_loss = over_axis(train_loss, axis_name), over_axis(val_loss, axis_name)
    estimator = _one_step(train_loss, val_loss, optimizer, microbatches, really=True)
    return checked_steps(estimator, train_loss, val_loss, optimizer, microbatches=microbatches, axis_name=axis_name)


def _one_step(train_loss, val_loss, optimizer, microbatches, really=False) -> Estimator:
    """The estimator behind `unrolled`; with `really`, its aux holds the end of the step."""
    train_gradients = gradients(train_loss, microbatches)
    val_gradients = gradients(val_loss, microbatches)
    product = mixed_product(train_loss, microbatches)
    step = Step(optimizer)

    def estimator(w, alphas, opt_state, train_batch, val_batch):
        (train_value, train_aux), (g, slope) = train_gradients(w, alphas, train_batch)
        at = step.point(g, opt_state, w, train_value, slope)
        moved = step.from_point(at)
        (val_value, val_aux), (v, d) = val_gradients(moved[0], alphas, val_batch)
        u, by_value, singular = step.pull_to_gradient(v, at)
        grads = along(lambda u, d: product(w, alphas, train_batch, u, d), u, singular, at.through_value(by_value, d))
        return grads, Aux(val_value, val_aux, train_value, train_aux, moved=moved if really else None)

    return estimator
