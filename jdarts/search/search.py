"""The pure functions of one search, built from its configuration, space and data.

All values that depend on the epoch are computed from `state.step`, so a search is traced once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts import hypergrad
from jdarts.config import Experiment, SearchConfig
from jdarts.config.swept import unchecked
from jdarts.data.streaming import StreamedData
from jdarts.data.text import TextData
from jdarts.methods import Method, configured
from jdarts.optimizers import linear_per_step, of_alphas
from jdarts.schedules import clock_at
from jdarts.search.alpha_update import AlphaUpdate
from jdarts.search.checks import check_batches, check_conventions
from jdarts.search.conventions import hypergradient_of, moved_statistics
from jdarts.search.images import IMAGE_TASK
from jdarts.search.language import LANGUAGE_TASK
from jdarts.search.objective import Batch, Objective
from jdarts.search.path_step import PathStep
from jdarts.search.reward_step import RewardStep
from jdarts.search.state import METRICS, SearchState
from jdarts.search.step import SearchStep
from jdarts.search.task import Arrays, Asked, Batches, SearchTask
from jdarts.spaces.space import Space


@dataclass(frozen=True, eq=False)
class Search:
    """The pure functions of one search; `make_search` builds it.

    Attributes:
      init: `(key) -> SearchState`.
      step: `(state, arrays) -> (state, metrics)`; metrics are scalars of this step.
      config: the settings.
      task: what the search trains on.
      objective: the losses.
      batches: the batches.
      data: the examples from which batches are drawn.
      steps_per_epoch: training batches in an epoch.
      hypergradient: name of the estimator in use.
    """

    init: Callable[[jax.Array], SearchState]
    step: Callable[[SearchState, Arrays], tuple[SearchState, dict[str, jax.Array]]]
    config: Experiment
    task: SearchTask
    objective: Objective
    batches: Batches
    data: Any
    steps_per_epoch: int
    hypergradient: str

    @property
    def network(self) -> nn.Module:
        """The supernet."""
        return self.objective.supernet.network

    @property
    def method(self) -> Method:
        """The search method."""
        return self.objective.method

    @property
    def space(self) -> Space:
        """The search space."""
        return self.objective.space

    @property
    def images_per_step(self) -> int:
        """The images of a step: a batch for the weights and, if the alphas have their own, another one; 0 for text."""
        if isinstance(self.data, TextData):
            return 0
        one_batch = self.hypergradient == "single_level" or self.method.alphas_fixed
        return self.config.search.batch_size * (1 if one_batch else 2)

    def draw(self, state: SearchState, arrays: Arrays) -> tuple[Batch, Batch]:
        """`(train_batch, alpha_batch)` of the step that `state` is about to take (`Batches.draw`)."""
        return self.batches.draw(state, arrays)

    def loss(self, w: jax.Array, alphas: Any, batch: Batch) -> tuple[jax.Array, Any]:
        """The loss of the alphas, without regularisers, and its aux (`Objective.loss`)."""
        return self.objective.loss(w, alphas, batch)

    def network_loss(self, w: jax.Array, op_weights: Any, batch: Batch, train: bool = True) -> tuple[jax.Array, Any]:
        """The loss for op weights, without a relaxation, and its aux (`Objective.network_loss`)."""
        return self.objective.network_loss(w, op_weights, batch, train)

    def score(self, state: SearchState, op_weights: Any, *examples: jax.Array, train: bool = False) -> jax.Array:
        """The score of a candidate with the shared weights; `train` sets the mode of the batch norms.

        Images: the accuracy on uint8 images `[N, H, W, C]` with labels `[N]`. Text: the inverse of the perplexity on
        tokens `[batch, time]` with targets.
        """
        batch = {**self.task.as_batch(self.data, *examples), "batch_stats": state.batch_stats, "step": state.step}
        return self.objective.score(state.weights, op_weights, batch, train)

    @cached_property
    def compiled_score(self) -> Callable[..., jax.Array]:
        """`score`, compiled once for all comparisons of architectures."""
        return jax.jit(self.score, static_argnames="train")

    def variables(self, state: SearchState) -> dict[str, Any]:
        """`{"params", "batch_stats"}`, the Flax variables of the supernet as trees."""
        return self.objective.supernet.tree(state.weights, state.batch_stats)

    def vectors(self, variables: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
        """The inverse of `variables`: `(weights, batch_stats)`."""
        return self.objective.supernet.vectors(variables)

    @cached_property
    def arrays(self) -> Arrays:
        """The examples of both splits on the device (`SearchTask.arrays`), put there at the first access.

        Streamed images are not included; the step receives them batch by batch.
        """
        assert not isinstance(self.data, StreamedData), "streamed images are given to the step batch by batch"
        return self.task.arrays(self.config, self.data)


def task_of(data: Any) -> SearchTask:
    """The task that trains on `data`."""
    return LANGUAGE_TASK if isinstance(data, TextData) else IMAGE_TASK


def make_search(
    config: Experiment,
    space: Space,
    data: Any,
    *,
    method: Method | None = None,
    axis_name: str | None = None,
) -> Search:
    """Build the pure functions of a search from its configuration, space and data.

    Args:
      data: `SearchData` or `StreamedData` (images), or `TextData`.
      method: the search method; None builds the one that `config.search.method` names.
      axis_name: mapped axis over which each batch is split (`jdarts.devices.replicas`). The batch size is the total of
        all devices. Losses and gradients are means over the axis, and batch norms see the whole batch. Images,
        augmentation, noise and relaxation are the same as on one device.
    """
    method, task = method or configured(config.search), task_of(data)
    settings = unchecked(config.search, hypergradient=hypergradient_of(config.search, method))
    task.check(unchecked(config, search=settings), space, method, data)
    check_conventions(settings, method)
    per_epoch = task.steps_per_epoch(config, data)
    clock = partial(clock_at, steps_per_epoch=per_epoch, epochs=settings.epochs)
    asked = Asked(config, space, method, data, clock, per_epoch, axis_name)
    objective, batches = task.objective(asked), task.batches(asked)
    step = search_step(settings, objective, batches, task)
    initial_alphas = partial(method.initial_alphas, space, scale=settings.alpha_init_scale)
    init = partial(initial_state, step, initial_alphas, partial(task.carried, config))
    return Search(init, step.step, config, task, objective, batches, data, per_epoch, settings.hypergradient)


def search_step(settings: SearchConfig, objective: Objective, batches: Batches, task: SearchTask) -> SearchStep:
    """Algorithm 1 with the optimisers and the hypergradient of `settings`; the hypergradient must not be None."""
    method, hypergradient = objective.method, settings.hypergradient or ""
    steps = settings.epochs * batches.steps_per_epoch
    weight_optimizer = partial(
        task.weight_optimizer,
        settings.weight_optimizer,
        settings.epochs,
        batches.steps_per_epoch,
        schedule=linear_per_step(settings.weight_optimizer, steps) if method.linear_rate else None,
        **({"chosen_decay": True} if method.paths is not None and method.paths.averaged else {}),
    )
    alpha_optimizer = of_alphas(settings.alpha_optimizer)
    options = dict(method.hypergradient_options) if hypergradient == method.hypergradient else {}
    loss = objective.loss
    estimator = hypergrad.by_name(settings, loss, loss, weight_optimizer(clip=settings.virtual_clip), options=options)
    check_batches(estimator, batches)
    weight_loss = objective.weight_loss if method.own_weight_step else loss
    if method.paths is not None:
        weight_loss = objective.path_loss
    kind = SearchStep if method.paths is None else PathStep if method.reinforce is None else RewardStep
    return kind(
        objective,
        batches,
        weight_optimizer(),
        AlphaUpdate(method, objective.space, alpha_optimizer, objective.clock),
        estimator,
        hypergrad.gradients(weight_loss, settings.microbatches),
        single_level=hypergradient == "single_level",
        enter=task.enter,
        moved_statistics=partial(moved_statistics, hypergradient) if settings.alpha_step_moves_statistics else None,
    )


def initial_state(
    step: SearchStep, initial_alphas: Callable[[jax.Array], Any], carried: Callable[[], Any], key: jax.Array
) -> SearchState:
    """The state before the first step; every later draw is a function of `key`."""
    weight_key, alpha_key, run_key = jax.random.split(key, 3)
    supernet = step.objective.supernet
    alphas = initial_alphas(alpha_key)
    weights = supernet.initial_weights(weight_key)
    return SearchState(
        step=jnp.zeros((), jnp.int32),
        weights=weights,
        batch_stats=supernet.initial_statistics(),
        alphas=alphas,
        weight_opt_state=step.weight_optimizer.init(weights),
        alpha_opt_state=step.update_alphas.optimizer.init(alphas),
        hypergradient_memory=step.initial_memory(weights, alphas),
        carried=carried(),  # arrays of this state alone, which a step may donate
        key=run_key,
        sums={name: jnp.zeros(()) for name in METRICS},
    )
