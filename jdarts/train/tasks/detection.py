"""Objects in images: RetinaNet with focal loss and L1, by COCO's metrics (`jdarts.detection`)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.config import DataConfig, Experiment, TrainConfig
from jdarts.config.training import PYRAMID_CHANNELS
from jdarts.data.augment import Augmentation
from jdarts.detection.anchors import anchors_of, level_sizes
from jdarts.detection.boxes import NONE, match
from jdarts.detection.coco import CocoDataset, CocoSplit, Fitting, open_coco
from jdarts.detection.losses import focal_losses, smooth_l1_losses
from jdarts.detection.metrics import coco_metrics, coco_results
from jdarts.detection.retinanet import LevelOutputs, RetinaNet, check_strides
from jdarts.detection.suppression import detections
from jdarts.devices.replicas import Share, gathered, pmean
from jdarts.errors import UserError
from jdarts.networks.backbones import backbone_network, feature_shapes
from jdarts.networks.of_genotype import TrainedOnImages, check_network
from jdarts.train.results import TaskResult
from jdarts.train.tasks.task import PLAIN, OutputScale, Placed, Sums, TaskTotals, refuse_smoothing, traced_size

LevelsOutputs = Sequence[LevelOutputs]
_WITHOUT = {
    "auxiliary_weight": 0,
    "mixup": 0,
    "cutmix": 0,
    "cutout": 0,
    "policy": "none",
    "class_weights": "none",
}


class Detection:
    """The task of objects float32 [N, M, 5] (`jdarts.detection.coco.CocoSplit`).

    Both losses are sums over anchors, divided by the number of anchors that shall find an object, of the whole batch
    (an image without any counts one).
    """

    name, measure, score, falls = "detection", "box_loss", "ap", False
    class_parts = ("head/class_output",)

    def load(self, config: DataConfig) -> CocoDataset:
        """Images in COCO's format."""
        return open_coco(config)

    def check(self, settings: TrainConfig) -> None:
        """Only scaling, mirroring and colour change the images."""
        refuse_smoothing(settings, "detection")
        for name, plain in _WITHOUT.items():
            if getattr(settings, name) != plain:
                raise UserError(f"train.{name} is {getattr(settings, name)}; set it to {plain} for detection")

    def check_network(self, genotype: TrainedOnImages, settings: TrainConfig, sides: tuple[int, int]) -> None:
        """Only backbones with features of the strides 8, 16 and 32."""
        sizes, _ = _parted(settings.network_sizes)
        check_network(genotype, image_size=sides, **sizes)
        shapes = feature_shapes(backbone_network(genotype, sizes), (*sides, 3))
        check_strides([stride for stride in (sides[0] // height for height, _, _ in shapes) if stride >= 8])

    def network(self, genotype: TrainedOnImages, outputs: int, sizes: Mapping[str, Any], placed: Placed) -> RetinaNet:
        """Backbone, pyramid and heads."""
        inner, pyramid_channels = _parted(sizes)
        backbone = backbone_network(genotype, inner).clone(axis_name=placed.axis_name, remat=placed.remat)
        return RetinaNet(backbone, outputs, pyramid_channels)

    def count(
        self, genotype: TrainedOnImages, outputs: int, sizes: Mapping[str, Any], image_shape: tuple[int, ...]
    ) -> tuple[int, int]:
        """Read off the program of the network."""
        return traced_size(self.network(genotype, outputs, sizes, PLAIN), image_shape)

    def class_weights(self, targets: np.ndarray, outputs: int) -> np.ndarray:
        """Raise `UserError`: the focal loss balances."""
        raise UserError("train.class_weights is balanced, but the focal loss of detection balances; set it to none")

    def augmentation(self, config: Experiment, data: Any) -> Augmentation:
        """Normalisation only: images are scaled and mirrored on the host, with their boxes."""
        return Augmentation(mean=data.mean, std=data.std, crop_padding=0, flip=False, cutout=0)

    def settings(self, config: Experiment) -> dict[str, Any]:
        """The scaling of images."""
        return {"image_size": list(Fitting.of(config.data.image_size))}

    def move(
        self, augmentation: Augmentation, key: jax.Array, targets: jax.Array, share: Share, sides: tuple[int, int]
    ) -> dict[str, jax.Array]:
        """The targets of all anchors, and the mean number of those that shall find an object, for every image."""
        del augmentation, key
        anchors, targets = (jnp.asarray(x, jnp.result_type(float)) for x in (anchors_of(level_sizes(*sides)), targets))
        matched = jax.vmap(lambda rows: match(anchors, rows[:, :4], rows[:, 4].astype(jnp.int32)))(targets)
        found = jnp.maximum(jnp.sum(matched.classes >= 0, 1), 1).astype(targets.dtype)
        mean = pmean(jnp.mean(found), share.axis_name)
        return {"classes": matched.classes, "boxes": matched.boxes, "found": jnp.broadcast_to(mean, found.shape)}

    def loss(self, outputs: LevelsOutputs, targets: Any, weights: Any, smoothing: float) -> jax.Array:
        """Focal loss of the classes plus L1 of the boxes."""
        del weights, smoothing
        logits = _joined([level.classes for level in outputs])
        wanted = jax.nn.one_hot(targets["classes"], logits.shape[-1])  # zeros for NONE
        kept = (targets["classes"] >= NONE)[..., None]
        focal = jnp.sum(jnp.where(kept, focal_losses(logits, wanted), 0), (1, 2))
        return jnp.mean(focal / targets["found"]) + self.measured(outputs, targets).astype(logits.dtype)

    def measured(self, outputs: LevelsOutputs, targets: Any) -> jax.Array:
        """The L1 loss of the boxes."""
        boxes = _joined([level.boxes for level in outputs])
        apart = jnp.sum(smooth_l1_losses(boxes, targets["boxes"], 0.0), -1)
        return jnp.mean(jnp.sum(jnp.where(targets["classes"] >= 0, apart, 0), 1) / targets["found"])

    def sums(self, outputs: LevelsOutputs, targets: jax.Array, counted: jax.Array) -> Sums:
        """The detections of each image, and the mask of the images that count."""
        del targets
        _, height, width, *_ = outputs[0].classes.shape
        return {**detections(outputs, (8 * height, 8 * width))._asdict(), "counted": counted}

    def across(self, sums: Sums, axis_name: str | None) -> Sums:
        """The rows of all replicas."""
        return {name: gathered(rows.astype(jnp.float32), axis_name) for name, rows in sums.items()}

    def added(self, parts: Iterator[Mapping[str, Any]]) -> dict[str, Any]:
        """The rows of all batches that count."""
        rows = [{name: np.asarray(value) for name, value in part.items()} for part in parts]
        found = {name: np.concatenate([each[name] for each in rows]) for name in rows[0]}
        kept = found.pop("counted") > 0
        return {name: value[kept] for name, value in found.items()}

    def figures(self, totals: TaskTotals, images: CocoSplit, scale: OutputScale) -> dict[str, float]:
        """COCO's average precisions."""
        del scale
        return coco_metrics(coco_results(totals, images), images)

    def result(self, figures: Mapping[str, float], parameters: int, macs: int) -> TaskResult:
        """With all metrics of the test images."""
        return TaskResult(figures, parameters, macs)


def _parted(sizes: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The sizes of the backbone, and the channels of the pyramid."""
    inner = dict(sizes)
    return inner, inner.pop("pyramid_channels", PYRAMID_CHANNELS)


def _joined(levels: Sequence[jax.Array]) -> jax.Array:
    """`[N, h, w, 9, ·]` of every level → `[N, A, ·]`."""
    return jnp.concatenate([level.reshape(level.shape[0], -1, level.shape[-1]) for level in levels], 1)
