"""A class for every pixel: cross-entropy and intersection over union."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jdarts.config import DataConfig, TrainConfig
from jdarts.data.augment import Augmentation
from jdarts.data.table import load_targets
from jdarts.data.targets import IGNORED, TargetDataset
from jdarts.devices.replicas import Share
from jdarts.errors import UserError
from jdarts.networks.backbones import backbone_network
from jdarts.networks.of_genotype import TrainedOnImages, check_network
from jdarts.networks.segmentation import SegmentationNetwork
from jdarts.train.results import TaskResult
from jdarts.train.tasks.task import (
    PLAIN,
    Additive,
    OutputScale,
    Placed,
    Sums,
    TaskTotals,
    balanced,
    normal_mean,
    refuse_smoothing,
    traced_size,
)


class Segmentation(Additive):
    """The task of masks uint8 [N, H, W]; pixels of 255 neither train nor count.

    In the loss every image counts its pixels that are not ignored, divided by the number of all its pixels.
    """

    name, measure, score, falls = "segmentation", "pixel_accuracy", "mean_iou", False

    def load(self, config: DataConfig) -> TargetDataset:
        """Images and masks."""
        return load_targets(config, "masks")

    def check(self, settings: TrainConfig) -> None:
        """Neither an auxiliary head nor mixed images."""
        refuse_smoothing(settings, "segmentation")
        for name in ("auxiliary_weight", "mixup", "cutmix"):
            if getattr(settings, name):
                raise UserError(f"train.{name} is {getattr(settings, name)}; set it to 0 for segmentation")

    def check_network(self, genotype: TrainedOnImages, settings: TrainConfig, sides: tuple[int, int]) -> None:
        """Only networks with features of several resolutions."""
        check_network(genotype, image_size=sides, **settings.network_sizes)
        backbone_network(genotype, settings.network_sizes)

    def network(self, genotype: TrainedOnImages, outputs: int, sizes: Mapping[str, Any], placed: Placed) -> Any:
        """Backbone and decoder."""
        backbone = backbone_network(genotype, sizes).clone(axis_name=placed.axis_name, remat=placed.remat)
        return SegmentationNetwork(backbone, outputs)

    def count(
        self, genotype: TrainedOnImages, outputs: int, sizes: Mapping[str, Any], image_shape: tuple[int, ...]
    ) -> tuple[int, int]:
        """Read off the program of the network."""
        return traced_size(self.network(genotype, outputs, sizes, PLAIN), image_shape)

    def class_weights(self, targets: np.ndarray, outputs: int) -> np.ndarray:
        """`[K]`, by pixels."""
        counts = np.bincount(targets[targets != IGNORED], minlength=outputs)
        return balanced(counts, "pixel in the training images")

    def move(
        self, augmentation: Augmentation, key: jax.Array, targets: jax.Array, share: Share, sides: tuple[int, int]
    ) -> jax.Array:
        """The masks, cropped and flipped like their images; the padding of the crop is ignored."""
        del sides
        shifted = targets[..., None] + jnp.uint8(1)  # IGNORED becomes 0, which is also the padding
        return augmentation.placed(key, shifted, share)[..., 0] - jnp.uint8(1)

    def loss(self, outputs: jax.Array, targets: jax.Array, weights: Any, smoothing: float) -> jax.Array:
        """The mean cross-entropy over all pixels, 0 for those that are ignored; each times the weight of its class."""
        del smoothing
        losses, _, classes = _pixel_losses(outputs, targets)
        return normal_mean(losses, None if weights is None else jnp.asarray(weights)[classes])

    def measured(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The share of all pixels that are right; those that are ignored count as wrong."""
        return jnp.mean((jnp.argmax(outputs, -1) == targets).astype(jnp.float32))

    def sums(self, outputs: jax.Array, targets: jax.Array, counted: jax.Array) -> Sums:
        """Pixels by true and by predicted class [K, K], and the sum over images of the mean loss."""
        k = outputs.shape[-1]
        losses, kept, classes = _pixel_losses(outputs, targets)
        pairs = classes.astype(jnp.int32) * k + jnp.argmax(outputs, -1).astype(jnp.int32)
        counts = jnp.zeros(k * k, jnp.int32).at[pairs].add((kept & counted[:, None, None]).astype(jnp.int32))
        per_image = jnp.mean(losses, (1, 2))
        return {"confusion": counts.reshape(k, k), "loss": jnp.sum(jnp.where(counted, per_image, 0))}

    def figures(self, totals: TaskTotals, images: Any, scale: OutputScale) -> dict[str, float]:
        """`loss`, `pixel_accuracy`, and `mean_iou` over the classes that occur in masks or predictions."""
        del scale
        confusion = np.asarray(totals["confusion"])
        inside = np.diag(confusion)
        union = confusion.sum(0) + confusion.sum(1) - inside
        return {
            "loss": float(totals["loss"]) / len(images),
            "pixel_accuracy": float(inside.sum() / max(confusion.sum(), 1)),
            "mean_iou": float(np.mean(inside[union > 0] / union[union > 0])) if union.any() else 0.0,
        }

    def result(self, figures: Mapping[str, float], parameters: int, macs: int) -> TaskResult:
        """With all metrics of the test images."""
        return TaskResult(figures, parameters, macs)

    def values(self, outputs: jax.Array, scale: OutputScale) -> jax.Array:
        """Probabilities of the classes of every pixel."""
        del scale
        return jax.nn.softmax(outputs)

    def prediction(self, values: np.ndarray, classes: Sequence[str]) -> np.ndarray:
        """The mask, uint8 [H, W]."""
        del classes
        return values.argmax(-1).astype(np.uint8)

    def columns(self, classes: Sequence[str]) -> list[str]:
        """The shares of the classes."""
        return list(classes)

    def row(self, values: np.ndarray, classes: Sequence[str]) -> list[Any]:
        """The share of the pixels of each class."""
        mask = self.prediction(values, classes)
        return [f"{np.mean(mask == k):.6f}" for k in range(len(classes))]

    def entry(self, values: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
        """The share of the pixels of each class."""
        mask = self.prediction(values, classes)
        return {"shares": {name: float(np.mean(mask == k)) for k, name in enumerate(classes)}}


def _pixel_losses(outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Cross-entropies `[N, H, W]` (0 where ignored), the mask of pixels that count, and their classes (0 if not)."""
    kept = targets != IGNORED
    classes = jnp.where(kept, targets, 0).astype(jnp.int32)
    losses = optax.softmax_cross_entropy_with_integer_labels(outputs, classes)
    return jnp.where(kept, losses, 0), kept, classes
