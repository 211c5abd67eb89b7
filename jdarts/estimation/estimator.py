"""The interface of performance estimation: an architecture and a budget in, scores and their cost out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from jdarts.errors import UserError, unknown

Budget = Mapping[str, float]
"""The cost that an estimate may have, by name, such as `{"epochs": 12}`; empty for all that the estimator has."""


@dataclass(frozen=True)
class Score:
    """The estimate of one architecture.

    Attributes:
      values: numbers by name, such as `accuracy` in percent, `parameters`, `macs` and `latency`.
      cost: seconds of computation; those of the original training for a table with times, None if they are unknown.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    cost: float | None = None

    def __getitem__(self, name: str) -> float:
        if name not in self.values:
            raise unknown("value of an estimate", name, self.values)
        return self.values[name]


class PerformanceEstimator(Protocol):
    """Scores architectures of a space."""

    def __call__(self, architecture: Any, budget: Budget, /) -> Score:
        """The score of an architecture; raises `UserError` for one that cannot be scored."""
        ...


Report = Callable[[int, Score], None]
"""Receives the number of finished epochs and the score so far. It ends the estimate by an exception."""


@runtime_checkable
class ReportingEstimator(PerformanceEstimator, Protocol):
    """An estimator that computes for a long time and can be stopped early, as pruners do."""

    def reporting(self, architecture: Any, budget: Budget, report: Report | None, /) -> Score:
        """The score of an architecture, with intermediate scores reported."""
        ...


@dataclass(frozen=True)
class Criterion:
    """A number to optimise.

    Attributes:
      name: of a value of the estimates, or a name of your own with `value`.
      maximize: True if a larger number is better.
      value: computes the number from a score; by default the value of that name.
    """

    name: str
    maximize: bool = True
    value: Callable[[Score], float] | None = None

    def __call__(self, score: Score) -> float:
        """The number of a score."""
        return float(score[self.name] if self.value is None else self.value(score))


ACCURACY = Criterion("accuracy")
SMALLER = ("parameters", "macs", "latency", "seconds", "perplexity")
"""Values of which less is better."""


def criterion(name: str) -> Criterion:
    """The objective of a value: those that start with a name of `SMALLER` are minimised, all others maximised."""
    if not name:
        raise UserError("an objective has no name; use one of the estimator's values, such as accuracy")
    return Criterion(name, maximize=not name.startswith(SMALLER))
