"""Costs of an architecture that are known without training: parameters, multiply–accumulates, latency; limits on them.

The latency is predicted from a table of blocks (`jdarts.latency`), or measured on the device at hand.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from jdarts.errors import UserError, unknown
from jdarts.estimation.estimator import Budget, PerformanceEstimator, Report, ReportingEstimator, Score
from jdarts.genotypes.macro import mobile_of
from jdarts.latency import LatencyTable, measure_network

LIMITED = ("parameters", "macs", "latency")
"""The costs that can be limited."""


@runtime_checkable
class CostedEstimator(PerformanceEstimator, Protocol):
    """An estimator that knows the costs of an architecture, and the names of its values, without an evaluation."""

    @property
    def values(self) -> tuple[str, ...]:
        """The names of the values of a score."""
        ...

    def check(self, architecture: Any, budget: Budget, /) -> None:
        """Raise `UserError` unless this architecture can be scored at this budget; nothing is compiled."""
        ...

    def costs(self, architecture: Any, budget: Budget, /) -> Mapping[str, float]:
        """Costs by name, such as `parameters` and `macs`."""
        ...


class WithLatency:
    """An estimator of images whose scores have the `latency` in milliseconds, too.

    Args:
      estimator: it knows the sizes of its networks (`network_sizes`).
      table: of latencies; None measures every network in evaluation mode, one image a call.
    """

    def __init__(self, estimator: CostedEstimator, table: LatencyTable | None = None):
        if not hasattr(estimator, "network_sizes"):
            raise UserError("a latency needs the networks of images that estimator train or inherited builds; use one")
        self._estimator: Any = estimator
        self._table, self._known = table, {}

    @property
    def values(self) -> tuple[str, ...]:
        """The names of the values of a score."""
        return (*self._estimator.values, "latency")

    def __call__(self, architecture: Any, budget: Budget) -> Score:
        """The score of an architecture, with its latency."""
        latency = self.latency(architecture, budget)
        return _added(self._estimator(architecture, budget), latency)

    def check(self, architecture: Any, budget: Budget) -> None:
        """Raise `UserError` unless this architecture can be scored, and the table has its blocks."""
        self._estimator.check(architecture, budget)
        if self._table is not None:
            self.latency(architecture, budget)

    def costs(self, architecture: Any, budget: Budget) -> Mapping[str, float]:
        """The costs of the estimator, and the latency."""
        return {**self._estimator.costs(architecture, budget), "latency": self.latency(architecture, budget)}

    def latency(self, architecture: Any, budget: Budget) -> float:
        """Milliseconds of the network of an architecture; a measurement is remembered."""
        key = architecture, tuple(sorted(budget.items()))
        if key not in self._known:
            sizes = self._estimator.network_sizes(budget)
            if self._table is None:
                self._known[key] = measure_network(architecture, **sizes)
            else:
                place = {name: sizes[name] for name in ("classes", "image_size")}
                self._known[key] = self._table.predict(_scaled(architecture, sizes["width_multiplier"]), **place)
        return self._known[key]


class ReportingWithLatency(WithLatency):
    """The same for an estimator with intermediate scores."""

    def reporting(self, architecture: Any, budget: Budget, report: Report | None) -> Score:
        """The score of an architecture, with intermediate scores reported."""
        latency = self.latency(architecture, budget)
        passed = None if report is None else lambda epochs, score: report(epochs, _added(score, latency))
        return _added(self._estimator.reporting(architecture, budget, passed), latency)


def with_latency(estimator: PerformanceEstimator, table: LatencyTable | None = None) -> WithLatency:
    """An estimator whose scores have the latency; raises `UserError` for one that builds no networks of images."""
    kind = ReportingWithLatency if isinstance(estimator, ReportingEstimator) else WithLatency
    return kind(estimator, table)  # pyright: ignore[reportArgumentType]  `WithLatency` refuses others


def costs_of(estimator: PerformanceEstimator, architecture: Any, budget: Budget) -> Mapping[str, float]:
    """The costs that an estimator knows of an architecture; those of a table are values of its row."""
    if isinstance(estimator, CostedEstimator):
        return estimator.costs(architecture, budget)
    return {name: value for name, value in estimator(architecture, budget).values.items() if name in LIMITED}


def within(estimator: PerformanceEstimator, limits: Mapping[str, float], budget: Budget) -> Callable[[Any], bool]:
    """The test of an architecture that is true if no cost exceeds its limit. Raises `UserError` for a wrong limit."""
    for name, limit in limits.items():
        if name not in LIMITED:
            raise unknown("limit", name, LIMITED)
        if not limit > 0:
            raise UserError(f"limit {name} is {limit:g}; use a number above 0")

    def fits(architecture: Any) -> bool:
        costs = costs_of(estimator, architecture, budget)
        missing = [name for name in limits if name not in costs]
        if missing:
            raise UserError(f"the estimator does not know the {missing[0]} of an architecture; leave out this limit")
        return all(costs[name] <= limit for name, limit in limits.items())

    return fits


def _added(score: Score, latency: float) -> Score:
    return replace(score, values={**score.values, "latency": latency})


def _scaled(architecture: Any, multiplier: float) -> Any:
    mobile = mobile_of(architecture)
    return architecture if mobile is None else mobile.scaled(multiplier)
