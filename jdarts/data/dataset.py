"""Labelled images, in a type for each use (training, validation, test), and the splitting of a data set.

Dimension letters: N images, H height, W width, C channels.
"""

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jdarts.config import DataConfig
from jdarts.data.class_balance import REORDER, Part, check_limit, compare_classes
from jdarts.data.order import training_order
from jdarts.errors import DataNote, DataWarning, UserError

ImagesAndLabels = tuple[np.ndarray, np.ndarray]


OWN_VALIDATION_REMEDY = "give both splits the same classes, or ignore the validation split: --data.own_validation false"


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

    __test__ = False  # not a test class, despite its name


@dataclass(frozen=True, eq=False, kw_only=True)
class _Described:
    """The facts shared by all views of a data set: name, classes, and mean and std ([C], for pixels in [0, 1]).

    There is one entry of `class_names` for each class, or none if the source has no names.
    """

    name: str
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class SearchData(_Described):
    """The data of a search: two disjoint halves of the training images, without test images.

    `single` is for single-level methods that hold nothing out: then `val` holds the images of `train`.
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
    """The data for training a derived network; `val` is only monitored."""

    train: TrainImages
    val: ValImages | None
    test: TestImages

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels."""
        return self.train.images.shape[1:]


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset(_Described):
    """A whole data set.

    `val` is the source's own validation split, if any; `test` is None if there are no labelled test images. `order`
    records what `reordered` did to the training images.
    """

    train: TrainImages
    test: TestImages | None
    val: ValImages | None = None
    order: tuple[int | None, bool] = (None, False)

    def __post_init__(self):
        shape = self.train.images.shape[1:]
        if len(self.mean) != shape[-1] or len(self.std) != shape[-1]:
            raise UserError(
                f"{self.name}: mean and std have {len(self.mean)} and {len(self.std)} values; "
                f"the images have {shape[-1]} channels"
            )
        if not all(map(math.isfinite, self.mean)) or not all(0 < std < math.inf for std in self.std):
            raise UserError(
                f"{self.name}: mean is {self.mean} and std {self.std}; both must be finite and std positive "
                "(1 for a channel that is constant)"
            )
        if self.class_names and len(self.class_names) != self.num_classes:
            raise UserError(f"{self.name}: {len(self.class_names)} class names for {self.num_classes} classes")
        for field, part in self.splits().items():
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

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels."""
        return self.train.images.shape[1:]

    def prepared(self, config: DataConfig) -> "Dataset":
        """The same data with the training images in the order of `config`, limited to the first `config.limit`.

        Raises `UserError` if the limit leaves whole classes out (see `class_balance.check_limit`).
        """
        ordered = self.reordered(config)
        limited = ordered.limited(config.limit)
        if limited is not ordered:
            check_limit(self.name, ordered.train.labels, limited.train.labels, self.class_names)
        return limited

    def reordered(self, config: DataConfig) -> "Dataset":
        """The same data with the training images shuffled and stratified according to `config`, at most once."""
        wanted = (config.shuffle, config.stratify)
        if self.order == wanted:
            return self
        rows = training_order(self.train.labels, shuffle=config.shuffle, stratify=config.stratify)
        if rows is None:
            return self
        train = TrainImages(self.train.images[rows], self.train.labels[rows])
        return replace(self, train=train, order=wanted)

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

        parts: Any = {name: part(images) for name, images in self.splits().items()}
        return replace(self, **parts)

    def for_search(self, config: DataConfig) -> SearchData:
        """The two halves of a search, after `config.shuffle`, `config.stratify` and `config.limit`.

        The first `train_fraction` of the training images trains the weights, the last `val_fraction` the alphas. With
        fractions of one half, CIFAR-10 gives the halves of the DARTS code. With a `val_fraction` of 0 there is only one
        split (`SearchData.single`), for methods that take both gradients from one batch. A validation split of the
        source trains the alphas instead of the held-out images, which then stay with the first half, unless
        `config.own_validation` is false.

        Raises `UserError` if a half would be empty, or if the halves largely hold different classes
        (`class_balance.compare_classes`).
        """
        source = self.prepared(config).train
        n = len(source)
        n_train, n_val = _count(config.train_fraction, n), _count(config.val_fraction, n)
        for field, count in (("train_fraction", n_train), ("val_fraction", n_val)):
            if count == 0 and getattr(config, field) > 0:
                raise UserError(
                    f"data.{field} is {getattr(config, field)}, which leaves none of the {n} training images "
                    f"of {self.name}; raise it or data.limit"
                )
        own = self.val if config.own_validation and n_val else None
        remedy = f"reorder them: {REORDER}"
        if own is not None:
            n_train = _count(min(config.train_fraction + config.val_fraction, 1.0), n)
            remedy = OWN_VALIDATION_REMEDY
            note_own_validation(self.name, validation=len(own), used=n_train, training=n)
        kept = slice(n - n_val, n) if n_val else slice(0, n_train)
        train = TrainImages(source.images[:n_train], source.labels[:n_train])
        val = ValImages(source.images[kept], source.labels[kept]) if own is None else own
        compare_classes(
            self.name,
            Part("training images of the search", train.labels),
            Part("validation images of the search", val.labels),
            self.class_names,
            remedy,
        )
        return SearchData(**self._described(), train=train, val=val, single=n_val == 0)

    def for_training(self, val_fraction: float = 0.0) -> TrainingData:
        """Training, monitoring and test images for a derived network.

        A positive `val_fraction` holds out that share of the training images, from the back, for monitoring. With 0
        every training image is trained on, and `val` is the source's own validation split or None.

        Raises `UserError` if a split would be empty, if there are no test images, and if the validation or test images
        largely belong to classes that no training image has (`class_balance.compare_classes`).
        """
        if not 0 <= val_fraction < 1:
            raise UserError(f"val_fraction is {val_fraction}; it must lie in [0, 1)")
        if self.test is None:
            raise UserError(
                f"{self.name} has no labelled test images, and training ends with the test accuracy; add them (folder: "
                "test/CLASS/, npz: x_test and y_test), or only search (jdarts search)"
            )
        n = len(self.train)
        n_val = _count(val_fraction, n)
        train, val = self.train, self.val
        if val_fraction > 0:
            if n_val == 0 or n_val == n:
                raise UserError(
                    f"val_fraction is {val_fraction}, which splits the {n} training images of {self.name} "
                    f"into {n - n_val} and {n_val}; both parts need at least one"
                )
            if val is not None:
                _warn(
                    f"{self.name}: its validation split is not used, since train.val_fraction is {val_fraction}; "
                    "with 0 it monitors the training",
                    DataWarning,
                )
            train = TrainImages(train.images[: n - n_val], train.labels[: n - n_val])
            val = ValImages(self.train.images[n - n_val :], self.train.labels[n - n_val :])
        for title, part in (("validation images", val), ("test images", self.test)):
            if part is not None:
                own = part is self.val or part is self.test
                remedy = "check the splits of the source, or data.limit" if own else f"reorder them: {REORDER}"
                names = self.class_names
                compare_classes(
                    self.name, Part("training images", train.labels), Part(title, part.labels), names, remedy
                )
        return TrainingData(**self._described(), train=train, val=val, test=self.test)

    def splits(self) -> dict[str, Images]:
        """The existing splits, by the names of their fields."""
        parts = {"train": self.train, "test": self.test, "val": self.val}
        return {name: part for name, part in parts.items() if part is not None}

    def _described(self) -> dict[str, Any]:
        names = ("name", "num_classes", "mean", "std", "class_names")
        return {name: getattr(self, name) for name in names}


def note_own_validation(name: str, *, validation: int, used: int, training: int) -> None:
    """Report that the validation split of a source trains the alphas, and `used` of its training images the weights."""
    _warn(
        f"{name}: the {validation:,} images of its validation split train the alphas, {used:,} of the {training:,} "
        "training images the weights; --data.own_validation false splits the training images instead",
        DataNote,
    )


def _warn(text: str, category: type[DataWarning]) -> None:
    warnings.warn(text, category, stacklevel=3)


def _count(fraction: float, n: int) -> int:
    """`fraction * n` rounded down, tolerating float error: 0.29 of 100 is 29."""
    return int(np.floor(fraction * n + 1e-6))
