"""Estimates from training: the network of a genotype, from scratch, at full cost or at lower fidelities."""

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from jdarts.config import Experiment
from jdarts.data import Dataset, SearchData, steps_per_epoch
from jdarts.data.dataset import TrainImages
from jdarts.errors import Diverged, UserError, unknown
from jdarts.estimation.estimator import Budget, Report, Score
from jdarts.genotypes import MobileArchitecture, excerpt
from jdarts.genotypes.macro import MacroNetwork
from jdarts.networks.of_genotype import TrainedOnImages, check_network, count_network
from jdarts.train import Training, evaluate, make_training

FIDELITIES = {
    "epochs": "epochs of training, in place of train.epochs",
    "data": "share of the training images, above 0 to 1: the first ones of every class",
    "resolution": "height of the images in pixels; it must divide the full height",
    "cells": "cells, in place of train.cells",
    "channels": "channels of the first cell, in place of train.channels",
    "width": "factor on the widths of a mobile network, in place of train.width_multiplier",
}
"""The names of a budget; those left out are as in the configuration."""

_KEPT = 4  # compiled trainings


@dataclass(frozen=True)
class Fidelity:
    """A budget applied: the configuration of a training, and its data; `given` has the names in the budget."""

    config: Experiment
    data: SearchData
    given: frozenset[str] = frozenset()

    def check(self, genotype: Any) -> None:
        """Raise `UserError` unless this genotype can be trained at this budget; nothing is compiled."""
        if not isinstance(genotype, TrainedOnImages):
            raise UserError(
                f"space {self.config.space.name} has architectures that jdarts does not train, such as "
                f"{excerpt(str(genotype))}; use a table, or another space"
            )
        mobile = isinstance(genotype, MobileArchitecture | MacroNetwork)
        for name in self.given & ({"cells", "channels"} if mobile else {"width"}):
            raise UserError(
                f"budget {name} has no effect on architectures of space {self.config.space.name}; leave it out"
                + (" or use width" if mobile else "")
            )
        settings = self.config.train
        check_network(
            genotype,
            channels=settings.channels,
            cells=settings.cells,
            image_size=(self.data.image_shape[0], self.data.image_shape[1]),
            auxiliary=settings.auxiliary_weight > 0,
            width_multiplier=settings.width_multiplier,
        )


class FromScratch:
    """Trains the network of a genotype by `config.train` and validates it; the test images are never read.

    The images are those of a search: the first `data.train_fraction` of the training images train the network, the last
    `data.val_fraction` (or the validation split of the source) score it. All children start from `config.seed`.

    A budget may have the names of `FIDELITIES`. The score has `accuracy` in percent, after the last epoch,
    `parameters`, `macs` and `seconds`, those from the end of the first step, which compiles, to the end of the
    training. Its cost is in seconds, too, and contains the compilation.

    Children of one genotype and budget share one compiled step within a process. Across processes, they share JAX's
    persistent compilation cache. Another genotype is another program. A step whose genotype is an argument starts the
    second child at once, but it was slower on a CPU: 2.2 times with branches taken in Python, over 4 times with
    `lax.switch` inside the program (NAS-Bench-201, 8 channels, batch 32).

    Raises `UserError` if no images are held out.
    """

    VALUES = ("accuracy", "parameters", "macs", "seconds")
    """The names of the values of a score."""

    def __init__(self, config: Experiment, data: Dataset):
        if config.data.val_fraction == 0:
            raise UserError(
                "data.val_fraction is 0, but trained architectures are compared on validation images; use e.g. 0.5"
            )
        self._config, self._data = config, data
        self._trainings: OrderedDict[Any, Training] = OrderedDict()
        self._fidelities: dict[tuple, Fidelity] = {}

    def __call__(self, architecture: Any, budget: Budget) -> Score:
        """The score after the last epoch; raises `UserError` for an architecture without network, and `Diverged`."""
        return self.reporting(architecture, budget, None)

    def reporting(self, architecture: Any, budget: Budget, report: Report | None) -> Score:
        """The same; `report` receives the number of finished epochs and the score so far, before the last epoch."""
        started = time.monotonic()
        fidelity = self.at(budget)
        fidelity.check(architecture)
        settings, split = fidelity.config.train, fidelity.data
        training = self._training(architecture, fidelity)
        sizes = _sizes(architecture, fidelity)
        state = training.init(jax.random.key(fidelity.config.seed))
        metrics, first = {}, 0.0

        def score() -> Score:
            accuracy = 100 * evaluate(training, state, split.val, settings.batch_size)["accuracy"]
            now = time.monotonic()
            return Score({"accuracy": accuracy, **sizes, "seconds": now - first}, now - started)

        for epoch in range(1, settings.epochs + 1):
            for _ in range(training.steps_per_epoch):
                state, metrics = training.step(state, training.arrays)
                if not first:
                    jax.block_until_ready(state)
                    first = time.monotonic()
            if not bool(metrics["finite"]):
                raise Diverged(f"{architecture.to_text()} diverged in epoch {epoch}: the loss is not finite")
            if report is not None and epoch < settings.epochs:
                report(epoch, score())
        return score()

    def check(self, architecture: Any, budget: Budget) -> None:
        """Raise `UserError` unless this architecture can be trained at this budget; nothing is compiled."""
        self.at(budget).check(architecture)

    def at(self, budget: Budget) -> Fidelity:
        """The configuration and the data at a budget; raises `UserError` for a wrong name or value."""
        key = tuple(sorted(budget.items()))
        if key not in self._fidelities:
            self._fidelities[key] = self._apply(budget)
        return self._fidelities[key]

    def _apply(self, budget: Budget) -> Fidelity:
        for name in budget:
            if name not in FIDELITIES:
                raise unknown("budget", name, FIDELITIES)
        sizes: dict[str, Any] = {
            name: _whole(name, budget[name]) for name in ("epochs", "cells", "channels") if name in budget
        }
        if "width" in budget:
            sizes["width_multiplier"] = budget["width"]
        config = replace(self._config, train=replace(self._config.train, **sizes))
        data = self._data
        if "resolution" in budget:
            data = _at_resolution(data, _whole("resolution", budget["resolution"]))
        split = data.for_search(config.data)
        if "data" in budget:
            split = replace(split, train=_share(split.train, budget["data"]))
        steps_per_epoch(len(split.train), config.train.batch_size)
        return Fidelity(config, split, frozenset(budget))

    def _training(self, genotype: TrainedOnImages, fidelity: Fidelity) -> Training:
        """The functions of a training, whose compiled forms all children of one genotype share."""
        key = (genotype, id(fidelity))
        if key not in self._trainings:
            self._trainings[key] = make_training(fidelity.config, genotype, fidelity.data)
            if len(self._trainings) > _KEPT:
                self._trainings.popitem(last=False)
        self._trainings.move_to_end(key)
        return self._trainings[key]


def _sizes(genotype: TrainedOnImages, fidelity: Fidelity) -> dict[str, float]:
    settings = fidelity.config.train
    count = count_network(
        genotype,
        channels=settings.channels,
        cells=settings.cells,
        classes=fidelity.data.num_classes,
        image_size=(fidelity.data.image_shape[0], fidelity.data.image_shape[1]),
        width_multiplier=settings.width_multiplier,
    )
    return {"parameters": count.parameters, "macs": count.macs}


def _whole(name: str, value: float) -> int:
    if isinstance(value, bool) or value != int(value) or value < 1:
        raise UserError(f"budget {name} is {value:g}; use a whole number of at least 1")
    return int(value)


def _at_resolution(data: Dataset, height: int) -> Dataset:
    full = data.train.images.shape[1]
    if height > full or full % height:
        raise UserError(f"budget resolution is {height}; use a divisor of {full}, the height of the images")
    return data.shrunk(full // height)


def _share(images: TrainImages, share: float) -> TrainImages:
    """The first images of every class, rounded up, in their order."""
    if not 0 < share <= 1:
        raise UserError(f"budget data is {share:g}; use a share above 0 and at most 1")
    kept = [np.flatnonzero(images.labels == label) for label in np.unique(images.labels)]
    rows = np.sort(np.concatenate([of_class[: int(np.ceil(share * len(of_class)))] for of_class in kept]))
    return TrainImages(images.images[rows], images.labels[rows])
