"""Published settings of a search, as fields of `jdarts.config.Experiment` by dotted name.

A method lists its own in `Method.published`, one entry for each kind of space; the method's file names the paper.
`--method NAME` applies the entry that fits the configuration's space (`jdarts.methods.loading`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jdarts import spaces

SpaceKind = Literal[
    "darts_cnn",
    "nasbench201",
    "enas_micro",
    "enas_macro",
    "enas_rnn",
    "enas_lm_rnn",
    "spos",
    "fairnas",
    "proxyless",
    "one_shot",
]

HALVES = {"data.train_fraction": 0.5, "data.val_fraction": 0.5}
"""Two levels: weights and alphas have half of the training images each."""
ALL_IMAGES = {"data.train_fraction": 1.0, "data.val_fraction": 0.0}
"""One level: weights and alphas share all training images."""
NESTEROV = {"search.weight_optimizer.nesterov": True, "search.weight_optimizer.weight_decay": 5e-4}
"""Changes of the authors of NAS-Bench-201 to the optimiser of the weights (arXiv:2001.00326)."""

DARTS = {
    **HALVES,
    "space.channels": 16,
    "space.cells": 8,
    "search.epochs": 50,
    "search.batch_size": 64,
    "search.weight_optimizer.learning_rate": 0.025,
    "search.weight_optimizer.learning_rate_min": 0.001,
    "search.weight_optimizer.momentum": 0.9,
    "search.weight_optimizer.nesterov": False,
    "search.weight_optimizer.weight_decay": 3e-4,
    "search.weight_optimizer.gradient_clip": 5.0,
    "search.alpha_optimizer.learning_rate": 3e-4,
    "search.alpha_optimizer.b1": 0.5,
    "search.alpha_optimizer.b2": 0.999,
    "search.alpha_optimizer.weight_decay": 1e-3,
    "search.alpha_optimizer.gradient_clip": 0.0,
}
"""The search of DARTS on CIFAR-10, from the authors' code. Other papers state their differences from it."""


@dataclass(frozen=True)
class Published:
    """The settings of one published search.

    Attributes:
      kind: the spaces that the settings are for: "darts_cnn" (all spaces of DARTS cells), or the name of a space.
      result: the published result, and its source if that is not the paper.
      settings: fields of `Experiment` by dotted name.
      options: options of the method, each as option=value.
    """

    kind: SpaceKind
    result: str
    settings: Mapping[str, Any]
    options: tuple[str, ...] = ()


def on_cells(result: str, changes: Mapping[str, Any] | None = None, options: tuple[str, ...] = ()) -> Published:
    """The settings of DARTS with `changes`, for the spaces of DARTS cells."""
    return Published("darts_cnn", result, {**DARTS, **(changes or {})}, options)


def on_nasbench201(result: str, changes: Mapping[str, Any] | None = None, options: tuple[str, ...] = ()) -> Published:
    """The settings of DARTS with `changes`, on the supernet of NAS-Bench-201: 16 channels, 5 cells a stage."""
    return Published("nasbench201", result, {**DARTS, "space.cells": 5, **(changes or {})}, options)


def fitting(published: Iterable[Published], space: str) -> Published | None:
    """The entry for the space of that name, or None; `jdarts.spaces.kind` gives the name for a user's own space.

    All other spaces are those of DARTS cells. Settings of searches on images are not for spaces of recurrent cells,
    those for cells not for chains of layers.
    """
    own = space in ("nasbench201", "one_shot") or any(
        space in group for group in (spaces.SAMPLED, spaces.LANGUAGE, spaces.CHAINS)
    )
    kind = space if own else "darts_cnn"
    return next((entry for entry in published if entry.kind == kind), None)


def as_text(settings: Mapping[str, Any]) -> str:
    """`search.epochs=50, data.flip=false`, as overrides are written."""
    return ", ".join(f"{name}={_value_text(value)}" for name, value in settings.items())


def _value_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
