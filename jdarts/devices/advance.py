"""The loop around a compiled step of a placement: its batches, and the comparison of the replicas."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import jax
import numpy as np

from jdarts.devices.placement import Placement, StepFunction, check_replicas, gather_rows, replicate

StepBatches = Callable[[int], Iterator[Any]]
"""`number of a step -> iterator of batches`, starting with that step's."""


class RowStream(Protocol):
    """A stream of this process's rows of every global batch (`jdarts.data.streaming.Stream`)."""

    def batches(self, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """The rows from step `start` on, `[P, B/P/processes, …]`."""
        ...


class Advance:
    """`state -> (state, metrics)`: one compiled step on the next batch.

    Args:
      step: `(state, batch, values) -> (state, metrics)`, compiled.
      batches: the batches.
      values: the third argument of `step`.
      check_every: number of steps between two comparisons of the replicas; 0 for no comparisons.
      metrics: applied to the metrics of every step.
      guard: the context in which `step` is called, which may translate its errors.
    """

    def __init__(
        self,
        step: StepFunction,
        batches: StepBatches,
        values: Any = None,
        *,
        check_every: int = 0,
        metrics: Callable[[Any], Any] = lambda metrics: metrics,
        guard: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
    ):
        self._step, self._batches, self._values = step, batches, {} if values is None else values
        self._check_every, self._metrics, self._guard = check_every, metrics, guard
        self._arrays: Iterator[Any] | None = None
        self._taken = 0

    def __call__(self, state: Any) -> tuple[Any, dict[str, jax.Array]]:
        """Take one step."""
        if self._arrays is None:  # the first state tells the step at which a resumed run continues
            self._arrays = self._batches(int(np.max(jax.device_get(state.step.addressable_shards[0].data))))
        batch = next(self._arrays)
        with self._guard():
            state, metrics = self._step(state, batch, self._values)
        self._taken += 1
        if self._check_every and self._taken % self._check_every == 0:
            check_replicas(state)
        return state, self._metrics(metrics)


def resident(arrays: Any, placement: Placement) -> StepBatches:
    """The same `arrays`, on all devices of the placement, for every step."""
    everywhere = replicate(arrays, placement)
    return lambda step: itertools.repeat(everywhere)


def streamed(
    streams: Mapping[str, RowStream], placement: Placement, *, batch_size: int, microbatches: int = 1
) -> StepBatches:
    """Global batches `[P, B/P, …]` of all `streams`; each process reads its own rows.

    The name of an array is the key of its stream followed by its name in the stream.
    """

    def batches(step: int) -> Iterator[Any]:
        opened = {prefix: stream.batches(step) for prefix, stream in streams.items()}
        while True:
            rows = {prefix + name: array for prefix, stream in opened.items() for name, array in next(stream).items()}
            yield gather_rows(rows, placement, batch_size=batch_size, microbatches=microbatches)

    return batches
