"""Estimates by training networks of images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from jdarts.config import DataConfig, Experiment
from jdarts.config.files import numbers_of
from jdarts.config.swept import with_values
from jdarts.data import Dataset, SearchData, load, steps_per_epoch
from jdarts.data.dataset import Images, TrainImages
from jdarts.errors import UserError
from jdarts.estimation.children import Fidelity, check_trained, kept_of, whole
from jdarts.estimation.estimator import Budget
from jdarts.genotypes.macro import mobile_of
from jdarts.genotypes.random_wiring import RandomlyWired
from jdarts.networks.of_genotype import TrainedOnImages, check_network, count_network
from jdarts.train import Training, TrainState, check_augmentation, evaluate, make_trainings
from jdarts.train.step import TrainArrays, TrainStep, train_step
from jdarts.train.tasks import require_classification

FIDELITIES = {
    "epochs": "epochs of training, in place of train.epochs",
    "data": "share of the training images, above 0 to 1: the first ones of every class",
    "resolution": "height of the images in pixels; it must divide the full height",
    "cells": "cells, in place of train.cells",
    "channels": "channels of the first cell, in place of train.channels",
    "width": "factor on the widths of a mobile network, in place of train.width_multiplier",
}
"""The names of a budget; those left out are as in the configuration."""


class ImageChild:
    """The training of one network of images."""

    def __init__(self, training: Training, val: Images, epochs: int, batch_size: int):
        self._training, self._val, self.epochs, self._batch_size = training, val, epochs, batch_size
        self.init = training.init

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch."""
        return self._training.steps_per_epoch

    @property
    def examples(self) -> TrainArrays:
        """The images and their labels."""
        return self._training.arrays

    def step(self, state: TrainState) -> tuple[TrainState, Mapping[str, jax.Array]]:
        """`(state after a step, metrics)`."""
        return self._training.step(state, self._training.arrays)

    def end_epoch(self, state: TrainState) -> TrainState:
        """The state itself."""
        return state

    def measured(self, state: TrainState) -> float:
        """The accuracy on the validation images in percent."""
        return 100 * evaluate(self._training, state, self._val, self._batch_size)["accuracy"]


@dataclass(frozen=True)
class ImageChildren:
    """The task of images (`jdarts.estimation.children.ChildTask`)."""

    measure: str = "accuracy"

    @property
    def fidelities(self) -> Mapping[str, str]:
        """The names that a budget may have."""
        return FIDELITIES

    def load(self, config: DataConfig) -> Dataset:
        """The images."""
        return load(config)

    def check_validation(self, config: Experiment) -> None:
        """Raise `UserError` if no images are held out, for another task, and for a trained network as the start."""
        require_classification(config)
        if config.train.start or config.train.frozen:
            raise UserError("trials train from random weights; leave out train.start (--from) and train.frozen")
        if config.data.val_fraction == 0:
            raise UserError(
                "data.val_fraction is 0, but trained architectures are compared on validation images; use e.g. 0.5"
            )

    def apply(self, config: Experiment, data: Dataset, budget: Budget) -> Fidelity:
        """The configuration and the images of a search at a budget; raises `UserError` for a wrong value."""
        sizes: dict[str, Any] = {
            name: whole(name, budget[name]) for name in ("epochs", "cells", "channels") if name in budget
        }
        if "width" in budget:
            sizes["width_multiplier"] = budget["width"]
        config = replace(config, train=replace(config.train, **sizes))
        if "resolution" in budget:
            data = _at_resolution(data, whole("resolution", budget["resolution"]))
        split = data.for_search(config.data)
        if "data" in budget:
            split = replace(split, train=_share(split.train, budget["data"]))
        steps_per_epoch(len(split.train), config.train.batch_size)
        return Fidelity(config, split, frozenset(budget))

    def check(self, architecture: Any, fidelity: Fidelity) -> None:
        """Raise `UserError` unless this architecture can be trained; nothing is compiled."""
        settings, space = fidelity.config.train, fidelity.config.space.name
        trained = check_trained(architecture, space)
        mobile = mobile_of(trained) is not None
        without = {"cells", "channels"} if mobile else {"width"}
        if isinstance(trained, RandomlyWired):
            without |= {"cells"}
        check_augmentation(settings, streamed=False, channels=fidelity.data.image_shape[-1])
        for name in fidelity.given & without:
            raise UserError(
                f"budget {name} has no effect on architectures of space {space}; leave it out"
                + (" or use width" if mobile else "")
            )
        check_network(
            trained,
            image_size=_sides(fidelity.data),
            auxiliary=settings.auxiliary_weight > 0,
            **settings.network_sizes,
        )

    def children(
        self, genotype: TrainedOnImages, fidelity: Fidelity, numbers: Sequence[str] = ()
    ) -> Callable[[Experiment], ImageChild]:
        """`configuration -> training of a genotype`; see `ChildTask`."""
        settings = fidelity.config.train
        training = make_trainings(fidelity.config, genotype, fidelity.data, numbers)
        return lambda config: ImageChild(training(config), fidelity.data.val, settings.epochs, settings.batch_size)

    def step_at(self, genotype: TrainedOnImages, fidelity: Fidelity, values: Mapping[str, jax.Array]) -> TrainStep:
        """The functions of a training; see `ChildTask`."""
        return train_step(with_values(fidelity.config, values), genotype, fidelity.data)

    def numbers(self) -> list[str]:
        """The real numbers of `train`."""
        return numbers_of("train")

    def sizes(self, genotype: TrainedOnImages, fidelity: Fidelity) -> dict[str, float]:
        """Parameters and multiply–accumulates of the network of a genotype."""
        count = count_network(genotype, **self.network_sizes(fidelity))
        return {"parameters": count.parameters, "macs": count.macs}

    def network_sizes(self, fidelity: Fidelity) -> dict[str, Any]:
        """Channels, cells, classes, image size, width multiplier and stem of the networks."""
        place = {"classes": fidelity.data.num_classes, "image_size": _sides(fidelity.data)}
        return {**place, **fidelity.config.train.network_sizes}

    def of_search(self, record: Mapping[str, Any]) -> float | None:
        """The accuracy on the validation images in percent."""
        accuracy = record.get("val_accuracy")
        return None if accuracy is None else 100 * accuracy


IMAGE_CHILDREN = ImageChildren()


def _sides(data: SearchData) -> tuple[int, int]:
    return data.image_shape[0], data.image_shape[1]


def _at_resolution(data: Dataset, height: int) -> Dataset:
    full = data.train.images.shape[1]
    if height > full or full % height:
        raise UserError(f"budget resolution is {height}; use a divisor of {full}, the height of the images")
    return data.shrunk(full // height)


def _share(images: TrainImages, share: float) -> TrainImages:
    """The first images of every class, rounded up, in their order."""
    of_classes = [np.flatnonzero(images.labels == label) for label in np.unique(images.labels)]
    rows = np.sort(np.concatenate([of_class[: kept_of(len(of_class), share)] for of_class in of_classes]))
    return TrainImages(images.images[rows], images.labels[rows])
