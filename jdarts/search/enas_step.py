"""The pure functions of ENAS: a step of the shared weights, an accuracy with them, a step of the controller.

One architecture enters as op weights that switch on exactly its ops (`Space.one_hot`), or as a tuple of choices.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import lax

from jdarts import hypergrad
from jdarts.config import SearchConfig
from jdarts.config.swept import unchecked
from jdarts.controllers import (
    AttentionSettings,
    MacroController,
    MicroController,
    Params,
    Policy,
    RecurrentController,
    batch_bonus,
    batch_entropy,
    controller_of,
    mean_penalty,
    reinforce_loss,
    step_along,
)
from jdarts.genotypes.enas import MACRO_OPS
from jdarts.methods.enas import EnasSettings
from jdarts.optimizers import clipping, cosine_restarts, cosine_waves
from jdarts.search.batches import Arrays
from jdarts.search.search import Search, search_step
from jdarts.search.state import SearchState
from jdarts.search.step import SearchStep
from jdarts.spaces import EnasMacroSpace, EnasMicroSpace, RecurrentSpace
from jdarts.spaces.decisions import DecisionSpace

Metrics = dict[str, jax.Array]

WEIGHT_SUMS = ("train_loss", "train_accuracy")
_ACCURACIES = 1_000_001
"""Number of the keys of the validation batches; the keys of the weight steps have the numbers 0 and 1."""


@struct.dataclass
class EnasState:
    """The state of an ENAS search.

    Attributes:
      step: finished steps, of the shared weights and of the controller together, int32 scalar.
      shared: the shared weights, their optimiser, running averages and the key of the run; `shared.step` counts their
        steps only. The controller replaces the alphas, so `shared.alphas` is empty.
      controller: parameters of the controller.
      controller_opt_state: state of its optimiser.
      baseline: of the last reward.
      baseline_before: at the end of the epoch before.
      sums: sums of this epoch's metrics, for the epoch's record.
    """

    step: jax.Array
    shared: SearchState
    controller: Params
    controller_opt_state: Any
    baseline: jax.Array
    baseline_before: jax.Array
    sums: Metrics


@dataclass(frozen=True, eq=False)
class EnasStep:
    """The steps of one ENAS search; `enas_step` builds it.

    Attributes:
      settings: of the method.
      search: the supernet, its data and losses.
      weights: the step of the shared weights.
      controller: the distribution over the choices.
      optimizer: of the controller.
    """

    settings: EnasSettings
    search: Search
    weights: SearchStep
    controller: Policy
    optimizer: optax.GradientTransformation

    @property
    def controller_sums(self) -> tuple[str, str]:
        """The metrics of the controller's steps of which an epoch has sums: score, without its factor, and reward."""
        return f"val_{self.search.task.score_name}", "reward"

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the shared weights, then of the controller."""
        return self.search.steps_per_epoch + self.settings.controller_steps

    @property
    def images_per_epoch(self) -> int:
        """Images of an epoch: a batch for each step of the weights and each scored architecture; 0 for text."""
        if not self.search.images_per_step:
            return 0
        scored = self.settings.controller_steps * self.settings.controller_samples
        return self.search.config.search.batch_size * (self.search.steps_per_epoch + scored)

    def init(self, key: jax.Array) -> EnasState:
        """The state before the first step; every later draw is a function of `key`."""
        shared: Any = self.search.init(key)
        params = self.controller.init(jax.random.fold_in(shared.key, _ACCURACIES + 1))
        zero = jnp.zeros(())
        return EnasState(
            step=jnp.zeros((), jnp.int32),
            shared=shared.replace(alphas={}, alpha_opt_state=()),
            controller=params,
            controller_opt_state=self.optimizer.init(params),
            baseline=zero,
            baseline_before=zero,
            sums=dict.fromkeys((*WEIGHT_SUMS, *self.controller_sums), zero),
        )

    def train(self, shared: Any, op_weights: Any, arrays: Arrays) -> tuple[SearchState, Metrics]:
        """One step of the shared weights on the path of one architecture: `(shared, metrics)`."""
        batch, _ = self.search.draw(shared, arrays)
        entered: Any = self.weights.enter(shared, batch)
        moved: Any
        moved, (_, aux) = self.weights.weight_step(entered.replace(alphas=op_weights), batch)
        metrics = {"train_loss": aux["loss"], "train_accuracy": aux["accuracy"]}
        carried = {**shared.carried, "train": aux["carried"]}
        return moved.replace(step=shared.step + 1, alphas={}, carried=carried), {
            **metrics,
            "finite": jnp.all(jnp.isfinite(moved.weights)),
        }

    def accuracy(self, shared: Any, op_weights: Any, arrays: Arrays, number: jax.Array) -> jax.Array:
        """The score of one architecture on the validation batch of this number, with the shared weights.

        It is the accuracy on images, and the inverse of the perplexity on text (`Objective.score`).
        """
        drawing = shared.replace(key=jax.random.fold_in(shared.key, _ACCURACIES), step=number)
        batch = self.search.batches.validation(drawing, arrays)
        return self.search.objective.score(shared.weights, op_weights, {**batch, "step": shared.step})

    def teach(self, state: Any, choices: jax.Array, accuracies: jax.Array) -> tuple[EnasState, Metrics]:
        """One step of the controller from architectures `[samples, T]` and their accuracies (scores) `[samples]`."""
        entropies = batch_entropy(self.controller, state.controller, choices)
        scaled = self.settings.reward_scale * accuracies
        rewards = scaled + self.settings.entropy_weight * batch_bonus(self.controller, state.controller, choices)
        first = state.step % self.steps_per_epoch == self.search.steps_per_epoch
        before = jnp.where(first, state.baseline, state.baseline_before)
        baselines = self.baselines(state.replace(baseline_before=before), rewards, scaled)
        update = step_along(self.loss, self.optimizer)
        params, opt_state = update(state.controller, state.controller_opt_state, choices, rewards - baselines)
        finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)])
        metrics = {
            **dict(zip(self.controller_sums, (jnp.mean(accuracies), jnp.mean(rewards)), strict=True)),
            "baseline": baselines[-1],
            "controller_entropy": jnp.mean(entropies),
            "finite": jnp.all(finite),
        }
        state = state.replace(
            controller=params, controller_opt_state=opt_state, baseline=baselines[-1], baseline_before=before
        )
        return self.counted(state, metrics), metrics

    def loss(self, params: Params, choices: jax.Array, advantages: jax.Array) -> jax.Array:
        """The loss of the controller for tuples `[samples, T]` and their rewards minus baselines `[samples]`."""
        penalty = mean_penalty(self.controller, params, choices)
        return reinforce_loss(self.controller, params, choices, advantages) + penalty

    def baselines(self, state: EnasState, rewards: jax.Array, accuracies: jax.Array) -> jax.Array:
        """The baseline of every reward, `[samples]`, by the rule of the settings (`jdarts.methods.enas`)."""
        keep = self.settings.baseline_decay
        if self.settings.baseline == "running":

            def move(baseline, reward):
                baseline = keep * baseline + (1 - keep) * reward
                return baseline, baseline

            return lax.scan(move, state.baseline, rewards)[1]
        moved = keep * state.baseline_before + (1 - keep) * rewards
        return jnp.where(state.step < self.steps_per_epoch, accuracies, moved)

    def counted(self, state: Any, metrics: Metrics) -> EnasState:
        """The state with one more finished step and the metrics added to the sums of the epoch."""
        fresh = state.step % self.steps_per_epoch == 0
        sums = {name: jnp.where(fresh, 0, value) + metrics.get(name, 0) for name, value in state.sums.items()}
        return state.replace(step=state.step + 1, sums=sums)


def enas_step(settings: EnasSettings, config: SearchConfig, search: Search, space: DecisionSpace) -> EnasStep:
    """The steps of an ENAS search with the supernet, data and optimisers of `search` and `config`."""

    def path_loss(w, op_weights, batch):
        return search.network_loss(w, lax.stop_gradient(op_weights), batch)

    config = unchecked(config, hypergradient=search.hypergradient)
    make_schedule = cosine_waves if settings.schedule == "waves" else cosine_restarts
    schedule = make_schedule(config.weight_optimizer, settings.period, search.steps_per_epoch)
    weights = replace(
        search_step(config, search.objective, search.batches, search.task),
        weight_optimizer=search.task.weight_optimizer(
            config.weight_optimizer, config.epochs, search.steps_per_epoch, schedule=schedule
        ),
        weight_gradients=hypergrad.gradients(path_loss, config.microbatches),
    )
    adam = optax.adam(
        settings.controller_learning_rate,
        b1=settings.controller_b1,
        b2=settings.controller_b2,
        eps=settings.controller_eps,
    )
    optimizer = optax.chain(*clipping(settings.controller_clip), adam)
    return EnasStep(settings, search, weights, controller_in(space, settings), optimizer)


def controller_in(space: DecisionSpace, settings: EnasSettings) -> Policy:
    """The controller for a space: those of the releases for their spaces, else one LSTM step a decision."""
    attention = AttentionSettings(
        settings.hidden, settings.layers, settings.temperature, settings.tanh, settings.init_scale
    )
    if isinstance(space, EnasMacroSpace):
        return MacroController(
            space.layers,
            len(MACRO_OPS),
            attention,
            settings.skip_target,
            settings.skip_weight,
            settings.release_penalty,
        )
    if isinstance(space, EnasMicroSpace):
        return MicroController(space.blocks, len(space.ops), attention, settings.op_tanh_reduce)
    if isinstance(space, RecurrentSpace):
        return RecurrentController(space.nodes, len(space.activations), attention, space.first)
    return controller_of(
        space.decisions,
        hidden=settings.hidden,
        layers=settings.layers,
        temperature=settings.temperature,
        tanh=settings.tanh,
        scale=settings.init_scale,
    )
