"""The configuration of an experiment, its files, and the ranges of its values.

* `experiment`: the dataclasses. * `files`: reading files and overrides. * `ranges`: the values that a field takes.
* `section`: which fields were written down. * `swept`: values that are arrays.
* `user_files`: files of a user's own.
"""

from jdarts.config.experiment import (
    AdamConfig,
    DataConfig,
    DevicesConfig,
    Experiment,
    SearchConfig,
    SGDConfig,
    SpaceConfig,
    TrainConfig,
    as_dict,
)
from jdarts.config.swept import is_off, unchecked

__all__ = [
    "AdamConfig",
    "DataConfig",
    "DevicesConfig",
    "Experiment",
    "SGDConfig",
    "SearchConfig",
    "SpaceConfig",
    "TrainConfig",
    "as_dict",
    "is_off",
    "unchecked",
]
