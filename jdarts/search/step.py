"""One search step: the alphas and the weights move once each, as the search method says (`jdarts.methods`).

For DARTS (Liu et al. 2019, algorithm 1 and code): first the alphas, then the weights. The alpha step sees a validation
batch and, in second order, the training batch that the weight step will use (k steps ahead: that one first, then those
that the next k − 1 weight steps will use, augmented as they will be). The weight step moves the weights from where they
were (not from the unrolled ones) with the new alphas. Batch norm uses batch statistics throughout; its running averages
move in the weight step only, unless `search.alpha_step_moves_statistics` (`jdarts.search.conventions`).

Everything that depends on the epoch is computed from `state.step`, so a search is traced once. The weights are one
vector (`jdarts.networks.fast.packing`): a supernet has hundreds of weight arrays, and optimisers and their pull-backs
over so many arrays take longer to compile than the cells themselves. `Search.variables` shows them as a tree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jdarts import hypergrad, staging
from jdarts.config import Experiment
from jdarts.config.swept import unchecked
from jdarts.data import SearchData, augment, batch_indices, epoch_permutation, random_batch, steps_per_epoch
from jdarts.data.augment import cutout, normalize
from jdarts.data.streaming import StreamedData
from jdarts.devices.replicas import Share, averaging_gradients, pmean
from jdarts.errors import UserError
from jdarts.losses import accuracy, cross_entropy
from jdarts.methods import Method, build
from jdarts.networks.fast.packing import Packing, init_vector, initial_statistics_vector
from jdarts.ops.initializers import abstract_network
from jdarts.ops.layers import RUNNING_MOMENTUM
from jdarts.optimizers import alpha_adam, weight_sgd
from jdarts.schedules import clock_at
from jdarts.search.conventions import check_conventions, estimator_options, moved_statistics
from jdarts.search.state import SearchState
from jdarts.spaces.space import Space

METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")

Batch = dict[str, Any]
Arrays = dict[str, jax.Array]


@dataclass(frozen=True)
class Search:
    """The pure functions of one search; `make_search` builds it.

    Attributes:
      init: `(key) -> SearchState`.
      draw: `(state, arrays) -> (train_batch, alpha_batch)`; batches are augmented, each with its own
        keys for the network (`key`) and for the relaxation (`relax_key`).
      step: `(state, arrays) -> (state, metrics)`; metrics are scalars of this step.
      loss: `(weight vector, alphas, batch) -> (scalar, aux)`, the loss that the alphas descend, unregularised.
      network_loss: `(weight vector, op_weights, batch, train) -> (scalar, aux)`, below any relaxation.
      score: `(state, op_weights, images, labels, train) -> accuracy` on uint8 images with the shared weights, the
        batch norms in training or in evaluation mode.
      variables: `(state) -> {"params", "batch_stats"}`, the Flax variables of the supernet as trees.
      vectors: the inverse, `(variables) -> (weights, batch_stats)`.
      network: the supernet.
      arrays: the data on the device: uint8 images `[N, H, W, C]` and int32 labels `[N]` of both splits.
      steps_per_epoch: whole training batches in an epoch.
      method, space: what is searched, and how.
    """

    init: Callable[[jax.Array], SearchState]
    draw: Callable[[SearchState, Arrays], tuple[Batch, Batch]]
    step: Callable[[SearchState, Arrays], tuple[SearchState, dict[str, jax.Array]]]
    loss: hypergrad.Loss
    network_loss: Callable[..., tuple[jax.Array, Any]]
    score: Callable[..., jax.Array]
    variables: Callable[[SearchState], dict[str, Any]]
    vectors: Callable[[dict[str, Any]], tuple[jax.Array, jax.Array]]
    network: nn.Module
    data: SearchData | StreamedData
    steps_per_epoch: int
    method: Method
    space: Space

    @cached_property
    def compiled_score(self) -> Callable[..., jax.Array]:
        """`score`, compiled once for all who compare architectures with it."""
        return jax.jit(self.score, static_argnums=4)

    @cached_property
    def arrays(self) -> Arrays:
        """The data on the device, put there when first asked for; streamed images cannot be."""
        assert isinstance(self.data, SearchData), "streamed images are given to the step batch by batch"
        return {
            "train_images": jnp.asarray(self.data.train.images),
            "train_labels": jnp.asarray(self.data.train.labels),
            "val_images": jnp.asarray(self.data.val.images),
            "val_labels": jnp.asarray(self.data.val.labels),
        }


def check_split(config: Experiment, method: Method, data: SearchData | StreamedData) -> None:
    """Raise `UserError` if there is no validation split, but the method needs one."""
    if isinstance(data, StreamedData) or not data.single:
        return
    hypergradient = config.search.hypergradient or method.hypergradient or "unrolled"
    if (hypergradient != "single_level" and method.alpha_data != "train") or method.compares:
        raise UserError(
            f"data.val_fraction is 0, but {method.name} with hypergradient {hypergradient} needs validation images; "
            "use 0.5, or a single-level method"
        )


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
      axis_name: mapped axis that each batch is split over (`jdarts.devices.replicas`). The batch size is that of all
        devices together; losses and gradients are means over the axis, batch norms see the whole batch, and images,
        augmentation, noise and relaxation are those of one device.
    """
    method = method or build(config.search.method, config.search.method_options)
    hypergradient = config.search.hypergradient or method.hypergradient or "unrolled"
    settings = unchecked(config.search, hypergradient=hypergradient)
    check_split(config, method, data)
    check_conventions(settings, hypergradient, method)
    batch_size = settings.batch_size
    per_epoch = steps_per_epoch(len(data.train), batch_size)
    steps_per_epoch(len(data.val), batch_size)  # refuses a batch larger than the validation split
    network = space.supernet(
        channels=config.space.channels,
        cells=config.space.cells,
        classes=data.num_classes,
        axis_name=axis_name,
        edge=method.edge,
        remat=settings.remat,
    )
    weight_optimizer = weight_sgd(settings.weight_optimizer, settings.epochs, per_epoch)
    alpha_optimizer = alpha_adam(settings.alpha_optimizer)
    image_shape = data.image_shape
    random_cutout = method.cutout_probability
    share = Share(axis_name, settings.microbatches)
    streamed = isinstance(data, StreamedData)
    if streamed and settings.unroll_steps > 1:
        raise UserError(
            f"search.unroll_steps is {settings.unroll_steps}, but streamed images come one batch at a time; use 1"
        )
    prepare = partial(
        augment,
        mean=data.mean,
        std=data.std,
        crop_padding=config.data.crop_padding,
        flip=config.data.flip,
        cutout=0 if random_cutout else config.data.search_cutout,
        share=share,
    )

    def network_inputs():
        op_weights = method.op_weights(space, initial_alphas(jax.random.key(0)), jax.random.key(0), clock(jnp.int32(0)))
        return op_weights, jnp.zeros((2, *image_shape)), edge_values(jnp.int32(0))

    def clock(step):
        return clock_at(step, per_epoch, settings.epochs)

    def edge_values(step):
        return {name: schedule(clock(step)) for name, schedule in method.edge_values.items()}

    def initial_alphas(key):
        return method.initial_alphas(space, key, settings.alpha_init_scale)

    op_weights, images, values = jax.eval_shape(network_inputs)
    shapes, ranges = abstract_network(network, op_weights, images, True, values)
    params, stats = (Packing(shapes[name], network.edges_of, network.body_of) for name in ("params", "batch_stats"))

    def variables(vector, running):
        unit = staging.unit()
        return {"params": params.pack(vector, unit), "batch_stats": stats.pack(running, unit)}

    def network_loss(vector, op_weights, batch, train=True):
        vector = averaging_gradients(vector, axis_name)
        op_weights = averaging_gradients(op_weights, axis_name, whole=False)
        dtype = jnp.bfloat16 if settings.activations == "bfloat16" else vector.dtype
        # Running averages are linear in what they start from: begin at zero, add the decayed old ones afterwards.
        running = jnp.zeros_like(batch["batch_stats"]) if train else batch["batch_stats"]
        weights, op_weights, images = jax.tree.map(lambda x: x.astype(dtype), (vector, op_weights, batch["images"]))
        logits, changed = network.apply(
            variables(weights, running),
            op_weights,
            images,
            train,
            edge_values(batch["step"]),
            mutable=["batch_stats"],
            rngs={"noise": batch["key"], "drop_path": jax.random.fold_in(batch["key"], 1)},
        )
        logits = logits.astype(vector.dtype)
        running = batch["batch_stats"]
        if train:
            running = (1 - RUNNING_MOMENTUM) * running + stats.unpack(changed["batch_stats"], staging.unit())
        aux = {"accuracy": accuracy(logits, batch["labels"]), "batch_stats": running}
        return pmean((cross_entropy(logits, batch["labels"]), aux), axis_name)

    def loss(vector, alphas, batch):
        p = method.op_weights(space, alphas, batch["relax_key"], clock(batch["step"]))
        return network_loss(vector, p, batch)

    def weight_loss(vector, alphas, batch):
        """The loss of a weight step whose op weights are not those of the alpha step; no gradient by alphas."""
        still = lax.stop_gradient(vector)
        p = method.weight_step_weights(
            space,
            lax.stop_gradient(alphas),
            batch["relax_key"],
            clock(batch["step"]),
            lambda q: network_loss(still, q, batch, False)[0],
        )
        return network_loss(vector, lax.stop_gradient(p), batch)

    def init(key):
        weight_key, alpha_key, run_key = jax.random.split(key, 3)
        alphas = initial_alphas(alpha_key)
        weights = init_vector(weight_key, params, ranges)
        return SearchState(
            step=jnp.zeros((), jnp.int32),
            weights=weights,
            batch_stats=initial_statistics_vector(stats),
            alphas=alphas,
            weight_opt_state=weight_optimizer.init(weights),
            alpha_opt_state=alpha_optimizer.init(alphas),
            key=run_key,
            sums={name: jnp.zeros(()) for name in METRICS},
            method_state={},
        )

    def draw(state, arrays):
        order_key, step_key = jax.random.split(state.key)
        keys = jax.random.split(jax.random.fold_in(step_key, state.step), 5)
        alpha_split = "val" if streamed else method.alpha_data or "val"
        if streamed:  # the host has chosen the rows, and `arrays` holds nothing else
            train_rows = alpha_rows = slice(None)
        else:
            epoch_key = jax.random.fold_in(order_key, state.step // per_epoch)
            order = epoch_permutation(epoch_key, len(arrays["train_labels"]))
            train_rows = share.of(batch_indices(order, state.step, batch_size))
            alpha_rows = share.of(random_batch(keys[0], len(arrays[f"{alpha_split}_labels"]), batch_size))

        def batch(split, rows, augment_key, network_key):
            images = prepare(augment_key, arrays[f"{split}_images"][rows])
            if random_cutout:
                which_key, where_key = jax.random.split(jax.random.fold_in(augment_key, 1))
                drawn = jax.random.bernoulli(which_key, random_cutout(clock(state.step)), (batch_size, 1, 1, 1))
                cut = cutout(where_key, images, config.data.search_cutout, share)
                images = jnp.where(share.of(drawn), cut, images)
            return {
                "images": images,
                "labels": arrays[f"{split}_labels"][rows],
                "key": network_key,
                "relax_key": jax.random.fold_in(network_key, 0),
                "batch_stats": state.batch_stats,
                "step": state.step,
            }

        train_batch = batch("train", train_rows, keys[1], keys[2])
        return train_batch, batch(alpha_split, alpha_rows, keys[3], keys[4])

    def update_alphas(grads, opt_state, alphas, relax_key, step):
        now = clock(step)
        if method.regularizer is not None:
            more = jax.grad(lambda a: method.penalty(space, a, relax_key, now))(alphas)
            grads = jax.tree.map(jnp.add, grads, more)
        updates, new_opt_state = alpha_optimizer.update(grads, opt_state, alphas)
        new: Any = optax.apply_updates(alphas, updates)
        new = method.after_update(space, alphas, new, relax_key, now)
        if method.alpha_start:
            moving = now.epoch >= method.alpha_start
            new, new_opt_state = jax.tree.map(
                lambda a, b: jnp.where(moving, a, b), (new, new_opt_state), (alphas, opt_state)
            )
        return new, new_opt_state

    def update_weights(grads, opt_state, vector):
        updates, opt_state = weight_optimizer.update(grads, opt_state, vector)
        return vector + updates, opt_state

    def finish(state, vector, weight_opt_state, alphas, alpha_opt_state, batch_stats, metrics):
        fresh = state.step % per_epoch == 0
        sums = {name: jnp.where(fresh, 0, state.sums[name]) + metrics[name] for name in METRICS}
        finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((vector, alphas))])
        state = state.replace(
            step=state.step + 1,
            weights=vector,
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

    own = dict(method.hypergradient_options) if hypergradient == method.hypergradient else {}
    own |= estimator_options(settings, hypergradient, per_epoch)
    estimator = hypergrad.by_name(settings, loss, loss, weight_optimizer, options=own)
    weight_gradients = hypergrad.gradients(weight_loss if method.own_weight_step else loss, settings.microbatches)

    def alpha_step(state, vector, weight_opt_state, train_batch, alpha_batch, arrays):
        """`(alphas, their optimiser's state, what was seen)`."""
        if method.alphas_fixed:
            value, aux = loss(vector, state.alphas, alpha_batch)
            return state.alphas, state.alpha_opt_state, hypergrad.Aux(value, aux)
        unroll_batch = train_batch if settings.unroll_steps == 1 else look_ahead(state, arrays)
        grads, seen = estimator(vector, state.alphas, weight_opt_state, unroll_batch, alpha_batch)
        used = train_batch if settings.hypergradient == "single_level" else alpha_batch
        moved = update_alphas(grads, state.alpha_opt_state, state.alphas, used["relax_key"], state.step)
        return *moved, seen

    def statistics_after_alpha_step(state, seen, running):
        if not settings.alpha_step_moves_statistics:
            return running
        moved = moved_statistics(hypergradient, seen, state.batch_stats, running)
        return jnp.where(clock(state.step).epoch >= (method.alpha_start or 0), moved, running)

    def step(state, arrays):
        train_batch, alpha_batch = draw(state, arrays)
        vector, weight_opt_state = state.weights, state.weight_opt_state
        if method.order == "weights_first":
            (value, aux), (grads, _) = weight_gradients(vector, state.alphas, train_batch)
            vector, weight_opt_state = update_weights(grads, weight_opt_state, vector)
            alphas, alpha_opt_state, seen = alpha_step(
                state, vector, weight_opt_state, train_batch, alpha_batch, arrays
            )
            running = statistics_after_alpha_step(state, seen, aux["batch_stats"])
        else:
            alphas, alpha_opt_state, seen = alpha_step(
                state, vector, weight_opt_state, train_batch, alpha_batch, arrays
            )
            running = statistics_after_alpha_step(state, seen, state.batch_stats)
            train_batch = {**train_batch, "batch_stats": running}
            if seen.weight_grads is None or method.own_weight_step:
                (value, aux), (grads, _) = weight_gradients(vector, alphas, train_batch)
            else:  # single level: weights and alphas move by one backward pass
                value, aux, grads = seen.train_loss, seen.train_aux, seen.weight_grads
            vector, weight_opt_state = update_weights(grads, weight_opt_state, vector)
            running = aux["batch_stats"]
        metrics = {
            "train_loss": value,
            "train_accuracy": aux["accuracy"],
            "val_loss": seen.val_loss,
            "val_accuracy": seen.val_aux["accuracy"],
        }
        return finish(state, vector, weight_opt_state, alphas, alpha_opt_state, running, metrics)

    def score(state, op_weights, images, labels, train=False):
        logits, _ = network.apply(
            variables(state.weights, state.batch_stats),
            op_weights,
            normalize(images, mean=data.mean, std=data.std),
            train,
            {**edge_values(state.step), **{name: jnp.zeros(()) for name in ("skip_dropout", "drop_path")}},
            mutable=["batch_stats"],
            rngs={"noise": jax.random.key(0), "drop_path": jax.random.key(0)},
        )
        return pmean(accuracy(logits, labels), axis_name)

    def tree(state):
        return {"params": params.unravel(state.weights), "batch_stats": stats.unravel(state.batch_stats)}

    def vectors(variables):
        return params.ravel(variables["params"]), stats.ravel(variables.get("batch_stats", {}))

    return Search(init, draw, step, loss, network_loss, score, tree, vectors, network, data, per_epoch, method, space)
