"""Training a derived network from scratch: the DARTS evaluation protocol (Liu et al. 2019, §3.2 and code).

SGD with momentum and a cosine schedule, global-norm clipping, cutout, an auxiliary head whose loss is added with weight
0.4, and drop-path whose probability grows linearly with the epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct
from jax.flatten_util import ravel_pytree

from jdarts import staging
from jdarts.config import Experiment, TrainConfig
from jdarts.data import (
    Augmentation,
    SearchData,
    TrainingData,
    batch_indices,
    epoch_permutation,
    normalize,
    steps_per_epoch,
)
from jdarts.data.dataset import Images
from jdarts.losses import accuracy, cross_entropy
from jdarts.networks.of_genotype import TrainedOnImages, derived_network
from jdarts.ops.initializers import init_network
from jdarts.optimizers import weight_sgd

METRICS = ("train_loss", "train_accuracy")


@struct.dataclass
class TrainState:
    """The state of a training after `step` steps; everything needed to resume bit for bit.

    `opt_state` is that of the weights as one vector, in the order of `ravel_pytree`.
    """

    step: jax.Array
    weights: Any
    batch_stats: Any
    opt_state: Any
    key: jax.Array
    sums: dict[str, jax.Array]


@dataclass(frozen=True)
class Training:
    """The pure functions of one training; `make_training` builds it.

    Attributes:
      init: `(key) -> TrainState`; compiles next to nothing unless it is jitted.
      step: `(state, arrays) -> (state, metrics)`.
      logits: `(state, images) -> [N, classes]` of uint8 images in evaluation mode.
      arrays: training images (uint8) and labels on the device.
      steps_per_epoch: whole batches in an epoch.
    """

    init: Callable[[jax.Array], TrainState]
    step: Callable[[TrainState, dict[str, jax.Array]], tuple[TrainState, dict[str, jax.Array]]]
    logits: Callable[[TrainState, jax.Array], jax.Array]
    arrays: dict[str, jax.Array]
    steps_per_epoch: int


def make_training(config: Experiment, genotype: TrainedOnImages, data: TrainingData | SearchData) -> Training:
    """Build the pure functions of a training from its configuration, its genotype and the images of `data.train`."""
    settings = config.train
    per_epoch = steps_per_epoch(len(data.train), settings.batch_size)
    protocol = _Protocol(
        settings=settings,
        network=derived_network(
            genotype,
            channels=settings.channels,
            cells=settings.cells,
            classes=data.num_classes,
            auxiliary=settings.auxiliary_weight > 0,
            width_multiplier=settings.width_multiplier,
        ),
        optimizer=weight_sgd(settings.optimizer, settings.epochs, per_epoch),
        augmentation=Augmentation(
            mean=data.mean,
            std=data.std,
            crop_padding=config.data.crop_padding,
            flip=config.data.flip,
            cutout=settings.cutout,
        ),
        image_shape=data.train.images.shape[1:],
        steps_per_epoch=per_epoch,
    )
    options = staging.compiler_options(large=True, calls=settings.epochs * per_epoch)
    arrays = {"images": jnp.asarray(data.train.images), "labels": jnp.asarray(data.train.labels)}
    return Training(
        protocol.init,
        jax.jit(protocol.step, donate_argnums=0, compiler_options=options),
        jax.jit(protocol.logits, compiler_options=options),
        arrays,
        per_epoch,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Protocol:
    """The functions of `Training`, not compiled."""

    settings: TrainConfig
    network: nn.Module
    optimizer: optax.GradientTransformation
    augmentation: Augmentation
    image_shape: tuple[int, ...]
    steps_per_epoch: int

    def init(self, key: jax.Array) -> TrainState:
        weight_key, run_key = jax.random.split(key)
        variables = init_network(self.network, weight_key, jnp.zeros((2, *self.image_shape)), True)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            weights=variables["params"],
            batch_stats=variables["batch_stats"],
            opt_state=self.optimizer.init(ravel_pytree(variables["params"])[0]),
            key=run_key,
            sums={name: jnp.zeros(()) for name in METRICS},
        )

    def loss(self, weights, batch_stats, images, labels, key, drop_path):
        """`(loss, (new batch statistics, accuracy))` of a batch; `drop_path` is the probability of dropping an op."""
        settings = self.settings
        drop_key, noise_key = jax.random.split(key)
        if settings.activations == "bfloat16":
            weights, images = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (weights, images))
        (logits, auxiliary), changed = self.network.apply(
            {"params": weights, "batch_stats": batch_stats},
            images,
            True,
            drop_path,
            mutable=["batch_stats"],
            rngs={"drop_path": drop_key, "noise": noise_key},
        )
        logits = logits.astype(jnp.result_type(float))
        value = cross_entropy(logits, labels, settings.label_smoothing)
        if auxiliary is not None:
            auxiliary = auxiliary.astype(logits.dtype)
            value += settings.auxiliary_weight * cross_entropy(auxiliary, labels, settings.label_smoothing)
        return value, (changed["batch_stats"], accuracy(logits, labels))

    def step(self, state: TrainState, arrays: dict[str, jax.Array]) -> tuple[TrainState, dict[str, jax.Array]]:
        settings, per_epoch = self.settings, self.steps_per_epoch
        order_key, step_key = jax.random.split(state.key)
        epoch = state.step // per_epoch
        order = epoch_permutation(jax.random.fold_in(order_key, epoch), len(arrays["labels"]))
        rows = batch_indices(order, state.step, settings.batch_size)
        augment_key, network_key = jax.random.split(jax.random.fold_in(step_key, state.step))
        images = self.augmentation(augment_key, arrays["images"][rows])
        drop_path = settings.drop_path * epoch / settings.epochs if settings.drop_path else 0.0
        # The optimiser works on one vector: updates of hundreds of arrays took a fifth of the compilation.
        vector, as_tree = ravel_pytree(state.weights)

        def loss(vector):
            batch = images, arrays["labels"][rows], network_key, drop_path
            return self.loss(as_tree(vector), state.batch_stats, *batch)

        (value, (batch_stats, right)), grads = jax.value_and_grad(loss, has_aux=True)(vector)
        updates, opt_state = self.optimizer.update(grads, state.opt_state, vector)
        moved: Any = optax.apply_updates(vector, updates)
        metrics = {"train_loss": value, "train_accuracy": right}
        fresh = state.step % per_epoch == 0
        sums = {name: jnp.where(fresh, 0, state.sums[name]) + metrics[name] for name in METRICS}
        state = TrainState(
            step=state.step + 1,
            weights=as_tree(moved),
            batch_stats=batch_stats,
            opt_state=opt_state,
            key=state.key,
            sums=sums,
        )
        return state, {**metrics, "finite": jnp.all(jnp.isfinite(moved))}

    def logits(self, state: TrainState, images: jax.Array) -> jax.Array:
        variables = {"params": state.weights, "batch_stats": state.batch_stats}
        inputs = normalize(images, mean=self.augmentation.mean, std=self.augmentation.std)
        rngs = {"noise": jax.random.key(0)}  # the op `noise` stays random in evaluation; the draw is fixed
        return self.network.apply(variables, inputs, False, rngs=rngs)[0]


def evaluate(training: Training, state: TrainState, images: Images, batch_size: int) -> dict[str, float]:
    """Accuracy and mean cross-entropy on all of `images`, in batches of one shape (the last one padded)."""
    n, right, total = len(images), 0, 0.0
    for first in range(0, n, batch_size):
        rows = np.arange(first, first + batch_size)
        inside = rows < n
        rows = np.minimum(rows, n - 1)
        logits = np.asarray(training.logits(state, jnp.asarray(images.images[rows])), np.float64)[inside]
        labels = images.labels[rows[inside]]
        right += int((logits.argmax(-1) == labels).sum())
        peak = logits.max(-1)
        log_sum = peak + np.log(np.exp(logits - peak[:, None]).sum(-1))
        total += float((log_sum - logits[np.arange(len(labels)), labels]).sum())
    return {"accuracy": right / n, "loss": total / n}
