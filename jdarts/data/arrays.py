"""A data set from arrays, with the checks that all sources share.

Letters: N images, H height, W width, C channels.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jdarts.data.dataset import Dataset, ImagesAndLabels, TestImages, TrainImages, ValImages
from jdarts.data.decoding import ImageForm
from jdarts.data.labels import number_classes
from jdarts.data.pixels import as_uint8
from jdarts.errors import DataNote, UserError


def from_arrays(
    name: str,
    train: ImagesAndLabels,
    test: ImagesAndLabels | None,
    val: ImagesAndLabels | None = None,
    *,
    num_classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Dataset:
    """A `Dataset` from arrays: a split is (images [N, H, W] or [N, H, W, C], labels [N]).

    Images are best uint8; `pixels.as_uint8` lists other accepted forms, `labels.number_classes` those of labels.
    `num_classes` defaults to the number of training labels, which are then 0 to K-1; `mean` and `std` default to those
    of the training images. `test` may be None for a search.

    Warns with `DataNote` about conversions. Raises `UserError` for everything that cannot be read safely.

        dataset = from_arrays("mine", (x_train, y_train), (x_test, y_test))
    """
    given = {"train": train, "test": test, "val": val}
    splits = {split: pair for split, pair in given.items() if pair is not None}
    return assemble(name, splits, num_classes=num_classes, mean=mean, std=std)


def assemble(
    name: str,
    splits: Mapping[str, ImagesAndLabels],
    *,
    num_classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    class_names: Sequence[str] = (),
    remap: bool = False,
) -> Dataset:
    """The `Dataset` of the splits `train` and, if given, `test` and `val`.

    `remap` renumbers text and irregular labels (`labels.number_classes`); the other arguments and
    the errors are those of `from_arrays`.
    """
    for split, (images, _) in splits.items():
        if images.shape[:1] == (0,):
            raise UserError(f"{name}: the {split} split has no images; every split needs at least one")
    pixels = as_uint8(name, {split: images for split, (images, _) in splits.items()})
    for split, (images, labels) in splits.items():
        if labels.shape[:1] != images.shape[:1]:
            raise UserError(
                f"{name}: {split} labels have shape {list(labels.shape)} for {len(images)} images; give one each"
            )
    numbered = number_classes(
        name, {split: labels for split, (_, labels) in splits.items()}, num_classes=num_classes, remap=remap
    )
    computed = channel_statistics(pixels["train"]) if mean is None or std is None else (mean, std)
    parts = {split: (pixels[split], numbered.labels[split]) for split in splits}
    return Dataset(
        name=name,
        num_classes=numbered.num_classes,
        mean=tuple(computed[0] if mean is None else mean),
        std=tuple(computed[1] if std is None else std),
        class_names=numbered.names or tuple(class_names),
        train=TrainImages(*parts["train"]),
        test=TestImages(*parts["test"]) if "test" in parts else None,
        val=ValImages(*parts["val"]) if "val" in parts else None,
    )


def remapped(dataset: Dataset) -> Dataset:
    """The same data with the classes that occur in the training images numbered 0 to K-1; names are kept."""
    labels = {split: part.labels for split, part in dataset.splits().items()}
    numbered = number_classes(dataset.name, labels, remap=True)
    if numbered.num_classes == dataset.num_classes:
        return dataset
    unused = dataset.num_classes - numbered.num_classes
    warnings.warn(
        f"{dataset.name}: {unused} of the {dataset.num_classes} classes have no training images and get no output",
        DataNote,
        stacklevel=3,
    )
    names = dataset.class_names or tuple(map(str, range(dataset.num_classes)))
    parts: Any = {split: replace(part, labels=numbered.labels[split]) for split, part in dataset.splits().items()}
    kept = tuple(names[label] for label in np.unique(dataset.train.labels))
    return replace(dataset, num_classes=numbered.num_classes, class_names=kept, **parts)


def converted_to(dataset: Dataset, form: ImageForm) -> Dataset:
    """The same data with every image converted to the colour and size of `form`; mean and std are recomputed.

    Raises `UserError` for images with other than 1 or 3 channels.
    """
    height, width, channels = dataset.train.images.shape[1:]
    wanted = {None: channels, "rgb": 3, "gray": 1}[form.color]
    if (form.size or (height, width)) == (height, width) and wanted == channels:
        return dataset
    if channels not in (1, 3):
        raise UserError(
            f"{dataset.name} has {channels} channels; data.image_size and data.color convert gray and RGB images only"
        )
    parts: Any = {
        split: replace(part, images=np.stack([form.array(image) for image in part.images]))
        for split, part in dataset.splits().items()
    }
    mean, std = channel_statistics(parts["train"].images)
    return replace(dataset, mean=mean, std=std, **parts)


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 [N, H, W, C] images, for pixels in [0, 1].

    Exact: pixel values are counted, not summed in floating point. A constant channel gets a standard deviation of 1, so
    that normalising it gives zeros.
    """
    counts = np.zeros((images.shape[-1], 256), np.int64)
    for start in range(0, len(images), 4096):
        for channel in range(images.shape[-1]):
            pixels = images[start : start + 4096, ..., channel].ravel()
            counts[channel] += np.bincount(pixels, minlength=256)
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(1)
    variance = (counts * (values[None, :] - mean[:, None]) ** 2).sum(1) / counts.sum(1)
    constant = (counts > 0).sum(1) == 1
    std = np.where(constant, 1.0, np.sqrt(variance))
    return tuple(mean.tolist()), tuple(std.tolist())
