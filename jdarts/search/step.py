"""One search step: Algorithm 1 of DARTS (Liu et al., ICLR 2019), with the choices of a method.

    while not converged:
        1. update the alphas by the gradient of L_val(w − ξ ∇_w L_train(w, α), α)
        2. update the weights by the gradient of L_train(w, α)

Step 2 uses the new alphas of step 1. It starts from the current weights, not from the unrolled ones. The virtual step
uses the training batch of step 2; k virtual steps use the batches of the next k weight steps. A method may take step 2
first. With the single-level gradient, weights and alphas move together. With `look_back` the step that the
hypergradient differentiates is step 2 itself, by the old alphas.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jdarts import hypergrad
from jdarts.search.alpha_update import AlphaUpdate
from jdarts.search.objective import Batch, Objective
from jdarts.search.state import METRICS, SearchState, finished
from jdarts.search.task import Arrays, Batches

Scalars = dict[str, jax.Array]


@dataclass(frozen=True, eq=False)
class SearchStep:
    """Algorithm 1 for one search.

    Attributes:
      hypergradient: the estimator of dL_val/dα (`jdarts.hypergrad`).
      weight_gradients: `(w, alphas, batch) -> ((loss, aux), (gradient by w, by alphas))`.
      single_level: True if the hypergradient is the gradient of the training loss, with the gradient by w.
      enter: `(state, train_batch) -> state`, applied before anything else; for optimisers whose settings depend on the
        batch.
      moved_statistics: `(seen, before, running) -> running` after the forward passes of an alpha step; None if these
        do not move the running averages (batch-norm policy: `jdarts.search.objective`).
    """

    objective: Objective
    batches: Batches
    weight_optimizer: optax.GradientTransformation
    update_alphas: AlphaUpdate
    hypergradient: hypergrad.Estimator
    weight_gradients: Callable[..., Any]
    single_level: bool = False
    enter: Callable[[SearchState, Batch], SearchState] = lambda state, batch: state
    moved_statistics: Callable[[hypergrad.Aux, jax.Array, jax.Array], jax.Array] | None = None

    def step(self, state: SearchState, arrays: Arrays) -> tuple[SearchState, Scalars]:
        """`(state after the step, scalars of the step)`."""
        train_batch, val_batch = self.batches.draw(state, arrays)
        state = self.enter(state, train_batch)
        ahead = self.virtual_batches(state, train_batch, arrays)
        if self.objective.method.order == "weights_first":
            moved, trained = self.weight_step(state, train_batch)
            moved, seen = self.alpha_step(moved, ahead, train_batch, val_batch)
        else:
            moved, seen = self.alpha_step(state, ahead, train_batch, val_batch)
            moved, trained = self.weight_step(moved, {**train_batch, "batch_stats": moved.batch_stats}, seen)
        _, aux = trained
        moved = moved.replace(carried={"train": aux["carried"], "val": seen.val_aux["carried"]})
        read = (aux["loss"], aux["accuracy"], seen.val_aux["loss"], seen.val_aux["accuracy"])
        metrics: Scalars = dict(zip(METRICS, read, strict=True))
        return finished(state, moved, metrics, self.batches.steps_per_epoch)

    def alpha_step(self, state: Any, ahead: Batch, train_batch: Batch, val_batch: Batch) -> tuple[Any, hypergrad.Aux]:
        """Step 1: `(state with new alphas, aux of the hypergradient)`."""
        if self.objective.method.alphas_fixed:
            return state, hypergrad.Aux(*self.objective.loss(state.weights, state.alphas, val_batch))
        if (self.objective.method.alpha_every or 1) > 1:
            return lax.cond(
                self.due(state.step), self.moved_alphas, self.kept_alphas, state, ahead, train_batch, val_batch
            )
        return self.moved_alphas(state, ahead, train_batch, val_batch)

    def due(self, step: jax.Array) -> jax.Array:
        """True in the steps in which a method with `alpha_every` moves the alphas."""
        method = self.objective.method
        started = self.objective.clock(step).epoch >= (method.alpha_start or 0)
        within = step % self.batches.steps_per_epoch + 1
        return started & (within % (method.alpha_every or 1) == 0)

    def kept_alphas(self, state: Any, ahead: Batch, train_batch: Batch, val_batch: Batch) -> tuple[Any, hypergrad.Aux]:
        """The state as it is, and the validation loss at its alphas."""
        del ahead, train_batch
        return state, hypergrad.Aux(*self.objective.loss(state.weights, state.alphas, val_batch))

    def moved_alphas(self, state: Any, ahead: Batch, train_batch: Batch, val_batch: Batch) -> tuple[Any, hypergrad.Aux]:
        """The state after an update of the alphas, and the aux of the hypergradient."""
        memory = () if state.hypergradient_memory is None else (state.hypergradient_memory,)
        grads, seen = self.hypergradient(state.weights, state.alphas, state.weight_opt_state, ahead, val_batch, *memory)
        key = (train_batch if self.single_level else val_batch)["relax_key"]
        alphas, opt_state = self.update_alphas(grads, state.alpha_opt_state, state.alphas, key, state.step)
        running = self.statistics(state, seen, val_batch["batch_stats"])
        state = state.replace(alphas=alphas, alpha_opt_state=opt_state, batch_stats=running)
        return state.replace(hypergradient_memory=seen.memory), seen

    def weight_step(self, state: Any, train_batch: Batch, seen: hypergrad.Aux | None = None) -> tuple[Any, Any]:
        """Step 2: `(state with new weights, (loss, aux))`.

        `seen` holds the gradient of a single-level method, and the new weights of `look_back`.
        """
        if seen is not None and seen.moved is not None:
            (w, opt_state), (value, aux) = seen.moved, (seen.train_loss, seen.train_aux)
            state = state.replace(weights=w, weight_opt_state=opt_state, batch_stats=aux["batch_stats"])
            return state, (value, aux)
        if seen is None or seen.weight_grads is None or self.objective.method.own_weight_step:
            (value, aux), (grads, _) = self.weight_gradients(state.weights, state.alphas, train_batch)
        else:
            value, aux, grads = seen.train_loss, seen.train_aux, seen.weight_grads
        updates: Any
        updates, opt_state = self.weight_optimizer.update(grads, state.weight_opt_state, state.weights)
        w = state.weights + updates
        return state.replace(weights=w, weight_opt_state=opt_state, batch_stats=aux["batch_stats"]), (value, aux)

    def virtual_batches(self, state: SearchState, train_batch: Batch, arrays: Arrays) -> Batch:
        """The training batches of the hypergradient: one batch, or several stacked."""
        batches = hypergrad.batches_of(self.hypergradient)
        if batches == 1 or self.objective.method.alphas_fixed:
            return train_batch
        return self.batches.look_ahead(state, arrays, batches)

    def initial_memory(self, w: jax.Array, alphas: Any) -> Any:
        """The memory of the hypergradient before the first step; None if it has none."""
        estimator: Any = self.hypergradient
        if not isinstance(estimator, hypergrad.WithMemory) or self.objective.method.alphas_fixed:
            return None
        return estimator.init(w, alphas)

    def statistics(self, state: SearchState, seen: hypergrad.Aux, before: jax.Array) -> jax.Array:
        """The running averages after an alpha step whose passes started from `before`."""
        if self.moved_statistics is None:
            return state.batch_stats
        moved = self.moved_statistics(seen, before, state.batch_stats)
        started = self.objective.clock(state.step).epoch >= (self.objective.method.alpha_start or 0)
        return jnp.where(started, moved, state.batch_stats)
