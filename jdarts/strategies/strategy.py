"""The base of jdarts' own strategies: a sampler of Optuna that proposes all decisions of a trial at once."""

import threading
import zlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from jdarts.errors import UserError
from jdarts.genotypes import excerpt
from jdarts.spaces.decisions import Choices, DecisionSpace
from jdarts.strategies.history import History, StudyHistory
from jdarts.strategies.parameters import Parameters, ParameterSpace


class Strategy(BaseSampler):
    """A search strategy over the decisions of a space, for one objective unless it uses no scores.

    A proposal depends only on the seed, the number of the trial and the history of the study. The object keeps nothing
    that it could not derive from the history, so that a study can be continued by another object, in another process,
    and any number of workers can come and go.

    Args:
      space: the space, or the distributions of any Optuna objective with categorical and integer parameters.
      seed: a whole number of at least 0.
    """

    uses_scores = True
    """False for a strategy that ignores the history, which then serves any number of objectives."""

    def __init__(self, space: DecisionSpace | Mapping[str, BaseDistribution], *, seed: int = 0):
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise UserError(f"seed is {excerpt(seed)}; use a whole number of at least 0")
        self.space: DecisionSpace = ParameterSpace(space) if isinstance(space, Mapping) else space
        self.seed = seed
        self.parameters = Parameters(self.space)
        self._history: StudyHistory | None = None
        self._lock = threading.Lock()  # study.optimize(n_jobs=…) asks from several threads

    @abstractmethod
    def propose(self, history: History, number: int) -> Choices:
        """Valid choices for the trial of this number."""

    def rng(self, number: int) -> np.random.Generator:
        """The random numbers of a trial."""
        return np.random.default_rng((self.seed, number))

    # Optuna's interface

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All decisions."""
        return self.parameters.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One option for every decision; raises `UserError` for a study of several objectives."""
        self.check_objectives(len(study.directions))
        if not self.uses_scores:
            return self.parameters.values(self.propose(History(), trial.number))
        with self._lock:
            if self._history is None or not self._history.belongs_to(study):
                self._history = StudyHistory(study, self.parameters)
            self._history.update()
            return self.parameters.values(self.propose(self._history, trial.number))

    def check_objectives(self, count: int) -> None:
        """Raise `UserError` unless the strategy serves a study of that many objectives."""
        if count > 1 and self.uses_scores:
            raise UserError(
                f"strategy {type(self).__name__} optimises one objective; the study has {count}: "
                "use nsga2, tpe or random, or one product of the objectives"
            )

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value for a parameter that is not a decision of the space."""
        seed = zlib.crc32(f"{self.seed} {trial.number} {param_name}".encode())
        return RandomSampler(seed).sample_independent(study, trial, param_name, param_distribution)


def at_least(name: str, value: Any, least: int) -> int:
    """The value of an option; `UserError` unless it is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{name} is {excerpt(value)}; use a whole number of at least {least}")
    return value


def fraction(name: str, value: Any) -> float:
    """The value of an option; `UserError` unless it is a number of 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UserError(f"{name} is {excerpt(value)}; use a number of 0 to 1")
    return float(value)
