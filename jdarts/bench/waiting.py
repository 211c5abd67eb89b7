"""The share of a real search loop in which no step is computed and the device waits for the host.

A loop calls the compiled step, reads metrics, writes records and saves checkpoints. Work that does not overlap with a
step is lost time. Here the real loop (`jdarts.search.single_loop`) runs in a temporary run folder, with a step that
records the time of its call and a thread that records the time of its results.
"""

import dataclasses
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jdarts.analysis.monitor import monitor_hooks
from jdarts.config import Experiment
from jdarts.config.swept import unchecked
from jdarts.data import SearchData
from jdarts.data.text import TextData
from jdarts.runs.folder import RunFolder
from jdarts.search.search import Search
from jdarts.search.search_run import SearchRun
from jdarts.search.single_loop import Compiled, run_single_loop
from jdarts.spaces.space import Space

_SWITCH = 1e-4  # seconds: Python's default of 5 ms would delay the recording thread


@dataclass(frozen=True)
class Waiting:
    """Use of time in a search loop.

    Attributes:
      steps: number of observed steps.
      step_seconds: median time in which a step is computed.
      between_seconds: median time from the end of a step to the call of the next, inside an epoch.
      epoch_end_seconds: the same across the end of an epoch: records, genotype, checkpoint.
      steps_per_epoch: of the configuration.
      fraction: share of an epoch's wall time in which no step is computed, from these medians.
    """

    steps: int
    step_seconds: float
    between_seconds: float
    epoch_end_seconds: float
    steps_per_epoch: int

    @property
    def fraction(self) -> float:
        """Between 0 and 1."""
        idle = (self.steps_per_epoch - 1) * self.between_seconds + self.epoch_end_seconds
        return idle / (self.steps_per_epoch * self.step_seconds + idle)


def waiting(called: Sequence[float], finished: Sequence[float], *, loop_epoch: int, steps_per_epoch: int) -> Waiting:
    """The summary of the times at which steps were called and finished.

    Args:
      called, finished: seconds on one clock; entry i belongs to step i. A step that is called before the previous one
        has finished starts when that one finishes; then no time is lost between them. The first epoch and its end are
        left out, because functions for records and checkpoints are compiled there, once per search.
      loop_epoch: steps per epoch in the observed loop.
      steps_per_epoch: steps per epoch of the configuration.
    """
    start, end = np.asarray(called[1:]), np.asarray(finished)
    gaps = np.maximum(0.0, start - end[:-1])
    busy = end[1:] - np.maximum(start, end[:-1])
    number = np.arange(1, len(called))
    after_epoch = number % loop_epoch == 0
    settled = number > loop_epoch
    return Waiting(
        steps=len(called),
        step_seconds=float(np.median(busy[settled])),
        between_seconds=float(np.median(gaps[settled & ~after_epoch])),
        epoch_end_seconds=float(np.median(gaps[settled & after_epoch])),
        steps_per_epoch=steps_per_epoch,
    )


class WatchedStep:
    """`step` that records the time of each call; a thread records the time at which its metrics were computed."""

    def __init__(self, step: Callable[..., tuple[Any, Any]]):
        self._step = step
        self._results: queue.SimpleQueue = queue.SimpleQueue()
        self.called: list[float] = []
        self.finished: list[float] = []

    def __call__(self, state: Any, *rest: Any) -> tuple[Any, Any]:
        """One step."""
        self.called.append(time.perf_counter())
        state, metrics = self._step(state, *rest)
        self._results.put(metrics)
        return state, metrics

    def __enter__(self) -> "WatchedStep":
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH)
        self._thread = threading.Thread(target=self._note, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._results.put(None)
        self._thread.join()
        sys.setswitchinterval(self._interval)

    def _note(self) -> None:
        while (metrics := self._results.get()) is not None:
            jax.block_until_ready(metrics)
            self.finished.append(time.perf_counter())


def measure_waiting(
    config: Experiment,
    space: Space,
    data: SearchData | TextData,
    search: Search,
    step: Callable[..., tuple[Any, Any]],
    *,
    epochs: int = 4,
    loop_epoch: int = 3,
) -> Waiting:
    """Run the search loop of `config` for `epochs` short epochs of `loop_epoch` steps, and measure its use of time.

    `search` and its compiled `step` are those of `config`. At the end of an epoch the loop does the work of a real
    search: records, checkpoints, monitors.
    """
    short = dataclasses.replace(search, steps_per_epoch=loop_epoch)
    config = dataclasses.replace(config, search=unchecked(config.search, epochs=epochs))
    with tempfile.TemporaryDirectory(prefix="jdarts-bench-") as temporary, WatchedStep(step) as watched:
        folder = RunFolder.create(f"{temporary}/run", config)
        run = SearchRun(config, space, data, folder, search.method, hooks=monitor_hooks)
        run_single_loop(run, compiled=Compiled(short, jax.jit(search.init), watched))
    return waiting(watched.called, watched.finished, loop_epoch=loop_epoch, steps_per_epoch=search.steps_per_epoch)
