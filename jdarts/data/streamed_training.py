"""Streamed images for training a derived network: training, monitoring and test images, decoded batch by batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from jdarts.config import DataConfig
from jdarts.data.class_balance import Part, check_limit, compare_classes
from jdarts.data.order import class_split, training_order
from jdarts.data.streaming import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    FolderSource,
    Source,
    StreamSplit,
    TfdsSource,
    folder_sources,
)
from jdarts.errors import UserError, unknown


@dataclass(frozen=True, kw_only=True)
class StreamedTrainingData:
    """The streamed data of a training: like `TrainingData`, without the images."""

    name: str
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_shape: tuple[int, int, int]
    train: StreamSplit
    val: StreamSplit | None
    test: StreamSplit
    class_names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        source: Source,
        image_shape: tuple[int, int, int],
        *,
        train: StreamSplit,
        val: StreamSplit | None,
        test: StreamSplit,
    ) -> "StreamedTrainingData":
        """The data of these splits, with the classes of `source` and ImageNet's statistics."""
        return cls(
            name=source.name,
            num_classes=source.num_classes,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            image_shape=image_shape,
            train=train,
            val=val,
            test=test,
            class_names=source.class_names,
        )


@dataclass(frozen=True, kw_only=True)
class StreamedDataset:
    """The sources `train`, `test` and perhaps `val` of a training; `open_streamed_dataset` opens them."""

    sources: Mapping[str, Source]
    config: DataConfig
    image_shape: tuple[int, int, int] = field(init=False)

    def __post_init__(self):
        side = self.config.streamed_side
        object.__setattr__(self, "image_shape", (side, side, 3))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.sources["train"].class_names

    def for_training(self, val_fraction: float = 0.0) -> StreamedTrainingData:
        """Training, monitoring and test images.

        `config.limit` keeps the same share of every class. A positive `val_fraction` holds out that share of every
        class of the training images for monitoring; with 0 a validation split of the source is monitored, if it has
        one. Raises `UserError` if a class has too few images, and if the splits largely have different classes.
        """
        source, test = self.sources["train"], self.sources["test"]
        rows, held_out = self._rows(source), None
        if val_fraction > 0:
            kept = class_split(source.labels()[rows], (1 - val_fraction, val_fraction), seed=self.config.shuffle or 0)
            rows, held_out = (rows[part] for part in kept)
        val = _whole(self.sources.get("val")) if held_out is None else StreamSplit(source, held_out)
        train = StreamSplit(source, rows)
        if isinstance(source, FolderSource):  # the classes of TFDS stand in the records, each of which would be read
            names = source.class_names
            for title, part in (("validation images", val), ("test images", _whole(test))):
                if part is not None:
                    parts = Part("training images", _labels(train)), Part(title, _labels(part))
                    compare_classes(source.name, *parts, names, "check the splits of the source, or data.limit")
        whole = StreamSplit(test, np.arange(len(test)))
        return StreamedTrainingData.of(source, self.image_shape, train=train, val=val, test=whole)

    def _rows(self, source: Source) -> np.ndarray:
        """The training images that `config.limit` keeps."""
        limit = self.config.limit
        if limit is None or limit >= len(source):
            return np.arange(len(source))
        labels = source.labels()
        order = training_order(labels, shuffle=self.config.shuffle or 0, stratify=True)
        assert order is not None
        rows = np.sort(order[:limit])
        check_limit(source.name, labels, labels[rows], source.class_names)
        return rows


def _labels(split: StreamSplit) -> np.ndarray:
    return split.source.labels()[split.rows]


def _whole(source: Source | None) -> StreamSplit | None:
    return None if source is None else StreamSplit(source, np.arange(len(source)))


def open_streamed_dataset(config: DataConfig) -> StreamedDataset:
    """The splits of `stream:folder` or `stream:tfds:NAME` that a training needs.

    A folder has those that the source `folder` finds. The test images of TFDS are the split `test` if its images have
    classes, or else `validation`; with both, `validation` is monitored. Raises `UserError` for another source, and if
    there are no labelled test images.
    """
    kind, _, details = config.source.partition(":")[2].partition(":")
    if kind == "folder" and config.path:
        sources: Mapping[str, Source] = folder_sources(config.path, ("train", "test", "val"))
    elif kind == "folder":
        raise UserError("source stream:folder needs data.path: the folder that holds train/CLASS/*.jpg")
    elif kind == "tfds" and details:
        sources = _tfds_splits(details, config.path)
    else:
        raise unknown("data.source", config.source, ("stream:folder", "stream:tfds:NAME"))
    if "test" not in sources:
        raise UserError(
            f"{config.source} has no labelled test images, and training ends with the test accuracy; add them (folder: "
            "test/CLASS/ or val/CLASS/), or only search (jdarts search)"
        )
    return StreamedDataset(sources=sources, config=config)


def _tfds_splits(spec: str, path: str) -> dict[str, Source]:
    train = TfdsSource(spec, path)
    held_out = [TfdsSource(spec, path, split) for split in ("test", "validation") if split in train.splits]
    labelled = [source for source in held_out if len(source) and source[0].label >= 0]  # ImageNet's test has none
    return {"train": train, **dict(zip(("test", "val"), labelled, strict=False))}
