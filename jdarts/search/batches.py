"""The two batches of a search step on images: choice of images, augmentation and PRNG keys.

Every draw is a function of the run's key and of the number of the step. A resumed search therefore draws the same
batches as an uninterrupted one, and the batches of later steps can be drawn ahead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jdarts.config import DataConfig
from jdarts.data import Augmentation, SearchData, batch_indices, epoch_permutation, random_batch
from jdarts.data.augment import cutout
from jdarts.data.streaming import StreamedData
from jdarts.devices.replicas import Share
from jdarts.methods import Method
from jdarts.schedules import Clock, Schedule
from jdarts.search.objective import Batch
from jdarts.search.state import SearchState
from jdarts.search.task import Arrays

Split = Literal["train", "val"]


@dataclass(frozen=True, eq=False)
class ImageBatches:
    """The batches of a search on images; `batches_for` builds it.

    Attributes:
      size: images in the global batch.
      steps_per_epoch: whole training batches in an epoch.
      alpha_split: the split from which the alphas' batch is drawn.
      streamed: True if the host has chosen the images; `arrays` then holds only one batch of each split.
      share: this replica's part of the global batch.
      augmentation: of the images; with cutout only if all images are masked.
      cutout_side: side of the square that random cutout masks, in pixels.
      cutout_probability: schedule of the share of images that random cutout masks; None without random cutout.
      clock: `step -> Clock`.
    """

    size: int
    steps_per_epoch: int
    alpha_split: Split
    streamed: bool
    share: Share
    augmentation: Augmentation
    cutout_side: int
    cutout_probability: Schedule | None
    clock: Callable[[jax.Array], Clock]

    @property
    def one_at_a_time(self) -> str:
        """The reason that a step cannot see the training batches of later steps; empty if it can."""
        return "streamed images come one batch at a time" if self.streamed else ""

    def draw(self, state: SearchState, arrays: Arrays) -> tuple[Batch, Batch]:
        """`(train_batch, alpha_batch)` of the step that `state` is about to take.

        Args:
          arrays: `train_images` `[N, H, W, C]` uint8, `train_labels` `[N]`, and the same for the alphas' split.

        The training batches of an epoch partition the split; an incomplete last batch is dropped. The alphas' batch is
        drawn from the whole split at every step, as in the DARTS code.
        """
        order_key, step_key = jax.random.split(state.key)
        keys = jax.random.split(jax.random.fold_in(step_key, state.step), 5)
        train_rows, alpha_rows = self._rows(order_key, keys, state.step, arrays)
        train_batch = self._batch("train", train_rows, (keys[1], keys[2]), state, arrays)
        return train_batch, self._batch(self.alpha_split, alpha_rows, (keys[3], keys[4]), state, arrays)

    def validation(self, state: SearchState, arrays: Arrays) -> Batch:
        """The alphas' batch of `draw`."""
        return self.draw(state, arrays)[1]

    def look_ahead(self, state: Any, arrays: Arrays, steps: int) -> Batch:
        """The training batches that this step and the next `steps` − 1 steps will draw, stacked."""
        ahead = jnp.arange(steps, dtype=state.step.dtype)
        return jax.lax.map(lambda i: self.draw(state.replace(step=state.step + i), arrays)[0], ahead)

    def _rows(self, order_key: jax.Array, step_keys: jax.Array, step: jax.Array, arrays: Arrays) -> tuple[Any, Any]:
        """The rows of this replica, in the training split and in the alphas' split."""
        if self.streamed:
            return slice(None), slice(None)
        epoch_key = jax.random.fold_in(order_key, step // self.steps_per_epoch)
        order = epoch_permutation(epoch_key, len(arrays["train_labels"]))
        train_rows = self.share.of(batch_indices(order, step, self.size))
        images = len(arrays[f"{self.alpha_split}_labels"])
        return train_rows, self.share.of(random_batch(step_keys[0], images, self.size))

    def _batch(
        self, split: Split, rows: Any, keys: tuple[jax.Array, jax.Array], state: SearchState, arrays: Arrays
    ) -> Batch:
        """The given rows of a split. The first of the `keys` augments the images; the second is for the network."""
        augment_key, network_key = keys
        images = self.augmentation(augment_key, arrays[f"{split}_images"][rows], self.share)
        if self.cutout_probability is not None:
            images = self._random_cutout(augment_key, images, self.cutout_probability, state.step)
        return {
            "images": images,
            "labels": arrays[f"{split}_labels"][rows],
            "key": network_key,
            "relax_key": jax.random.fold_in(network_key, 0),
            "batch_stats": state.batch_stats,
            "carried": state.carried[split],
            "step": state.step,
        }

    def _random_cutout(
        self, augment_key: jax.Array, images: jax.Array, probability: Schedule, step: jax.Array
    ) -> jax.Array:
        """`images`; cutout masks each of them with the probability of this step."""
        which_key, where_key = jax.random.split(jax.random.fold_in(augment_key, 1))
        drawn = jax.random.bernoulli(which_key, probability(self.clock(step)), (self.size, 1, 1, 1))
        cut = cutout(where_key, images, self.cutout_side, self.share)
        return jnp.where(self.share.of(drawn), cut, images)


def batches_for(
    settings: DataConfig,
    data: SearchData | StreamedData,
    method: Method,
    share: Share,
    *,
    size: int,
    steps_per_epoch: int,
    clock: Callable[[jax.Array], Clock],
) -> ImageBatches:
    """The batches of `size` images that a search with `method` draws from `data`."""
    augmentation = Augmentation(
        mean=data.mean,
        std=data.std,
        crop_padding=settings.crop_padding,
        flip=settings.flip,
        cutout=0 if method.cutout_probability else settings.search_cutout,
    )
    streamed = isinstance(data, StreamedData)
    return ImageBatches(
        size=size,
        steps_per_epoch=steps_per_epoch,
        alpha_split="val" if streamed else method.alpha_data or "val",
        streamed=streamed,
        share=share,
        augmentation=augmentation,
        cutout_side=settings.search_cutout,
        cutout_probability=method.cutout_probability,
        clock=clock,
    )
