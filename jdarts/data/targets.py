"""Images with targets other than one class each: numbers, several labels, or a class for every pixel.

Letters: N images, H height, W width, C channels, K outputs (numbers, labels or classes of pixels).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from jdarts.data.arrays import channel_statistics
from jdarts.data.dataset import Images, ImagesAndLabels
from jdarts.data.order import fixed_order
from jdarts.data.pixels import as_uint8
from jdarts.errors import UserError

TargetKind = Literal["numbers", "labels", "masks"]
IGNORED = 255
"""The class of pixels of a mask that neither train nor count."""


@dataclass(frozen=True, eq=False)
class TargetedImages(Images):
    """Images `uint8 [N, H, W, C]` and their targets: float32 [N, K], uint8 [N, K] (0 or 1) or uint8 [N, H, W]."""

    def __post_init__(self):
        """`TargetDataset` has checked the targets."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TargetData:
    """The images of a training by use, like `TrainingData`.

    Attributes:
      num_classes: the number K of outputs.
      class_names: their names.
      mean, std: of each channel of the images, for pixels in [0, 1].
      target_mean, target_std: of numbers in the training images, [K]. The targets of `numbers` are in units of
        `target_std` above `target_mean`; a network learns these, and its metrics are in the original units.
    """

    name: str
    num_classes: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: TargetedImages
    val: TargetedImages | None
    test: TargetedImages
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels."""
        return self.train.images.shape[1:]


@dataclass(frozen=True, eq=False, kw_only=True)
class TargetDataset:
    """A whole data set of images in memory with targets; `assemble_targets` makes one.

    The targets of `numbers` are those of the source here.
    """

    name: str
    kind: TargetKind
    class_names: tuple[str, ...]
    splits: Mapping[str, TargetedImages]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels."""
        return self.splits["train"].images.shape[1:]

    def ordered(self, shuffle: int | None, limit: int | None) -> "TargetDataset":
        """The same data with the training images shuffled by a seed and limited to the first ones."""
        train = self.splits["train"]
        rows = np.arange(len(train)) if shuffle is None else fixed_order(len(train), shuffle)
        rows = rows[:limit]
        return replace(self, splits={**self.splits, "train": _rows(train, rows)})

    def for_training(self, val_fraction: float = 0.0) -> TargetData:
        """Training, monitoring and test images.

        A positive `val_fraction` holds out that share of the training images, from the back; with 0 a validation split
        of the source is monitored, if it has one. Raises `UserError` without test images or with an empty part.
        """
        if "test" not in self.splits:
            raise UserError(f"{self.name} has no test images, and training ends with a test; add them (test.csv)")
        train, val = self.splits["train"], self.splits.get("val")
        if val_fraction > 0:
            held_out = math.floor(val_fraction * len(train) + 1e-6)
            if held_out in (0, len(train)):
                raise UserError(
                    f"train.val_fraction is {val_fraction}, which holds out {held_out} of {len(train)} training images "
                    f"of {self.name}; both parts need at least one"
                )
            kept = len(train) - held_out
            train, val = _rows(train, np.arange(kept)), _rows(train, np.arange(kept, len(train)))
        mean, std = channel_statistics(train.images)
        parts: dict[str, Any] = {"train": train, "val": val, "test": self.splits["test"]}
        about: dict[str, Any] = {"name": self.name, "class_names": self.class_names, "mean": mean, "std": std}
        if self.kind == "numbers":
            centre, scale = train.labels.mean(0, np.float64), train.labels.std(0, dtype=np.float64)
            scale = np.where(scale > 0, scale, 1.0)
            about |= {"target_mean": tuple(centre.tolist()), "target_std": tuple(scale.tolist())}
            parts = {name: part and _standardised(part, centre, scale) for name, part in parts.items()}
        return TargetData(**about, num_classes=len(self.class_names), **parts)


def _rows(images: TargetedImages, rows: np.ndarray) -> TargetedImages:
    return TargetedImages(images.images[rows], images.labels[rows])


def _standardised(images: TargetedImages, mean: np.ndarray, std: np.ndarray) -> TargetedImages:
    return TargetedImages(images.images, ((images.labels - mean) / std).astype(np.float32))


def assemble_targets(
    name: str, splits: Mapping[str, ImagesAndLabels], kind: TargetKind, names: tuple[str, ...] = ()
) -> TargetDataset:
    """The data set of the splits `train` and, if given, `test` and `val`, each (images, targets).

    Args:
      name: of the data, for messages.
      splits: images in a form that `jdarts.data.pixels.as_uint8` takes, and targets [N, K], or [N, H, W] for `masks`.
      kind: `numbers` (finite, [N] is read as [N, 1]), `labels` (0 or 1) or `masks` (classes 0 to K-1, 255 is ignored).
      names: of the K outputs; without them they are numbered.

    Raises `UserError` for everything else.
    """
    pixels = as_uint8(name, {split: images for split, (images, _) in splits.items()})
    shape = pixels["train"].shape[1:]
    found = {}
    for split, (_, targets) in splits.items():
        where = f"{name}: the {split} split"
        if pixels[split].shape[1:] != shape:
            raise UserError(f"{where} has images of {list(pixels[split].shape[1:])}, the train split {list(shape)}")
        if len(pixels[split]) == 0 or len(targets) != len(pixels[split]):
            raise UserError(f"{where} has {len(pixels[split])} images and {len(targets)} targets; give one each")
        found[split] = TargetedImages(pixels[split], _checked(where, targets, kind, pixels[split].shape[:3]))
    outputs = _outputs(name, {split: part.labels for split, part in found.items()}, kind, len(names))
    return TargetDataset(name=name, kind=kind, class_names=names or tuple(f"{i}" for i in range(outputs)), splits=found)


def _checked(where: str, targets: np.ndarray, kind: TargetKind, images: tuple[int, ...]) -> np.ndarray:
    """The targets of a split in their type; `images` is [N, H, W]."""
    if targets.dtype.kind not in "biuf":
        raise UserError(f"{where} has targets of type {targets.dtype}; give numbers")
    if kind == "masks":
        whole = targets.dtype.kind in "iu" and targets.size and targets.min() >= 0 and targets.max() <= IGNORED
        if targets.shape != images or not whole:
            raise UserError(
                f"{where} has masks {targets.dtype} {list(targets.shape)}; give whole numbers 0 to 255 {list(images)}"
            )
        return targets.astype(np.uint8)
    targets = targets[:, None] if targets.ndim == 1 else targets
    if targets.ndim != 2 or not np.isfinite(targets).all():
        raise UserError(f"{where} has targets of shape {list(targets.shape)}; give finite numbers [N, outputs]")
    if kind == "labels" and not np.isin(targets, (0, 1)).all():
        raise UserError(f"{where} has labels other than 0 and 1; for numbers use --train.task regression")
    return targets.astype(np.float32 if kind == "numbers" else np.uint8)


def _outputs(name: str, targets: Mapping[str, np.ndarray], kind: TargetKind, named: int) -> int:
    """The number of outputs, the same for all splits."""
    if kind == "masks":
        classes = np.unique(np.concatenate([np.unique(part) for part in targets.values()]))
        counted = int(classes[classes != IGNORED].max(initial=0)) + 1
    else:
        widths = {part.shape[1] for part in targets.values()}
        if len(widths) > 1:
            raise UserError(f"{name}: the splits have {sorted(widths)} targets an image; give all of them the same")
        counted = widths.pop()
    if named and (counted > named if kind == "masks" else counted != named):
        raise UserError(f"{name}: {named} names for {counted} outputs; give one each")
    outputs = named or counted
    if kind == "masks" and outputs < 2:
        raise UserError(f"{name}: the masks have one class only; segmentation needs two")
    return outputs
