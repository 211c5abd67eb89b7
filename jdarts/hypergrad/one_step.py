"""Estimators that look at most one optimiser step ahead: single level, first order, exact one-step unrolling."""

from typing import Literal

import optax

from jdarts.hypergrad.axes import over_axis
from jdarts.hypergrad.checks import check_choice, check_count, checked
from jdarts.hypergrad.diagnosis import explained
from jdarts.hypergrad.infinite import along
from jdarts.hypergrad.k_step import k_step
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
    virtual_optimizer: optax.GradientTransformation | None = None,
    mode: Literal["reverse", "forward"] = "reverse",
    checkpoint: Literal["every", "sqrt"] = "every",
    chunk: int = 16,
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> Estimator:
    """The exact hypergradient of `steps` real optimiser steps (derivation in the package docstring).

    The validation loss is taken at the weights after those steps (w' for one step); so are the value and aux of it in
    the result.

    Args:
      train_loss, val_loss: `loss(w, alphas, batch) -> (scalar, aux)`.
      optimizer: the optax chain that trains the weights, unchanged; `opt_state` is its current state.
      steps: with 1, `train_batch` is one batch. With k > 1 it is k different batches, stacked along a new leading axis
        of every array (`stack_batches`); the optimiser's state advances from step to step.
      virtual_optimizer: an optimiser that takes the steps instead of `optimizer`, for conventions that differ from the
        real step: the DARTS code unrolls momentum and decay, but not clipping. It receives the same `opt_state`; put
        `optax.identity()` in place of a stateless part that it leaves out.
      mode: "reverse" costs about two gradients and one product per step, for any number of alphas; "forward" costs one
        product per step and alpha, and its memory does not grow with the steps (for k > 1 and few alphas).
      checkpoint: the points that reverse mode keeps, each with weights, optimiser state and gradient: "every" step's,
        or "sqrt", every √k-th step's; the steps between are recomputed, at the cost of one more gradient per step.
      chunk: number of alphas that forward mode treats at once.
      microbatches: number of equal parts of every batch; gradients and products are accumulated over the parts.
      axis_name: the mapped axis (or a tuple of axes) over which each batch is split; see the package docstring.
    """
    check_count("steps", steps, 1)
    check_count("chunk", chunk, 1)
    check_count("microbatches", microbatches, 1)
    check_choice("mode", mode, ("reverse", "forward"))
    check_choice("checkpoint", checkpoint, ("every", "sqrt"))
    optimizer = virtual_optimizer or optimizer
    train_loss, val_loss = over_axis(train_loss, axis_name), over_axis(val_loss, axis_name)
    if steps > 1 or mode == "forward":
        estimator = k_step(
            train_loss,
            val_loss,
            optimizer,
            steps=steps,
            stacked=steps > 1,
            mode=mode,
            checkpoint=checkpoint,
            chunk=chunk,
            microbatches=microbatches,
        )
    else:
        estimator = _one_step(train_loss, val_loss, optimizer, microbatches)
    sound = checked(
        estimator,
        train_loss=train_loss,
        val_loss=val_loss,
        optimizer=optimizer,
        steps=steps if steps > 1 else None,
        microbatches=microbatches,
        axis_name=axis_name,
    )
    return explained(sound, train_loss, val_loss, optimizer, steps, microbatches)


def _one_step(train_loss, val_loss, optimizer, microbatches) -> Estimator:
    train_gradients = gradients(train_loss, microbatches)
    val_gradients = gradients(val_loss, microbatches)
    product = mixed_product(train_loss, microbatches)
    step = Step(optimizer)

    def estimator(w, alphas, opt_state, train_batch, val_batch):
        (train_value, train_aux), (g, slope) = train_gradients(w, alphas, train_batch)
        at = step.point(g, opt_state, w, train_value, slope)
        (val_value, val_aux), (v, d) = val_gradients(step.from_point(at)[0], alphas, val_batch)
        u, by_value, singular = step.pull_to_gradient(v, at)
        grads = along(lambda u, d: product(w, alphas, train_batch, u, d), u, singular, at.through_value(by_value, d))
        return grads, Aux(val_value, val_aux, train_value, train_aux)

    return estimator
