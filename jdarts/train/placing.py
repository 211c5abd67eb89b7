"""The devices of a training."""

from dataclasses import replace
from typing import Literal

from jdarts.config import Experiment
from jdarts.devices.placement import Placement, place


def place_training(config: Experiment, section: Literal["train", "language_train"] = "train") -> Placement:
    """The placement of a training with the settings of `section`, after `UserError`s about devices and the batch.

    The groups of devices for several searches (`devices.seed`) train one network together.
    """
    settings, devices = getattr(config, section), config.devices
    return place(
        replace(devices, seed=1, data=devices.seed * devices.data, members="auto"),
        batch_size=settings.batch_size,
        microbatches=getattr(settings, "microbatches", 1),
        section=section,
    )
