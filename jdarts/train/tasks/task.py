"""The interface of a task of images, and the parts that most tasks share.

Letters: N images, K outputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.config import DataConfig, Experiment, TrainConfig
from jdarts.data.augment import Augmentation
from jdarts.devices.replicas import Share, psum
from jdarts.errors import UserError
from jdarts.networks.of_genotype import TrainedOnImages, check_network, count_network, derived_network
from jdarts.ops.network_size import module_sizes
from jdarts.train.frozen import HEADS
from jdarts.train.results import TaskResult, TrainResult

Sums = dict[str, jax.Array]
TaskTotals = Mapping[str, Any]


@dataclass(frozen=True)
class OutputScale:
    """The scale of numbers that a network predicts: output y means `mean + std · y`; both are [K], or empty."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @classmethod
    def of(cls, data: Any) -> "OutputScale":
        """The scale of a data set; empty if it has none."""
        return cls(tuple(getattr(data, "target_mean", ())), tuple(getattr(data, "target_std", ())))


NO_SCALE = OutputScale()


@dataclass(frozen=True)
class Prediction:
    """A class or a label of an image, and its probability."""

    name: str
    probability: float


class TrainedTask(Protocol):
    """All that a training of images asks its task."""

    @property
    def name(self) -> str:
        """The value of `train.task`."""
        ...

    @property
    def measure(self) -> str:
        """The metric of every step, for `train_MEASURE` in the records."""
        ...

    @property
    def score(self) -> str:
        """The metric of an evaluation by which epochs are compared."""
        ...

    @property
    def falls(self) -> bool:
        """True if a lower score is better."""
        ...

    @property
    def class_parts(self) -> tuple[str, ...]:
        """The modules of the head whose weights belong to the classes."""
        ...

    def load(self, config: DataConfig) -> Any:
        """The data set, with `for_training(val_fraction)`."""
        ...

    def check(self, settings: TrainConfig) -> None:
        """Raise `UserError` for settings that the task cannot have."""
        ...

    def check_network(self, genotype: TrainedOnImages, settings: TrainConfig, sides: tuple[int, int]) -> None:
        """Raise `UserError` unless the genotype can be trained on images of these sides."""
        ...

    def network(self, genotype: TrainedOnImages, outputs: int, sizes: Mapping[str, Any], placed: "Placed") -> Any:
        """The network with its head, `(images, train, drop_path) -> (outputs, auxiliary outputs or None)`."""
        ...

    def count(
        self, genotype: TrainedOnImages, outputs: int, sizes: Mapping[str, Any], image_shape: tuple[int, ...]
    ) -> tuple[int, int]:
        """Parameters and multiply–accumulates of the network."""
        ...

    def class_weights(self, targets: np.ndarray, outputs: int) -> np.ndarray:
        """Weights that balance the classes in the training images, for `loss`."""
        ...

    def augmentation(self, config: Experiment, data: Any) -> Augmentation:
        """The augmentation on the device."""
        ...

    def settings(self, config: Experiment) -> dict[str, Any]:
        """Further settings that a trained network needs."""
        ...

    def move(
        self, augmentation: Augmentation, key: jax.Array, targets: jax.Array, share: Share, sides: tuple[int, int]
    ) -> Any:
        """The targets of `loss` for images of these sides after the crops and flips that `augmentation` makes."""
        ...

    def loss(self, outputs: Any, targets: Any, weights: Any, smoothing: float) -> jax.Array:
        """The mean loss of a batch; `weights` are those of `class_weights`, or None."""
        ...

    def measured(self, outputs: Any, targets: Any) -> jax.Array:
        """The metric `measure` of a batch."""
        ...

    def sums(self, outputs: Any, targets: jax.Array, counted: jax.Array) -> Sums:
        """Sums over the `counted [N]` images, from which `figures` computes the metrics of a whole split."""
        ...

    def across(self, sums: Sums, axis_name: str | None) -> Sums:
        """The sums of all replicas."""
        ...

    def added(self, parts: Iterator[Mapping[str, Any]]) -> dict[str, Any]:
        """The sums of all batches."""
        ...

    def figures(self, totals: TaskTotals, images: Any, scale: OutputScale) -> dict[str, float]:
        """The metrics of a split, `images`, from its sums."""
        ...

    def result(self, figures: Mapping[str, float], parameters: int, macs: int) -> TrainResult | TaskResult:
        """The result of a training with these metrics of the test images."""
        ...


class PredictionTask(TrainedTask, Protocol):
    """A task whose predictions are values of an image (`jdarts.train.trained.TrainedNetwork`)."""

    def values(self, outputs: jax.Array, scale: OutputScale) -> jax.Array:
        """Probabilities or numbers of the outputs of a network."""
        ...

    def prediction(self, values: np.ndarray, classes: Sequence[str]) -> Any:
        """The prediction for one image from its values."""
        ...

    def columns(self, classes: Sequence[str]) -> list[str]:
        """The columns of a table of predictions, behind the name of the image."""
        ...

    def row(self, values: np.ndarray, classes: Sequence[str]) -> list[Any]:
        """The cells of an image in these columns."""
        ...

    def entry(self, values: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
        """The prediction for an image as JSON."""
        ...


@dataclass(frozen=True)
class Placed:
    """Fields of a network that depend on its use: auxiliary head, axis of the batch, recomputed activations."""

    auxiliary: bool = False
    axis_name: str | None = None
    remat: bool = False


PLAIN = Placed()


class Additive:
    """The parts of a task whose metrics follow from sums over images."""

    class_parts = HEADS

    def augmentation(self, config: Experiment, data: Any) -> Augmentation:
        """Crops, flips and cutout by the configuration."""
        return Augmentation(
            mean=data.mean,
            std=data.std,
            crop_padding=config.data.crop_padding,
            flip=config.data.flip,
            cutout=config.train.cutout,
        )

    def settings(self, config: Experiment) -> dict[str, Any]:
        """None."""
        del config
        return {}

    def across(self, sums: Sums, axis_name: str | None) -> Sums:
        """The sum of all replicas."""
        return psum(sums, axis_name)

    def added(self, parts: Iterator[Mapping[str, Any]]) -> dict[str, Any]:
        """The sum of all batches, in float64 on the host."""
        total: dict[str, Any] = {}
        for part in parts:
            total = {name: total.get(name, 0.0) + np.asarray(value, np.float64) for name, value in part.items()}
        return total


class OfWholeImages(Additive):
    """The parts of a task whose outputs belong to the whole image: the networks of `derived_network`."""

    def check_network(self, genotype: TrainedOnImages, settings: TrainConfig, sides: tuple[int, int]) -> None:
        """As `jdarts.networks.of_genotype.check_network`."""
        auxiliary = settings.auxiliary_weight > 0
        check_network(genotype, image_size=sides, auxiliary=auxiliary, **settings.network_sizes)

    def network(self, genotype: TrainedOnImages, outputs: int, sizes: Mapping[str, Any], placed: Placed) -> Any:
        """The derived network with a linear layer of `outputs`."""
        network = derived_network(genotype, classes=outputs, auxiliary=placed.auxiliary, **sizes)
        return network.clone(axis_name=placed.axis_name, remat=placed.remat)

    def count(
        self, genotype: TrainedOnImages, outputs: int, sizes: Mapping[str, Any], image_shape: tuple[int, ...]
    ) -> tuple[int, int]:
        """Without the auxiliary head."""
        sides = image_shape[0], image_shape[1]
        count = count_network(genotype, classes=outputs, image_size=sides, **sizes)
        return count.parameters, count.macs

    def move(
        self, augmentation: Augmentation, key: jax.Array, targets: jax.Array, share: Share, sides: tuple[int, int]
    ) -> jax.Array:
        """The targets themselves."""
        del augmentation, key, share, sides
        return targets


def traced_size(network: Any, image_shape: tuple[int, ...]) -> tuple[int, int]:
    """Parameters and multiply–accumulates for an image `[height, width, channels]`; the network is traced, not run."""
    height, width, channels = image_shape
    found = module_sizes(network, (height, width, channels))
    return sum(size for size, _ in found.values()), sum(macs for _, macs in found.values())


def normal_mean(losses: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """The mean of `losses`, each times its weight if there are weights."""
    return jnp.mean(losses if weights is None else losses * weights.astype(losses.dtype))


def balanced(counts: np.ndarray, what: str) -> np.ndarray:
    """`total / (classes · count)` for every class, as scikit-learn's "balanced": the mean over the examples is 1.

    Raises `UserError` if a class has no example.
    """
    if (counts == 0).any():
        missing = int(np.argmin(counts))
        raise UserError(
            f"train.class_weights is balanced, but class {missing} has no {what}; add some, or set it to none"
        )
    return (counts.sum() / (len(counts) * counts)).astype(np.float32)


def refuse_smoothing(settings: TrainConfig, task: str) -> None:
    """Raise `UserError` for label smoothing, which acts on classes."""
    if settings.label_smoothing:
        raise UserError(
            f"train.label_smoothing is {settings.label_smoothing}, which has no effect on {task}; set it to 0"
        )
