"""One step of training a derived network: the DARTS evaluation protocol (Liu et al. 2019, §3.2 and code).

SGD with momentum and a cosine schedule, global-norm clipping, cutout, an auxiliary head whose loss is added with weight
0.4, and drop-path whose probability grows linearly with the epoch.

Like a search step it is written for one replica of a batch (`jdarts.devices.replicas`): losses, gradients and the
statistics of batch norm are those of the global batch, and every draw for an image is a function of its row there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct
from jax.flatten_util import ravel_pytree

from jdarts.config import Experiment, TrainConfig
from jdarts.config.swept import is_off
from jdarts.data import (
    Augmentation,
    SearchData,
    TrainingData,
    batch_indices,
    epoch_permutation,
    normalize,
    steps_per_epoch,
)
from jdarts.data.augment import Statistics
from jdarts.data.color_jitter import ColorJitter
from jdarts.data.mixing import mix
from jdarts.data.streamed_training import StreamedTrainingData
from jdarts.data.streaming import StreamSplit
from jdarts.data.targets import TargetData
from jdarts.devices.replicas import Share, averaging_gradients, pmean
from jdarts.errors import UserError
from jdarts.hypergrad.microbatch import averaged
from jdarts.networks.of_genotype import TrainedOnImages
from jdarts.ops.initializers import abstract_network, init_network
from jdarts.optimizers import training_schedule, weight_sgd
from jdarts.train.frozen import Frozen
from jdarts.train.tasks import TASKS, TrainedTask
from jdarts.train.tasks.task import OutputScale, Placed

TrainArrays = dict[str, jax.Array]
TrainingSplit = TrainingData | SearchData | StreamedTrainingData | TargetData


@struct.dataclass
class TrainState:
    """The state of a training after `step` steps; everything needed to resume bit for bit.

    Attributes:
      opt_state: that of the weights as one vector, in the order of `ravel_pytree`.
      average: moving averages of `weights` and `batch_stats`, in this order; None if they are not wanted.
    """

    step: jax.Array
    weights: Any
    batch_stats: Any
    opt_state: Any
    key: jax.Array
    sums: dict[str, jax.Array]
    average: Any = None


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainStep:
    """The pure functions of a training, for one replica; `train_step` builds it.

    Attributes:
      settings: those of the training.
      network: the derived network.
      optimizer: of the weights as one vector.
      augmentation: of the training images.
      image_shape: height, width and channels.
      steps_per_epoch: whole batches in an epoch.
      share: this replica's part of a batch.
      streamed: the host has chosen the images; `arrays` then holds only one batch.
      task: head, loss and metrics.
      weights: those of the classes, or None.
      frozen: the parts that do not train.
      scale: of numbers that the network predicts.
    """

    settings: TrainConfig
    network: nn.Module
    optimizer: optax.GradientTransformation
    augmentation: Augmentation
    image_shape: tuple[int, ...]
    steps_per_epoch: int
    share: Share
    streamed: bool
    task: TrainedTask
    weights: np.ndarray | None
    frozen: Frozen
    scale: OutputScale

    @property
    def metrics(self) -> tuple[str, str]:
        """The names of the metrics of a step."""
        return "train_loss", f"train_{self.task.measure}"

    def init(self, key: jax.Array) -> TrainState:
        """The state before the first step; compiles next to nothing unless it is jitted."""
        weight_key, run_key = jax.random.split(key)
        variables = init_network(self.network, weight_key, jnp.zeros((2, *self.image_shape)), True)
        start = variables["params"], variables["batch_stats"]
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            weights=variables["params"],
            batch_stats=variables["batch_stats"],
            opt_state=self.optimizer.init(ravel_pytree(self.frozen.split(variables["params"])[0])[0]),
            key=run_key,
            sums={name: jnp.zeros(()) for name in self.metrics},
            average=jax.tree.map(jnp.copy, start) if self.settings.average else None,
        )

    def batch(self, state: TrainState, arrays: TrainArrays) -> dict[str, Any]:
        """The part of this replica of the batch of the step that `state` is about to take, augmented."""
        settings = self.settings
        order_key, step_key = jax.random.split(state.key)
        epoch = state.step // self.steps_per_epoch
        augment_key, network_key = jax.random.split(jax.random.fold_in(step_key, state.step))
        rows: Any = slice(None)
        if not self.streamed:
            order = epoch_permutation(jax.random.fold_in(order_key, epoch), len(arrays["labels"]))
            rows = self.share.of(batch_indices(order, state.step, settings.batch_size))
        images, labels = arrays["images"][rows], arrays["labels"][rows]
        if settings.color_jitter or settings.hue_jitter:
            jitter = ColorJitter(settings.color_jitter, settings.hue_jitter)
            images = jitter(jax.random.fold_in(augment_key, 1), images, self.share)
        images = self.augmentation(augment_key, images, self.share)
        sides = self.image_shape[0], self.image_shape[1]
        labels = self.task.move(self.augmentation, augment_key, labels, self.share, sides)
        batch = {"images": images, "labels": labels, "key": network_key, "batch_stats": state.batch_stats}
        if settings.mixup or settings.cutmix:
            alphas = {"mixup_alpha": settings.mixup, "cutmix_alpha": settings.cutmix}
            mixed = mix(jax.random.fold_in(augment_key, 2), images, labels, **alphas)
            batch |= {"images": mixed.images, "partners": mixed.partners, "kept": mixed.kept}
        if not is_off(settings.drop_path):
            batch["drop_path"] = settings.drop_path * epoch / settings.epochs
        return batch

    def loss(self, weights: Any, batch: dict[str, Any]) -> tuple[jax.Array, Any]:
        """`(loss, (new batch statistics, the metric of the task))` of a batch, means over the replicas."""
        settings = self.settings
        drop_key, noise_key = jax.random.split(batch["key"])
        images = batch["images"]
        if settings.activations == "bfloat16":
            weights, images = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (weights, images))
        with self.frozen.applied():
            (outputs, auxiliary), changed = self.network.apply(
                {"params": weights, "batch_stats": batch["batch_stats"]},
                images,
                True,
                batch.get("drop_path", 0.0),
                mutable=["batch_stats"],
                rngs={"drop_path": drop_key, "noise": noise_key},
            )
        outputs = jax.tree.map(lambda y: y.astype(jnp.result_type(float)), outputs)
        loss = partial(self.task.loss, weights=self.weights, smoothing=settings.label_smoothing)
        value = _of_targets(loss, outputs, batch)
        if auxiliary is not None:
            value += settings.auxiliary_weight * _of_targets(loss, auxiliary.astype(value.dtype), batch)
        measured = _of_targets(self.task.measured, outputs, batch)
        return pmean((value, (changed["batch_stats"], measured)), self.share.axis_name)

    def step(self, state: TrainState, arrays: TrainArrays) -> tuple[TrainState, dict[str, jax.Array]]:
        """`(state after a step, metrics)`."""
        # The optimiser works on one vector: updates of hundreds of arrays took a fifth of the compilation.
        trained, still = self.frozen.split(state.weights)
        vector, as_tree = ravel_pytree(trained)

        def loss(vector, batch):
            trained = as_tree(averaging_gradients(vector, self.share.axis_name))
            return self.loss(self.frozen.joined(trained, still), batch)

        gradient = jax.value_and_grad(loss, has_aux=True)
        over_parts = averaged(lambda vector, _, batch: gradient(vector, batch), self.share.microbatches)
        (value, (batch_stats, measured)), grads = over_parts(vector, (), self.batch(state, arrays))
        updates, opt_state = self.optimizer.update(grads, state.opt_state, vector, **self._decayed(trained))
        moved: Any = optax.apply_updates(vector, updates)
        metrics = dict(zip(self.metrics, (value, measured), strict=True))
        fresh = state.step % self.steps_per_epoch == 0
        sums = {name: jnp.where(fresh, 0, state.sums[name]) + metrics[name] for name in self.metrics}
        weights = self.frozen.joined(as_tree(moved), still)
        state = TrainState(
            step=state.step + 1,
            weights=weights,
            batch_stats=batch_stats,
            opt_state=opt_state,
            key=state.key,
            sums=sums,
            average=self._averaged(state, (weights, batch_stats)),
        )
        return state, {**metrics, "finite": jnp.all(jnp.isfinite(moved))}

    def _decayed(self, weights: Any) -> dict[str, jax.Array]:
        """The argument of the optimiser that leaves norms and biases out of the weight decay."""
        if self.settings.decay_norms:
            return {}
        kept = jax.tree_util.tree_map_with_path(
            lambda path, leaf: jnp.zeros_like(leaf) if is_norm_or_bias(path) else leaf, weights
        )
        return {"decayed": ravel_pytree(kept)[0]}

    def _averaged(self, state: TrainState, new: Any) -> Any:
        """The moving averages after a step to `new` weights and batch statistics."""
        if state.average is None:
            return None
        step = state.step.astype(jnp.result_type(float))
        decay = jnp.minimum(self.settings.average, (1 + step) / (10 + step))
        return jax.tree.map(lambda a, w: a + (1 - decay).astype(w.dtype) * (w - a), state.average, new)

    def logits(self, state: TrainState, images: jax.Array) -> jax.Array:
        """The outputs for uint8 images in evaluation mode, `[N, classes]`, by the averages if there are any."""
        weights, stats = state.average or (state.weights, state.batch_stats)
        variables = {"params": weights, "batch_stats": stats}
        return evaluated(self.network, variables, images, mean=self.augmentation.mean, std=self.augmentation.std)

    def totals(self, state: TrainState, rows: TrainArrays) -> dict[str, jax.Array]:
        """The sums of the task over the `counted` ones of the `images` and `labels`."""
        sums = self.task.sums(self.logits(state, rows["images"]), rows["labels"], rows["counted"])
        return self.task.across(sums, self.share.axis_name)


def check_augmentation(settings: TrainConfig, *, streamed: bool, channels: int) -> None:
    """Raise `UserError` for an augmentation that the images cannot have."""
    if settings.policy != "none" and not streamed:
        raise UserError(
            f"train.policy is {settings.policy}, which changes images as they are decoded; stream them, e.g. with "
            "--data.source stream:folder"
        )
    for name in ("color_jitter", "hue_jitter"):
        if getattr(settings, name) and channels != 3:
            raise UserError(
                f"train.{name} is {getattr(settings, name)}, but the images have {channels} channel(s); it is for RGB: "
                "--data.color rgb, or 0"
            )


def evaluated(network: nn.Module, variables: Any, images: Any, *, mean: Statistics, std: Statistics) -> jax.Array:
    """The outputs of a network in evaluation mode, `[N, classes]` of a classifier, for uint8 images."""
    rngs = {"noise": jax.random.key(0)}  # the op `noise` stays random in evaluation; the draw is fixed
    outputs: Any = network.apply(variables, normalize(images, mean=mean, std=std), False, rngs=rngs)
    return outputs[0]


def is_norm_or_bias(path: Any) -> bool:
    """True for the path of a scale or shift of a batch norm or of a bias, by its name."""
    name = path[-1].key
    return name in ("scale", "bias") or name.endswith("_bias")


def _of_targets(measure: Callable[..., jax.Array], outputs: jax.Array, batch: dict[str, Any]) -> jax.Array:
    """`measure(outputs, labels)`; of mixed images, by the labels of both in their shares."""
    own = measure(outputs, batch["labels"])
    if "partners" not in batch:
        return own
    kept = batch["kept"]
    return (kept * own + (1 - kept) * measure(outputs, batch["partners"])).astype(own.dtype)


def train_step(
    config: Experiment, genotype: TrainedOnImages, data: TrainingSplit, *, axis_name: str | None = None
) -> TrainStep:
    """Build the pure functions of a training from its configuration, its genotype and its data.

    `axis_name` is the mapped axis over which each batch is split.
    """
    settings, streamed, task = config.train, isinstance(data, StreamedTrainingData), TASKS[config.train.task]
    check_augmentation(settings, streamed=streamed, channels=data.image_shape[-1])
    per_epoch = steps_per_epoch(len(data.train), settings.batch_size)
    placed = Placed(settings.auxiliary_weight > 0, axis_name, settings.remat)
    network = task.network(genotype, data.num_classes, settings.network_sizes, placed)
    return TrainStep(
        settings=settings,
        network=network,
        optimizer=weight_sgd(
            settings.optimizer,
            settings.epochs,
            per_epoch,
            schedule=training_schedule(settings, per_epoch),
            chosen_decay=not settings.decay_norms,
        ),
        augmentation=task.augmentation(config, data),
        image_shape=data.image_shape,
        steps_per_epoch=per_epoch,
        share=Share(axis_name, settings.microbatches),
        streamed=streamed,
        task=task,
        weights=_class_weights(settings, task, data),
        frozen=Frozen(settings.frozen, _weights_of(network, data.image_shape) if settings.frozen else {}),
        scale=OutputScale.of(data),
    )


def _class_weights(settings: TrainConfig, task: TrainedTask, data: TrainingSplit) -> np.ndarray | None:
    if settings.class_weights == "none":
        return None
    train = data.train
    targets = train.source.labels()[train.rows] if isinstance(train, StreamSplit) else train.labels
    return task.class_weights(targets, data.num_classes)


def _weights_of(network: Any, image_shape: tuple[int, ...]) -> Any:
    """The shapes of the parameters of a network."""
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.result_type(float))
    return abstract_network(network, images, True)[0]["params"]
