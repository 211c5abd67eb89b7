"""Timing: interleaved repetitions, medians with quartiles, ratios within each round.

The speed of a machine drifts by tens of per cent within minutes, when clock rates change or other programs run. Two
programs are therefore run in turn, and their ratio is taken within each round. Two blocks of repetitions, one after the
other, would not be comparable.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

SHORT = 0.02  # seconds; shorter steps are timed several at a time, so that the overhead of a call does not count


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some measurements."""

    median: float
    low: float
    high: float
    count: int

    def scaled(self, factor: float) -> "Spread":
        """The spread of the measurements times a positive factor."""
        return Spread(self.median * factor, self.low * factor, self.high * factor, self.count)


def spread(values: Sequence[float]) -> Spread:
    """Median, first and third quartile of at least one value."""
    low, median, high = np.quantile(np.asarray(values, np.float64), (0.25, 0.5, 0.75))
    return Spread(float(median), float(low), float(high), len(values))


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """The spread of `numerators[i] / denominators[i]`, measured in the same round."""
    return spread([a / b for a, b in zip(numerators, denominators, strict=True)])


class Stepper:
    """A program `(state, *rest) -> (state, anything)` that continues from the state of its last call."""

    def __init__(self, program: Callable, state: Any, *rest: Any):
        self._program, self._state, self._rest = program, state, rest

    def __call__(self) -> Any:
        """Take one step; the caller waits for all returned values."""
        self._state, seen = self._program(self._state, *self._rest)
        return self._state, seen


def seconds_of(run: Callable[[], Any], calls: int = 1) -> float:
    """Seconds per call of `run`, from `calls` consecutive calls and one wait for all their results."""
    started = time.perf_counter()
    results = None
    for _ in range(calls):
        results = run()
    jax.block_until_ready(results)
    return (time.perf_counter() - started) / calls


def calls_for(seconds: float) -> int:
    """The number of calls, of `seconds` each, that are timed together."""
    return max(1, math.ceil(SHORT / max(seconds, 1e-6)))


def interleave(
    runs: Mapping[str, Callable[[], Any]],
    repetitions: int,
    *,
    on_round: Callable[[int], None] = lambda done: None,
) -> dict[str, list[float]]:
    """Seconds per call of every run in each of `repetitions` rounds; entry i of all lists belongs to round i.

    A round measures all runs in turn; every other round reverses their order. Before the first round, every run is
    called once to choose the number of calls per measurement.
    """
    calls = {name: calls_for(seconds_of(run)) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for done in range(repetitions):
        for name in list(runs) if done % 2 == 0 else reversed(list(runs)):
            seconds[name].append(seconds_of(runs[name], calls[name]))
        on_round(done + 1)
    return seconds
