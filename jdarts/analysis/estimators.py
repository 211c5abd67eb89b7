"""Rank correlation between two performance estimators on architectures of a space: one call and one figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jdarts.analysis.ranking import kendall, spearman
from jdarts.errors import UserError
from jdarts.estimation import ACCURACY, Budget, Criterion, PerformanceEstimator
from jdarts.spaces import DecisionSpace
from jdarts.spaces.decisions import Choices, uniform

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ATTEMPTS = 100


@dataclass(frozen=True)
class EstimatorCorrelation:
    """Two estimates of the same architectures.

    Attributes:
      choices: of the architectures.
      first, second: the criterion by either estimator, `[architectures]`.
      criterion: its name.
    """

    choices: tuple[Choices, ...]
    first: np.ndarray
    second: np.ndarray
    criterion: str

    @property
    def kendall(self) -> float:
        """Kendall's τ-b."""
        return kendall(self.first.tolist(), self.second.tolist())

    @property
    def spearman(self) -> float:
        """Spearman's ρ."""
        return spearman(self.first.tolist(), self.second.tolist())

    def figure(self, names: tuple[str, str] = ("first estimator", "second estimator")) -> "Figure":
        """A point for each architecture; both coefficients are in the title."""
        from jdarts.analysis.figures import COLOURS, figure

        fig, (axis,) = figure(1)
        axis.plot(self.first, self.second, "o", ms=4, mew=0, alpha=0.6, color=COLOURS[0])
        axis.set(xlabel=f"{self.criterion}, {names[0]}", ylabel=f"{self.criterion}, {names[1]}")
        axis.set_title(f"Spearman ρ = {self.spearman:.3f}, Kendall τ = {self.kendall:.3f}, n = {len(self.choices)}")
        return fig


def correlate_estimators(
    space: DecisionSpace,
    first: tuple[PerformanceEstimator, Budget],
    second: tuple[PerformanceEstimator, Budget],
    *,
    architectures: int | Sequence[Any] = 100,
    criterion: Criterion = ACCURACY,
    seed: int = 0,
) -> EstimatorCorrelation:
    """The estimates of the same architectures by two estimators, each with its budget.

    table = nasbench201_lookup(load_table("nasbench201.csv.gz"))
    found = correlate_estimators(space, (table, {}), (table, {"epochs": 200}), architectures=500)
    found.spearman, found.figure(("12 epochs", "200 epochs"))

    Args:
      space: the space of both estimators.
      first, second: estimators and their budgets, `{}` for the full one.
      architectures: a number of different random ones, or the architectures themselves.
      criterion: the number to compare.
      seed: of the random architectures.

    Raises `UserError` for fewer than two architectures, and if so many different ones are not found.
    """
    chosen = _random(space, architectures, seed) if isinstance(architectures, int) else list(architectures)
    if len(chosen) < 2:
        raise UserError(f"there are {len(chosen)} architectures; a rank correlation needs at least 2")
    estimates = [
        np.array([criterion(estimator(architecture, budget)) for architecture in chosen])
        for estimator, budget in (first, second)
    ]
    choices = tuple(space.encode(architecture) for architecture in chosen)
    return EstimatorCorrelation(choices, estimates[0], estimates[1], criterion.name)


def _random(space: DecisionSpace, count: int, seed: int) -> list[Any]:
    if count > space.size:
        raise UserError(f"space {space.name} has {space.size} architectures; {count} different ones cannot be compared")
    rng, found = np.random.default_rng(seed), {}
    for _ in range(_ATTEMPTS * max(count, 0)):
        if len(found) == count:
            break
        architecture = space.decode(uniform(space, rng))
        found.setdefault(space.encode(architecture), architecture)
    if len(found) < count:
        raise UserError(f"space {space.name}: only {len(found)} different random architectures of {count} were found")
    return list(found.values())
