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
from jdarts.data import SearchData, steps_per_epoch
from jdarts.data.augment import normalize
from jdarts.data.streaming import StreamedData
from jdarts.devices.replicas import Share
from jdarts.methods import Method, configured
from jdarts.optimizers import alpha_adam, weight_sgd
from jdarts.schedules import clock_at
from jdarts.search.alpha_update import AlphaUpdate
from jdarts.search.batches import Arrays, Batches, batches_for
from jdarts.search.checks import check_batches, check_conventions, check_split
from jdarts.search.conventions import hypergradient_of, moved_statistics, virtual_optimizer
from jdarts.search.objective import Batch, Objective, edge_values
from jdarts.search.state import METRICS, SearchState
from jdarts.search.step import SearchStep
from jdarts.search.vectors import vector_network
from jdarts.spaces.space import Space


@dataclass(frozen=True, eq=False)
class Search:
    """The pure functions of one search; `make_search` builds it.

    Attributes:
      init: `(key) -> SearchState`.
      step: `(state, arrays) -> (state, metrics)`; metrics are scalars of this step.
      objective: the losses.
      batches: the batches.
      data: the images from which batches are drawn.
      steps_per_epoch: whole training batches in an epoch.
      hypergradient: name of the estimator in use.
    """

    init: Callable[[jax.Array], SearchState]
    step: Callable[[SearchState, Arrays], tuple[SearchState, dict[str, jax.Array]]]
    objective: Objective
    batches: Batches
    data: SearchData | StreamedData
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

    def draw(self, state: SearchState, arrays: Arrays) -> tuple[Batch, Batch]:
        """`(train_batch, alpha_batch)` of the step that `state` is about to take (`Batches.draw`)."""
        return self.batches.draw(state, arrays)

    def loss(self, w: jax.Array, alphas: Any, batch: Batch) -> tuple[jax.Array, Any]:
        """The loss of the alphas, without regularisers, and its aux (`Objective.loss`)."""
        return self.objective.loss(w, alphas, batch)

    def network_loss(self, w: jax.Array, op_weights: Any, batch: Batch, train: bool = True) -> tuple[jax.Array, Any]:
        """The loss for op weights, without a relaxation, and its aux (`Objective.network_loss`)."""
        return self.objective.network_loss(w, op_weights, batch, train)

    def score(
        self, state: SearchState, op_weights: Any, images: jax.Array, labels: jax.Array, train: bool = False
    ) -> jax.Array:
        """Accuracy on uint8 images with the shared weights; `train` sets the mode of the batch norms."""
        images = normalize(images, mean=self.data.mean, std=self.data.std)
        batch = {"images": images, "labels": labels, "batch_stats": state.batch_stats, "step": state.step}
        return self.objective.score(state.weights, op_weights, batch, train)

    @cached_property
    def compiled_score(self) -> Callable[..., jax.Array]:
        """`score`, compiled once for all comparisons of architectures."""
        return jax.jit(self.score, static_argnums=4)

    def variables(self, state: SearchState) -> dict[str, Any]:
        """`{"params", "batch_stats"}`, the Flax variables of the supernet as trees."""
        return self.objective.supernet.tree(state.weights, state.batch_stats)

    def vectors(self, variables: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
        """The inverse of `variables`: `(weights, batch_stats)`."""
        return self.objective.supernet.vectors(variables)

    @cached_property
    def arrays(self) -> Arrays:
        """The data on the device: uint8 images `[N, H, W, C]` and int32 labels `[N]` of both splits.

        They are put on the device at the first access. Streamed images are not included; the step receives them batch
        by batch.
        """
        assert isinstance(self.data, SearchData), "streamed images are given to the step batch by batch"
        return {
            "train_images": jnp.asarray(self.data.train.images),
            "train_labels": jnp.asarray(self.data.train.labels),
            "val_images": jnp.asarray(self.data.val.images),
            "val_labels": jnp.asarray(self.data.val.labels),
        }


def make_search(
    config: Experiment,
    space: Space,
    data: SearchData | StreamedData,
    *,
    method: Method | None = None,
    axis_name: str | None = None,
) -> Search:
    """Build the pure functions of a search from its configuration, space and data.

    Args:
      method: the search method; None builds the one that `config.search.method` names.
      axis_name: mapped axis over which each batch is split (`jdarts.devices.replicas`). The batch size is the total of
        all devices. Losses and gradients are means over the axis, and batch norms see the whole batch. Images,
        augmentation, noise and relaxation are the same as on one device.
    """
    method = method or configured(config.search)
    settings = unchecked(config.search, hypergradient=hypergradient_of(config.search, method))
    check_split(settings, method, data)
    check_conventions(settings, method)
    per_epoch = steps_per_epoch(len(data.train), settings.batch_size)
    steps_per_epoch(len(data.val), settings.batch_size)  # refuses a batch larger than the validation split
    clock = partial(clock_at, steps_per_epoch=per_epoch, epochs=settings.epochs)
    network = space.supernet(
        channels=config.space.channels,
        cells=config.space.cells,
        classes=data.num_classes,
        axis_name=axis_name,
        edge=method.edge,
        remat=settings.remat,
    )
    initial_alphas = partial(method.initial_alphas, space, scale=settings.alpha_init_scale)
    inputs = partial(_network_inputs, method, space, clock, initial_alphas, data.image_shape)
    objective = Objective(
        vector_network(network, *jax.eval_shape(inputs)),
        method,
        space,
        clock,
        axis_name,
        bfloat16=settings.activations == "bfloat16",
    )
    share = Share(axis_name, settings.microbatches)
    batches = batches_for(
        config.data, data, method, share, size=settings.batch_size, steps_per_epoch=per_epoch, clock=clock
    )
    step = search_step(settings, objective, batches)
    init = partial(initial_state, step, initial_alphas)
    return Search(init, step.step, objective, batches, data, per_epoch, settings.hypergradient)


def search_step(settings: SearchConfig, objective: Objective, batches: Batches) -> SearchStep:
    """Algorithm 1 with the optimisers and the hypergradient of `settings`; the hypergradient must not be None."""
    method, hypergradient = objective.method, settings.hypergradient or ""
    weight_optimizer = weight_sgd(settings.weight_optimizer, settings.epochs, batches.steps_per_epoch)
    alpha_optimizer = alpha_adam(settings.alpha_optimizer)
    options = dict(method.hypergradient_options) if hypergradient == method.hypergradient else {}
    loss = objective.loss
    estimator = hypergrad.by_name(
        settings, loss, loss, virtual_optimizer(settings, batches.steps_per_epoch), options=options
    )
    check_batches(estimator, batches)
    return SearchStep(
        objective,
        batches,
        weight_optimizer,
        AlphaUpdate(method, objective.space, alpha_optimizer, objective.clock),
        estimator,
        hypergrad.gradients(objective.weight_loss if method.own_weight_step else loss, settings.microbatches),
        single_level=hypergradient == "single_level",
        moved_statistics=partial(moved_statistics, hypergradient) if settings.alpha_step_moves_statistics else None,
    )


def initial_state(step: SearchStep, initial_alphas: Callable[[jax.Array], Any], key: jax.Array) -> SearchState:
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
        key=run_key,
        sums={name: jnp.zeros(()) for name in METRICS},
    )


def _network_inputs(method, space, clock, initial_alphas, image_shape) -> tuple[Any, jax.Array, dict[str, jax.Array]]:
    """Op weights, images and edge values of a forward pass; traced for their shapes only."""
    key, step = jax.random.key(0), jnp.int32(0)
    op_weights = method.op_weights(space, initial_alphas(key), key, clock(step))
    return op_weights, jnp.zeros((2, *image_shape)), edge_values(method, clock, step)
