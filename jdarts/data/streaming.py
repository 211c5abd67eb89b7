"""Streamed images, too many for the memory of a device: decoded on the host, batch by batch, in a fixed order.

The image in each row of each batch is a function of only the seed and the step: neither the number of processes nor an
interruption changes it. Each process decodes only its own rows. Grain reads ahead with threads.

Letters: B rows of a global batch, P micro-batches, H processes.
"""

import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from jdarts.config import DataConfig
from jdarts.data.class_balance import Part, check_limit, compare_classes
from jdarts.data.crops import PictureChange, crop_resize
from jdarts.data.dataset import OWN_VALIDATION_REMEDY, note_own_validation
from jdarts.data.decoding import ImageForm, decode_image
from jdarts.data.folder import Listing, list_folder, require_train
from jdarts.data.order import class_split, training_order
from jdarts.errors import UserError, unknown

_RGB = ImageForm(color="rgb")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Encoded(NamedTuple):
    """One stored image, still encoded, and its class."""

    content: bytes
    label: int


class Source(Protocol):
    """Encoded images by number."""

    name: str
    num_classes: int
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, row: int) -> Encoded:
        """Image number `row`."""
        ...

    def where(self, row: int) -> str:
        """The name of image number `row` in messages."""
        ...

    def labels(self) -> np.ndarray:
        """The classes of all images, int32 [N]."""
        ...


class FolderSource:
    """One split of an image folder, `path/SPLIT/CLASS/*`, files in sorted order. `folder_sources` opens them."""

    def __init__(self, name: str, classes: Sequence[str], listing: Listing):
        self.name, self.num_classes, self.class_names = name, len(classes), tuple(classes)
        self._files, self._labels = listing.files, np.array(listing.labels, np.int32)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._files)

    def __getitem__(self, row: int) -> Encoded:
        """Image number `row`."""
        try:
            with open(self._files[row], "rb") as file:
                return Encoded(file.read(), int(self._labels[row]))
        except OSError as error:
            raise UserError(f"{self._files[row]} cannot be read: {error.strerror}; restore it") from error

    def where(self, row: int) -> str:
        """The file of image number `row`."""
        return self._files[row]

    def labels(self) -> np.ndarray:
        """The classes of all images, int32 [N]."""
        return self._labels


def folder_sources(path: str | Path, splits: Sequence[str] = ("train", "val")) -> dict[str, FolderSource]:
    """The sources of those `splits` (`train`, `val`, `test`) of an image folder that the source `folder` would find.

    Raises one `UserError` about all files that cannot be used.
    """
    root = Path(path)
    require_train(root)
    listed = list_folder(root, splits=splits)
    usable = sum(len(listing.files) for listing in listed.splits.values())
    listed.odd.refuse(usable + sum(map(len, listed.odd.files.values())))
    name = root.resolve().name
    return {split: FolderSource(name, listed.classes, listing) for split, listing in listed.splits.items()}


class TfdsSource:
    """A split of a TFDS data set prepared as array_record, images left encoded."""

    def __init__(self, spec: str, path: str, split: str = "train"):
        import tensorflow_datasets as tfds

        from jdarts.data.tfds_source import open_builder

        builder, self._image, self._label = open_builder(spec, path)
        features: Any = builder.info.features
        if not isinstance(features[self._image], tfds.features.Image):
            raise UserError(f"tfds:{spec} stores arrays, not encoded images; load it with data.source tfds:{spec}")
        if not hasattr(features[self._label], "num_classes"):
            raise UserError(f"tfds:{spec} does not declare its classes; load it with data.source tfds:{spec}")
        self.name, self.num_classes = f"tfds:{spec}", features[self._label].num_classes
        self.class_names = tuple(features[self._label].names or ())
        self.splits, self._split = tuple(builder.info.splits), split
        self._data: Any = builder.as_data_source(split, decoders={self._image: tfds.decode.SkipDecoding()})

    def __len__(self) -> int:
        """Number of images."""
        return len(self._data)

    def __getitem__(self, row: int) -> Encoded:
        """Image number `row`."""
        example = self._data[row]
        return Encoded(example[self._image], int(example[self._label]))

    def where(self, row: int) -> str:
        """The number of the image."""
        return f"{self.name}: image {row} of split {self._split}"

    @lru_cache(maxsize=1)  # noqa: B019 - one source lives as long as its process
    def labels(self) -> np.ndarray:
        """The classes of all images, int32 [N]; reads every record once."""
        found = np.empty(len(self), np.int32)
        for start in range(0, len(self), 1024):
            rows = range(start, min(start + 1024, len(self)))
            found[start : rows.stop] = [example[self._label] for example in self._data.__getitems__(rows)]
        return found


def open_source(config: DataConfig) -> Source:
    """The training images of `stream:folder` (data.path/train/CLASS/*) or `stream:tfds:NAME`."""
    return open_sources(config)["train"]


def open_sources(config: DataConfig) -> Mapping[str, Source]:
    """The sources `train` and, if a folder has one, `val` of `stream:folder` or `stream:tfds:NAME`.

    Raises `UserError` for another source or a folder without `data.path`.
    """
    _, _, rest = config.source.partition(":")
    kind, _, details = rest.partition(":")
    if kind == "folder":
        if not config.path:
            raise UserError("source stream:folder needs data.path: the folder that holds train/CLASS/*.jpg")
        return folder_sources(config.path)
    if kind == "tfds" and details:
        return {"train": TfdsSource(details, config.path)}
    raise unknown("data.source", config.source, ("stream:folder", "stream:tfds:NAME"))


@dataclass(frozen=True)
class StreamSplit:
    """The rows of a source that make one split of a search or a training."""

    source: Source
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def centre(self, row: int, size: int, resize: int | None = None) -> tuple[np.ndarray, Any]:
        """The centre of image `row`, uint8 `[size, size, 3]`, and its class."""
        number = int(self.rows[row])
        encoded = self.source[number]
        image = decode_image(encoded.content, self.source.where(number), _RGB)
        return crop_resize(image, size, None, resize=resize), np.int32(encoded.label)

    def stream(self, share: "BatchShare", **options: Any) -> "Stream":
        """The training batches, with the other arguments of `Stream`."""
        return Stream(self, share, **options)


@dataclass(frozen=True, kw_only=True)
class StreamedData:
    """The streamed data of a search: like `SearchData`, without the images."""

    name: str
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_shape: tuple[int, int, int]
    train: StreamSplit
    val: StreamSplit
    class_names: tuple[str, ...] = ()


def open_streams(config: DataConfig) -> StreamedData:
    """The splits of `config`: the first share of every class trains the weights, the second the alphas.

    `config.limit` keeps the same share of every class. The validation split of a folder trains the alphas instead of
    the second share, which then stays with the first, unless `config.own_validation` is false; that of TFDS is not
    used. The classes of TFDS are read once from all records, those of folders from names.

    Raises `UserError` if a class has too few images, if there is only one class, and if the splits largely hold
    different classes.
    """
    _grain()
    sources = open_sources(config)
    source = sources["train"]
    labels = source.labels()
    rows = np.arange(len(labels))
    if config.limit is not None and config.limit < len(rows):
        kept = training_order(labels, shuffle=config.shuffle or 0, stratify=True)
        assert kept is not None
        rows = np.sort(kept[: config.limit])
        check_limit(source.name, labels, labels[rows], source.class_names)
    fractions, remedy = (config.train_fraction, config.val_fraction), "use a source with more classes"
    own = sources.get("val") if config.own_validation and config.val_fraction else None
    if own is not None:
        fractions, remedy = (min(sum(fractions), 1.0),), OWN_VALIDATION_REMEDY
    train, *held_out = (rows[part] for part in class_split(labels[rows], fractions, seed=config.shuffle or 0))
    if own is None:
        val = StreamSplit(source, held_out[0])
    else:
        val = StreamSplit(own, np.arange(len(own)))
        note_own_validation(source.name, validation=len(own), used=len(train), training=len(labels))
    parts = Part("training images", labels[train]), Part("validation images", val.source.labels()[val.rows])
    compare_classes(source.name, *parts, source.class_names, remedy)
    side = config.streamed_side
    return StreamedData(
        name=source.name,
        num_classes=source.num_classes,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        image_shape=(side, side, 3),
        train=StreamSplit(source, train),
        val=val,
        class_names=source.class_names,
    )


class _Rows:
    """The decoded rows of one process, in order: the data source for Grain."""

    def __init__(self, stream: "Stream"):
        self._stream = stream

    def __len__(self) -> int:
        return 1 << 40  # the run ends first

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self._stream.load(int(index))


@dataclass(frozen=True, kw_only=True)
class BatchShare:
    """The rows of every global batch that one process reads: an equal part of each micro-batch.

    Attributes:
      batch_size, microbatches: B and P.
      process, processes: number of this process, and H.
      section: the part of the configuration that has the batch size, for messages.

    Raises `UserError` unless the processes can share every micro-batch equally.
    """

    batch_size: int
    microbatches: int = 1
    process: int = 0
    processes: int = 1
    section: str = "search"

    def __post_init__(self) -> None:
        """Check the sizes."""
        parts = self.microbatches * self.processes
        if self.batch_size % parts:
            raise UserError(
                f"{self.section}.batch_size is {self.batch_size}, which {self.processes} process(es) with "
                f"{self.microbatches} microbatch(es) cannot share equally; use a multiple of {parts}"
            )

    @property
    def rows(self) -> int:
        """The number of rows in a batch that the process reads, B/H."""
        return self.batch_size // self.processes

    def position(self, index: int) -> tuple[int, int]:
        """`(step, row of the global batch)` of the process's image number `index`."""
        step, inside = divmod(index, self.rows)
        in_part = self.rows // self.microbatches
        part, row = divmod(inside, in_part)
        return step, part * (self.batch_size // self.microbatches) + self.process * in_part + row


class Stream:
    """Batches of one split for one process: `{"images": uint8 [P, B/P/H, S, S, 3], "labels": int32 [P, B/P/H]}`.

    Args:
      split: source and rows.
      share: the rows of each batch that the process reads.
      seed: of the order of every epoch and of the crops.
      size: side of the images in pixels, S.
      threads: images decoded at once; 0 decodes in the calling thread.
      policy: changes each image after its crop.

    Raises `UserError` if the split has fewer images than a batch.

    Example::

        for batch in Stream(data.train, BatchShare(batch_size=1024), seed=0, size=224).batches(start=step):
            ...
    """

    def __init__(
        self,
        split: StreamSplit,
        share: BatchShare,
        *,
        seed: int,
        size: int,
        threads: int = 16,
        policy: PictureChange | None = None,
    ):
        if len(split) < share.batch_size:
            raise UserError(
                f"{share.section}.batch_size is {share.batch_size}, but the split has {len(split)} images; use fewer"
            )
        self._split, self._share, self._seed, self._size, self._threads = split, share, seed, size, threads
        self.steps_per_epoch, self._policy = len(split) // share.batch_size, policy
        self._order: Callable[[int], np.ndarray] = lru_cache(maxsize=2)(self._epoch_order)

    def _epoch_order(self, epoch: int) -> np.ndarray:
        random = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
        return random.permutation(self._split.rows)

    def load(self, index: int) -> dict[str, Any]:
        """The process's image number `index`, counted from the start of the run, decoded."""
        number, random = self.drawn(index)
        encoded = self._split.source[number]
        image = decode_image(encoded.content, self._split.source.where(number), _RGB)
        return {
            "images": crop_resize(image, self._size, random, policy=self._policy),
            "labels": np.int32(encoded.label),
        }

    def drawn(self, index: int) -> tuple[int, np.random.Generator]:
        """The number in the source of the process's image number `index`, and the generator of its augmentation."""
        step, row = self._share.position(index)
        epoch, inside = divmod(step, self.steps_per_epoch)
        batch = self._share.batch_size
        number = int(self._order(epoch)[inside * batch + row])
        return number, np.random.Generator(np.random.Philox(key=[self._seed, step * batch + row], counter=[0, 0, 0, 1]))

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """The process's rows of one step only: `{"images": [B/H, S, S, 3], "labels": [B/H]}`."""
        local = self._share.rows
        with ThreadPoolExecutor(max(self._threads, 1)) as pool:
            rows = list(pool.map(self.load, range(step * local, (step + 1) * local)))
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def batches(self, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """The batches from step `start` on, without end; the images of two more batches are read ahead in parallel."""
        grain = _grain()
        local = self._share.rows
        rows = grain.MapDataset.source(_Rows(self))[start * local :]
        ahead = grain.ReadOptions(num_threads=self._threads, prefetch_buffer_size=2 * local)
        for batch in rows.to_iter_dataset(ahead).batch(local, drop_remainder=True):
            yield {name: value.reshape(self._share.microbatches, -1, *value.shape[1:]) for name, value in batch.items()}


def _grain() -> Any:
    try:
        return importlib.import_module("grain")
    except ImportError:
        raise UserError('data.source stream:… needs the package grain: pip install "jdarts[stream]"') from None


def decode_rate(stream: Stream, *, images: int = 256) -> float:
    """Images per second that this host reads, decodes and crops; the first batch is not counted."""
    batches = stream.batches()
    next(batches)
    started, done = time.perf_counter(), 0
    while done < images:
        done += next(batches)["labels"].size
    return done / (time.perf_counter() - started)
