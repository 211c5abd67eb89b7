"""The task of images: a batch norm network classifies them; the loss is the cross-entropy.

**The batch-norm policy.** In training mode every forward pass normalises by the statistics of its own batch (of the
global batch on several devices) and is differentiated through them. It also returns the running averages of
`batch["batch_stats"]`, updated by its batch, as `aux["batch_stats"]`; a loss has no other effect on them. The search
keeps the averages from the pass of the weight step and drops all others, unless `search.alpha_step_moves_statistics`
is set (`jdarts.search.conventions`). In evaluation mode (`train=False`) the running averages normalise and do not
change.

The examples of a batch are `images` `[batch, height, width, channels]`, normalised, and `labels` `[batch]`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jdarts.config import Experiment
from jdarts.data import SearchData, steps_per_epoch
from jdarts.data.augment import normalize
from jdarts.data.streaming import StreamedData
from jdarts.devices.replicas import Share, averaging_gradients, pmean
from jdarts.losses import accuracy, cross_entropy
from jdarts.methods import Method
from jdarts.ops.plain import RUNNING_MOMENTUM
from jdarts.optimizers import weight_sgd
from jdarts.search.batches import ImageBatches, batches_for
from jdarts.search.checks import check_chain, check_per_cell, check_rhythm, check_split
from jdarts.search.objective import Batch, LossAux, Objective, edge_values
from jdarts.search.path_step import check_limit, check_paths
from jdarts.search.state import SearchState
from jdarts.search.task import Arrays, Asked, nothing_carried, on_device
from jdarts.search.vectors import vector_network
from jdarts.spaces.space import Space

SCORED = 512  # images of the validation split, as in the code of NAS-Bench-201


@dataclass(frozen=True, eq=False)
class ImageObjective(Objective):
    """The cross-entropy of the supernet on images."""

    def network_loss(
        self, w: jax.Array, op_weights: Any, batch: Batch, train: bool = True
    ) -> tuple[jax.Array, LossAux]:
        """`(cross-entropy, {"accuracy", "batch_stats"})` for op weights, without a relaxation."""
        w = averaging_gradients(w, self.axis_name)
        op_weights = averaging_gradients(op_weights, self.axis_name, whole=False)
        dtype = jnp.bfloat16 if self.bfloat16 else w.dtype
        # Running averages are linear in their old values: start from zero and add the decayed old values afterwards.
        # In a network that runs only some of its ops, those of the others stay as they are.
        linear = train and not getattr(self.supernet.network, "moves_statistics", False)
        running = jnp.zeros_like(batch["batch_stats"]) if linear else batch["batch_stats"]
        weights, op_weights, images = jax.tree.map(lambda x: x.astype(dtype), (w, op_weights, batch["images"]))
        logits, changed = self.supernet.network.apply(
            self.supernet.packed(weights, running),
            op_weights,
            images,
            train,
            self.edge_values(batch["step"]),
            mutable=["batch_stats"],
            rngs={"noise": batch["key"], "drop_path": jax.random.fold_in(batch["key"], 1)},
        )
        logits = logits.astype(w.dtype)
        running = batch["batch_stats"]
        if train:
            old = (1 - RUNNING_MOMENTUM) * running if linear else 0
            running = old + self.supernet.statistics(changed["batch_stats"])
        loss = cross_entropy(logits, batch["labels"])
        aux = {"loss": loss, "accuracy": accuracy(logits, batch["labels"]), "batch_stats": running, "carried": ()}
        return pmean((loss, aux), self.axis_name)

    def score(self, w: jax.Array, op_weights: Any, batch: Batch, train: bool = False) -> jax.Array:
        """The accuracy of one candidate with shared weights, without drop-path and with fixed noise.

        Reads only `images`, `labels`, `batch_stats` and `step` of `batch`. The running averages do not change.
        """
        logits, _ = self.candidate(w, op_weights, batch, train)
        return pmean(accuracy(logits, batch["labels"]), self.axis_name)

    def batch_statistics(self, w: jax.Array, op_weights: Any, batch: Batch) -> jax.Array:
        """The mean and the unbiased variance of a batch in every batch norm of one candidate, `[statistics]`.

        Reads only `images` and `step` of `batch`, and the shape of its `batch_stats`.
        """
        zeros = {**batch, "batch_stats": jnp.zeros_like(batch["batch_stats"])}
        return self.candidate(w, op_weights, zeros, True)[1] / RUNNING_MOMENTUM

    def candidate(self, w: jax.Array, op_weights: Any, batch: Batch, train: bool) -> tuple[jax.Array, jax.Array]:
        """`(logits, moved running averages)` of one candidate, without drop-path and with fixed noise."""
        logits, changed = self.supernet.network.apply(
            self.supernet.packed(w, batch["batch_stats"]),
            op_weights,
            batch["images"],
            train,
            {
                **self.edge_values(batch["step"]),
                **{name: jnp.zeros(()) for name in ("skip_dropout", "drop_path")},
            },
            mutable=["batch_stats"],
            rngs={"noise": jax.random.key(0), "drop_path": jax.random.key(0)},
        )
        return logits, self.supernet.statistics(changed["batch_stats"])


class ImageTask:
    """The parts of a search on images (`jdarts.search.task.SearchTask`)."""

    weight_optimizer = staticmethod(weight_sgd)
    score_name = "accuracy"

    def check(self, config: Experiment, space: Space, method: Method, data: SearchData | StreamedData) -> None:
        """Raise `UserError` if the method does not fit the space, the settings or the splits."""
        check_split(config.search, method, data)
        check_chain(space, method)
        check_per_cell(space, method)
        check_rhythm(config.search, method)
        if method.check is not None:
            method.check(space)
        if method.paths is not None:
            check_paths(method, space, config.search)
            check_limit(method, space, data.image_shape[0], data.num_classes)

    def steps_per_epoch(self, config: Experiment, data: SearchData | StreamedData) -> int:
        """Whole batches in the training split; `UserError` if a split does not fill one batch."""
        steps = steps_per_epoch(len(data.train), config.search.batch_size)
        steps_per_epoch(len(data.val), config.search.batch_size)
        return steps

    def enter(self, state: SearchState, batch: Batch) -> SearchState:
        """The state as it is."""
        del batch
        return state

    def objective(self, asked: Asked) -> Objective:
        """The cross-entropy of the space's supernet."""
        config, space, method = asked.config, asked.space, asked.method
        network = space.supernet(
            channels=config.space.channels,
            cells=config.space.cells,
            classes=asked.data.num_classes,
            axis_name=asked.axis_name,
            edge=method.edge,
            remat=config.search.remat,
        )
        op_weights, images, values = jax.eval_shape(partial(_network_inputs, asked))
        return ImageObjective(
            vector_network(network, op_weights, images, True, values),
            method,
            space,
            asked.clock,
            asked.axis_name,
            bfloat16=config.search.activations == "bfloat16",
        )

    def batches(self, asked: Asked) -> ImageBatches:
        """Augmented images, drawn from the data on the device or read by the host."""
        settings, paths = asked.config.search, asked.method.paths
        parts = 1 if paths is None else paths.count(asked.space)
        return batches_for(
            asked.config.data,
            asked.data,
            asked.method,
            Share(asked.axis_name, settings.microbatches * parts),
            size=settings.batch_size,
            steps_per_epoch=asked.steps_per_epoch,
            clock=asked.clock,
        )

    def carried(self, config: Experiment) -> dict[str, Any]:
        """Nothing: batches of images are independent."""
        del config
        return nothing_carried()

    def arrays(self, config: Experiment, data: SearchData) -> Arrays:
        """Uint8 images `[N, H, W, C]` and int32 labels `[N]` of both splits."""
        del config
        return on_device(data, ("images", "labels"))

    def scored(self, config: Experiment, arrays: Arrays, key: jax.Array) -> tuple[jax.Array, ...]:
        """512 validation images, drawn by `key`, and their labels."""
        del config
        rows = jax.random.permutation(key, len(arrays["val_labels"]))[:SCORED]
        return arrays["val_images"][rows], arrays["val_labels"][rows]

    def held_out(self, config: Experiment, arrays: Arrays) -> Iterator[tuple[jax.Array, ...]]:
        """All validation images in parts of 512, without an incomplete last part."""
        del config
        images, labels = arrays["val_images"], arrays["val_labels"]
        size = min(SCORED, len(labels))
        for first in range(0, len(labels) - size + 1, size):
            yield images[first : first + size], labels[first : first + size]

    def as_batch(self, data: SearchData | StreamedData, *examples: jax.Array) -> Batch:
        """Uint8 images and labels as a batch of normalised images."""
        images, labels = examples
        return {"images": normalize(images, mean=data.mean, std=data.std), "labels": labels}

    def readings(self, record: dict[str, float]) -> dict[str, float]:
        """No further entries."""
        del record
        return {}

    def told(self, score: float) -> str:
        """The accuracy in percent."""
        return f"{score:.2%}"


IMAGE_TASK = ImageTask()


def _network_inputs(asked: Asked) -> tuple[Any, jax.Array, dict[str, jax.Array]]:
    """Op weights, images and edge values of a forward pass; traced for their shapes only."""
    method, space, clock = asked.method, asked.space, asked.clock
    key, step = jax.random.key(0), jnp.int32(0)
    alphas = method.initial_alphas(space, key, asked.config.search.alpha_init_scale)
    op_weights = method.op_weights(space, alphas, key, clock(step))
    return op_weights, jnp.zeros((2, *asked.data.image_shape)), edge_values(method, clock, step)
