"""One search step of DARTS: first the alphas, then the weights (Liu et al. 2019, algorithm 1 and code).

The alpha step sees a validation batch and, in second order, the training batch that the weight step will use (k steps
ahead: that one first, then those that the next k − 1 weight steps will use, augmented as they will be). The weight
step moves the weights from where they were (not from the unrolled ones) with the new alphas. Batch norm uses batch
statistics throughout; its running averages move in the weight step only.

The weights are one vector (`jdarts.spaces.packing`): a supernet has hundreds of weight arrays, and optimisers and
their pull-backs over so many arrays take longer to compile than the cells themselves. `Search.variables` shows a tree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jdarts import hypergrad, staging
from jdarts.config import Experiment
from jdarts.data import SearchData, augment, batch_indices, epoch_permutation, random_batch, steps_per_epoch
from jdarts.initializers import abstract_network, initial_statistics
from jdarts.losses import accuracy, cross_entropy
from jdarts.ops import RUNNING_MOMENTUM
from jdarts.optimizers import alpha_adam, weight_sgd
from jdarts.relaxation import softmax
from jdarts.search.state import SearchState
from jdarts.spaces import CellSpace
from jdarts.spaces.packing import Packing, init_vector

METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")

Batch = dict[str, Any]
Arrays = dict[str, jax.Array]


@dataclass(frozen=True)
class Search:
    """The pure functions of one search; `make_search` builds it.

    Attributes:
      init: `(key) -> SearchState`.
      draw: `(state, arrays) -> (train_batch, val_batch)`; batches are augmented, each with its own key for the
        network.
      step: `(state, arrays) -> (state, metrics)`; metrics are scalars of this step.
      loss: `(weight vector, alphas, batch) -> (scalar, aux)`.
      variables: `(state) -> {"params", "batch_stats"}`, the Flax variables of the supernet as trees.
      network: the supernet.
      arrays: the data on the device: uint8 images `[N, H, W, C]` and int32 labels `[N]` of both splits.
      steps_per_epoch: whole training batches in an epoch.
    """

    init: Callable[[jax.Array], SearchState]
    draw: Callable[[SearchState, Arrays], tuple[Batch, Batch]]
    step: Callable[[SearchState, Arrays], tuple[SearchState, dict[str, jax.Array]]]
    loss: hypergrad.Loss
    variables: Callable[[SearchState], dict[str, Any]]
    network: nn.Module
    arrays: Arrays
    steps_per_epoch: int


def make_search(
    config: Experiment, space: CellSpace, data: SearchData
) -> Search:
    """Build the pure functions of a search from its configuration, space and data."""
    settings = config.search
    batch_size = settings.batch_size
    per_epoch = steps_per_epoch(len(data.train), batch_size)
    steps_per_epoch(len(data.val), batch_size)  # refuses a batch larger than the validation split
    network = space.supernet(channels=config.space.channels, cells=config.space.cells, classes=data.num_classes)
    weight_optimizer = weight_sgd(settings.weight_optimizer, settings.epochs, per_epoch)
    alpha_optimizer = alpha_adam(settings.alpha_optimizer)
    image_shape = data.train.images.shape[1:]
    prepare = partial(
        augment,
        mean=data.mean,
        std=data.std,
        crop_padding=config.data.crop_padding,
        flip=config.data.flip,
        cutout=config.data.search_cutout,
    )

    def dummy_inputs():
        op_weights = {name: jnp.zeros(shape, jnp.float32) for name, shape in space.alpha_shapes.items()}
        return op_weights, jnp.zeros((2, *image_shape), jnp.float32)

    shapes, ranges = abstract_network(network, *dummy_inputs(), True)
    params, stats = (Packing(shapes[name], network.edges_of) for name in ("params", "batch_stats"))

    def loss(vector, alphas, batch):
        in_pieces = staging.in_pieces()
        unravel = Packing.pack if in_pieces else Packing.unravel
        start = jnp.zeros(stats.size, vector.dtype)  # running averages are linear: what the batch adds, then the decay
        variables = {"params": unravel(params, vector), "batch_stats": unravel(stats, start)}
        logits, changed = network.apply(
            variables,
            softmax(alphas),
            batch["images"],
            True,
            mutable=["batch_stats"],
            rngs={"noise": batch["key"]},
        )
        added = (Packing.unpack if in_pieces else Packing.ravel)(stats, changed["batch_stats"])
        running = (1 - RUNNING_MOMENTUM) * batch["batch_stats"] + added
        aux = {"accuracy": accuracy(logits, batch["labels"]), "batch_stats": running}
        return cross_entropy(logits, batch["labels"]), aux

    def init(key):
        weight_key, alpha_key, run_key = jax.random.split(key, 3)
        alphas = space.init_alphas(alpha_key, settings.alpha_init_scale)
        weights = init_vector(weight_key, params, ranges)
        return SearchState(
            step=jnp.zeros((), jnp.int32),
            weights=weights,
            batch_stats=stats.ravel(initial_statistics(shapes)["batch_stats"]),
            alphas=alphas,
            weight_opt_state=weight_optimizer.init(weights),
            alpha_opt_state=alpha_optimizer.init(alphas),
            key=run_key,
            sums={name: jnp.zeros((), jnp.float32) for name in METRICS},
            method_state={},
        )

    def draw(state, arrays):
        order_key, step_key = jax.random.split(state.key)
        order = epoch_permutation(jax.random.fold_in(order_key, state.step // per_epoch), len(arrays["train_labels"]))
        keys = jax.random.split(jax.random.fold_in(step_key, state.step), 5)
        train_rows = batch_indices(order, state.step, batch_size)
        val_rows = random_batch(keys[0], len(arrays["val_labels"]), batch_size)

        def batch(split, rows, augment_key, network_key):
            return {
                "images": prepare(augment_key, arrays[f"{split}_images"][rows]),
                "labels": arrays[f"{split}_labels"][rows],
                "key": network_key,
                "batch_stats": state.batch_stats,
            }

        train_batch = batch("train", train_rows, keys[1], keys[2])
        return train_batch, batch("val", val_rows, keys[3], keys[4])

    def update_alphas(grads, opt_state, alphas):
        updates, opt_state = alpha_optimizer.update(grads, opt_state, alphas)
        return optax.apply_updates(alphas, updates), opt_state

    def finish(state, grads, alphas, alpha_opt_state, batch_stats, metrics):
        updates, weight_opt_state = weight_optimizer.update(grads, state.weight_opt_state, state.weights)
        weights = state.weights + updates
        fresh = state.step % per_epoch == 0
        sums = {name: jnp.where(fresh, 0, state.sums[name]) + metrics[name] for name in METRICS}
        finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((weights, alphas))])
        state = state.replace(
            step=state.step + 1,
            weights=weights,
            batch_stats=batch_stats,
            alphas=alphas,
            weight_opt_state=weight_opt_state,
            alpha_opt_state=alpha_opt_state,
            sums=sums,
        )
        return state, {**metrics, "finite": jnp.all(finite)}

    def look_ahead(state, arrays):
        """The training batches of this step and of the next ones, as those steps will draw them, stacked."""
        ahead = jnp.arange(settings.unroll_steps, dtype=state.step.dtype)
        return jax.lax.map(lambda i: draw(state.replace(step=state.step + i), arrays)[0], ahead)

    estimator = hypergrad.by_name(settings, loss, loss, weight_optimizer)
    weight_gradients = hypergrad.gradients(loss, settings.microbatches)

    def step(state, arrays):
        train_batch, val_batch = draw(state, arrays)
        unroll_batch = train_batch if settings.unroll_steps == 1 else look_ahead(state, arrays)
        grads, seen = estimator(state.weights, state.alphas, state.weight_opt_state, unroll_batch, val_batch)
        alphas, alpha_opt_state = update_alphas(grads, state.alpha_opt_state, state.alphas)
        if seen.weight_grads is None:
            (value, aux), (grads, _) = weight_gradients(state.weights, alphas, train_batch)
        else:  # single level: weights and alphas move by one backward pass
            value, aux, grads = seen.train_loss, seen.train_aux, seen.weight_grads
        metrics = {
            "train_loss": value,
            "train_accuracy": aux["accuracy"],
            "val_loss": seen.val_loss,
            "val_accuracy": seen.val_aux["accuracy"],
        }
        return finish(state, grads, alphas, alpha_opt_state, aux["batch_stats"], metrics)

    arrays = {
        "train_images": jnp.asarray(data.train.images),
        "train_labels": jnp.asarray(data.train.labels),
        "val_images": jnp.asarray(data.val.images),
        "val_labels": jnp.asarray(data.val.labels),
    }

    def variables(state):
        return {"params": params.unravel(state.weights), "batch_stats": stats.unravel(state.batch_stats)}

    return Search(init, draw, step, loss, variables, network, arrays, per_epoch)
