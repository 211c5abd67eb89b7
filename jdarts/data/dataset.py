"""Images with labels, in three types that cannot be mixed up, and how a data set is split.

Dimension letters: N images, H height, W width, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jdarts.config import DataConfig
from jdarts.errors import UserError

Pair = tuple[np.ndarray, np.ndarray]
SORTED_CHECK_FROM = 20  # with so many labels, a shuffled file is never sorted by chance


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images: `images` uint8 [N, H, W, C], `labels` int32 [N]. Use one of the three subclasses."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        kind = type(self).__name__
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise UserError(
                f"{kind}.images is {self.images.dtype} {list(self.images.shape)}; it must be uint8 [N, H, W, C]"
            )
        if self.labels.dtype != np.int32 or self.labels.shape != self.images.shape[:1]:
            raise UserError(
                f"{kind}.labels is {self.labels.dtype} {list(self.labels.shape)}; "
                f"it must be int32 [{len(self.images)}], one for each image"
            )

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class TrainImages(Images):
    """Images that train network weights."""


@dataclass(frozen=True, eq=False)
class ValImages(Images):
    """Images held out from the weights: they train the alphas of a search, or monitor a training."""


@dataclass(frozen=True, eq=False)
class TestImages(Images):
    """Images for the final accuracy only; no search accepts them."""

    __test__ = False  # not a test class, whatever pytest thinks of the name


@dataclass(frozen=True, eq=False, kw_only=True)
class _Described:
    """What every view of a data set knows: name, classes, and mean and std ([C], for pixels in [0, 1])."""

    name: str
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class SearchData(_Described):
    """What a search sees: two disjoint halves of the training images, and no test images at all.

    `single` is for single-level methods that leave nothing out: then `val` holds the images of `train`.
    """

    train: TrainImages
    val: ValImages
    single: bool = False

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels."""
        return self.train.images.shape[1:]

    def __post_init__(self):
        for field, kind in (("train", TrainImages), ("val", ValImages)):
            if type(getattr(self, field)) is not kind:
                given = type(getattr(self, field)).__name__
                raise TypeError(f"SearchData.{field} is {given}; it must be {kind.__name__}")


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingData(_Described):
    """What the training of a derived network sees; `val` is only monitored."""

    train: TrainImages
    val: ValImages | None
    test: TestImages


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset(_Described):
    """A whole data set. `val` is the source's own validation split, if any; a search does not use it."""

    train: TrainImages
    test: TestImages
    val: ValImages | None = None

    def __post_init__(self):
        shape = self.train.images.shape[1:]
        if len(self.mean) != shape[-1] or len(self.std) != shape[-1]:
            raise UserError(
                f"{self.name}: mean and std have {len(self.mean)} and {len(self.std)} values; "
                f"the images have {shape[-1]} channels"
            )
        for field in ("train", "test", "val"):
            part = getattr(self, field)
            if part is None:
                continue
            where = f"{self.name}: the {field} split"
            if len(part) == 0:
                raise UserError(f"{where} has no images; every split needs at least one")
            if part.images.shape[1:] != shape:
                raise UserError(
                    f"{where} has images of shape {list(part.images.shape[1:])}, "
                    f"the train split {list(shape)}; give all splits one shape"
                )
            low, high = int(part.labels.min()), int(part.labels.max())
            if low < 0 or high >= self.num_classes:
                raise UserError(
                    f"{where} has labels {low} to {high}; with {self.num_classes} classes "
                    f"they must lie in 0 to {self.num_classes - 1}"
                )

    def limited(self, limit: int | None) -> "Dataset":
        """The same data with only the first `limit` training images (None: all of them)."""
        if limit is None or limit >= len(self.train):
            return self
        return replace(self, train=TrainImages(self.train.images[:limit], self.train.labels[:limit]))

    def shrunk(self, side: int) -> "Dataset":
        """The same data with every `side` × `side` square of pixels averaged into one, rounded half up.

        Mean and std stay those of the full-size images. Raises `UserError` if `side` does not divide the images.
        """
        if side == 1:
            return self
        height, width = self.train.images.shape[1:3]
        if height % side or width % side:
            raise UserError(f"data.shrink is {side}, which does not divide images of {height}x{width} into squares")

        def part(images: Images) -> Images:
            n, _, _, channels = images.images.shape
            squares = images.images.reshape(n, height // side, side, width // side, side, channels)
            total = squares.sum((2, 4), dtype=np.uint32)
            return replace(images, images=((total + side * side // 2) // (side * side)).astype(np.uint8))

        parts: Any = {name: part(images) for name in ("train", "test", "val") if (images := getattr(self, name))}
        return replace(self, **parts)

    def for_search(self, config: DataConfig) -> SearchData:
        """The two halves of a search, in file order, after `config.limit`.

        The first `train_fraction` of the training images trains the weights, the last `val_fraction` the
        alphas. With fractions of one half, CIFAR-10 gives the halves of the DARTS code. With a `val_fraction` of 0
        there is one split only (`SearchData.single`), for methods that take both gradients from one batch.

        Raises `UserError` if a half would be empty, or if the images are sorted by label, so that the two
        halves would hold different classes.
        """
        source = self.limited(config.limit).train
        n = len(source)
        n_train, n_val = _count(config.train_fraction, n), _count(config.val_fraction, n)
        for field, count in (("train_fraction", n_train), ("val_fraction", n_val)):
            if count == 0 and getattr(config, field) > 0:
                raise UserError(
                    f"data.{field} is {getattr(config, field)}, which leaves none of the {n} training images "
                    f"of {self.name}; raise it or data.limit"
                )
        steps = np.diff(source.labels)
        if n >= SORTED_CHECK_FROM and np.any(steps) and (np.all(steps >= 0) or np.all(steps <= 0)):
            raise UserError(
                f"the training images of {self.name} are sorted by label, so the two halves of a search "
                "would hold different classes; shuffle the images (with their labels) in the source"
            )
        kept = slice(n - n_val, n) if n_val else slice(0, n_train)
        return SearchData(
            name=self.name,
            num_classes=self.num_classes,
            mean=self.mean,
            std=self.std,
            train=TrainImages(source.images[:n_train], source.labels[:n_train]),
            val=ValImages(source.images[kept], source.labels[kept]),
            single=n_val == 0,
        )

    def for_training(self, val_fraction: float = 0.0) -> TrainingData:
        """Training, monitoring and test images for a derived network.

        A positive `val_fraction` holds out that share of the training images, from the back, for monitoring;
        with 0 every training image is trained on, and `val` is the source's own validation split or None.

        Raises `UserError` if a split would be empty.
        """
        if not 0 <= val_fraction < 1:
            raise UserError(f"val_fraction is {val_fraction}; it must lie in [0, 1)")
        n = len(self.train)
        n_val = _count(val_fraction, n)
        train, val = self.train, self.val
        if val_fraction > 0:
            if n_val == 0 or n_val == n:
                raise UserError(
                    f"val_fraction is {val_fraction}, which splits the {n} training images of {self.name} "
                    f"into {n - n_val} and {n_val}; both parts need at least one"
                )
            train = TrainImages(train.images[: n - n_val], train.labels[: n - n_val])
            val = ValImages(self.train.images[n - n_val :], self.train.labels[n - n_val :])
        return TrainingData(
            name=self.name,
            num_classes=self.num_classes,
            mean=self.mean,
            std=self.std,
            train=train,
            val=val,
            test=self.test,
        )


def _count(fraction: float, n: int) -> int:
    """`fraction * n` rounded down, forgiving float error: 0.29 of 100 is 29."""
    return int(np.floor(fraction * n + 1e-6))


def from_arrays(
    name: str,
    train: Pair,
    test: Pair,
    val: Pair | None = None,
    *,
    num_classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Dataset:
    """A `Dataset` from arrays: a split is (images uint8 [N, H, W] or [N, H, W, C], integer labels [N]).

    `num_classes` defaults to the largest training label plus one; `mean` and `std` to those of the training
    images.

        dataset = from_arrays("mine", (x_train, y_train), (x_test, y_test))
    """
    train_images = TrainImages(*_checked(f"{name}: train", *train))
    if len(train_images) == 0:
        raise UserError(f"{name}: the train split has no images; every split needs at least one")
    computed_mean, computed_std = (None, None) if mean and std else channel_statistics(train_images.images)
    return Dataset(
        name=name,
        num_classes=num_classes or int(train_images.labels.max()) + 1,
        mean=tuple(mean or computed_mean or ()),
        std=tuple(std or computed_std or ()),
        train=train_images,
        test=TestImages(*_checked(f"{name}: test", *test)),
        val=None if val is None else ValImages(*_checked(f"{name}: val", *val)),
    )


def _checked(where: str, images: np.ndarray, labels: np.ndarray) -> Pair:
    if images.dtype != np.uint8:
        raise UserError(f"{where} images have dtype {images.dtype}; give uint8 pixels from 0 to 255")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise UserError(f"{where} images have shape {list(images.shape)}; give [N, H, W] or [N, H, W, C]")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{where} labels have dtype {labels.dtype}; give integer class numbers")
    if labels.shape != images.shape[:1]:
        raise UserError(f"{where} labels have shape {list(labels.shape)} for {len(images)} images; give one each")
    if labels.size and (labels.min() < 0 or labels.max() >= 2**31 - 1):
        raise UserError(f"{where} labels run from {labels.min()} to {labels.max()}; number the classes from 0")
    return images, labels.astype(np.int32)


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 [N, H, W, C] images, for pixels in [0, 1].

    Exact: pixel values are counted, not summed in floating point. A constant channel gets a standard
    deviation of 1, so that normalising it gives zeros.
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
