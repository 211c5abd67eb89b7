"""The configuration of an experiment, its files, and the ranges of its values.

* `experiment`: the dataclasses. * `files`: reading files and overrides. * `ranges`: the allowed values of a field.
* `section`: the fields that were set explicitly. * `swept`: values that one compiled step sweeps.
* `user_files`: source files of the user.
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
from jdarts.config.language import LanguageSearchConfig, LanguageTrainConfig
from jdarts.config.swept import is_off, unchecked

__all__ = [
    "AdamConfig",
    "DataConfig",
    "DevicesConfig",
    "Experiment",
    "LanguageSearchConfig",
    "LanguageTrainConfig",
    "SGDConfig",
    "SearchConfig",
    "SpaceConfig",
    "TrainConfig",
    "as_dict",
    "is_off",
    "unchecked",
]
