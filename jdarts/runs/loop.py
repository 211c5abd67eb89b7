"""The outer loop of searches and trainings: epochs, records, checkpoints, interruption, divergence."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jdarts import kernels
from jdarts.devices import memory, processes
from jdarts.errors import Diverged, Interrupted
from jdarts.runs.checkpoint import Checkpoints
from jdarts.runs.folder import RunFolder
from jdarts.runs.interrupts import StopSignal
from jdarts.runs.reporter import Reporter

_AGREE_EVERY = 4  # steps


@dataclass(frozen=True)
class LoopSettings:
    """Length of a run and interval of its checkpoints, in epochs and steps."""

    epochs: int
    steps_per_epoch: int
    checkpoint_every: int = 1
    checkpoint_every_steps: int = 0
    keep_checkpoints: int = 3

    @property
    def steps(self) -> int:
        """Number of steps of the whole run."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class Loop:
    """A loop of steps.

    Attributes:
      title: the name of the loop in messages.
      step: `state -> (state, metrics)`; metrics contain the boolean `finite` and the numbers to show.
      settings: the number of steps and the interval of the checkpoints.
      on_epoch_end: `(state, finished epochs) -> record`; the record is written to `metrics.jsonl` and shown.
      suspects: settings that the message about a divergence names.
      after_epoch: `(state, record) -> state`, called after the record of an epoch is written; the next epoch, and the
        checkpoint of this one, have the state that it returns.
      stop_after: `finished epochs -> bool`, called after the record of an epoch is written; True ends the run.
      also: further folders to which `on_epoch_end` writes records.
      images: images that the steps of an epoch draw from the data, repetitions counted; 0 where there are none.
    """

    title: str
    step: Callable[[Any], tuple[Any, Mapping[str, jax.Array]]]
    settings: LoopSettings
    on_epoch_end: Callable[[Any, int], dict[str, Any]]
    suspects: str
    after_epoch: Callable[[Any, Mapping[str, Any]], Any] = lambda state, record: state
    stop_after: Callable[[int], bool] = lambda epoch: False
    also: Sequence[RunFolder] = ()
    images: int = 0


def run_loop(loop: Loop, state: Any, folder: RunFolder, *, reporter: Reporter, resume: bool) -> Any:
    """Take all steps of `loop` from `state`, a pytree with `state.step`, and return the last state.

    Records and checkpoints are written to `folder`. With `resume`, the newest readable checkpoint replaces `state`.

    Raises:
      Interrupted: after SIGINT or SIGTERM; the state is saved. Before the end of the first step there is nothing to
        save, and a signal acts as outside the loop.
      Diverged: at the first step with a non-finite loss or weight; the last good checkpoint is kept.
      CannotWrite: the disk is full or read-only, or the run folder is gone.
    """
    stop: StopSignal | None = None
    settings = loop.settings
    with (
        contextlib.ExitStack() as signals,
        Checkpoints(folder.checkpoints_dir, settings.keep_checkpoints, warn=reporter.warning) as checkpoints,
    ):
        state, done = _restored(loop, state, checkpoints, reporter) if resume else (state, _steps_done(state))
        _drop_records([folder, *loop.also], after_step=done)
        reporter.phase(loop.title, settings.epochs, settings.steps_per_epoch, done)
        late = _LateMetrics(loop, checkpoints)
        epoch, inside = divmod(done, settings.steps_per_epoch)
        if inside == 0 and epoch and loop.stop_after(epoch):
            return state
        clock = _Clock()
        while done < settings.steps:
            state, metrics = loop.step(state)
            stop = stop or signals.enter_context(StopSignal())
            done += 1
            reporter.step(done, late.push(done, metrics))
            epoch, inside = divmod(done, settings.steps_per_epoch)
            if inside == 0:
                late.drain()
                record = {"step": done, "epoch": epoch, **loop.on_epoch_end(state, epoch)}
                folder.append("metrics", {**record, **clock.lap(), **_used(loop, state)})
                reporter.epoch(epoch, record)
                state = loop.after_epoch(state, record)
            ending = inside == 0 and loop.stop_after(epoch)
            stopping = not ending and _stop_now(stop, done) is not None
            if ending or stopping or _due(settings, done, epoch, inside):
                late.drain()
                folder.check_present()
                checkpoints.save(done, state)
            if ending or stopping:
                break
    received = processes.agree_to_stop(stop.received) if stop is not None else None
    if received is not None:
        raise Interrupted(received, _saved(done, settings, folder))
    return state


def _restored(loop: Loop, state: Any, checkpoints: Checkpoints, reporter: Reporter) -> tuple[Any, int]:
    """The state of the newest readable checkpoint, or `state`, and its number of finished steps."""
    restored = checkpoints.restore_latest(_layout(state))
    if restored is None:
        return state, _steps_done(state)
    reporter.message(f"{loop.title}: resumed after step {restored.step} of {loop.settings.steps}")
    return restored.state, restored.step


def _drop_records(folders: Sequence[RunFolder], after_step: int) -> None:
    """Remove the records of later steps, which will be written again."""
    for folder in folders:
        for name in ("metrics", "genotypes"):
            folder.truncate(name, after_step=after_step)


def _saved(done: int, settings: LoopSettings, folder: RunFolder) -> str:
    """The message about an interrupted run."""
    return f"saved after step {done} of {settings.steps} in {folder.path}; give the same command with --resume to go on"


def _used(loop: Loop, state: Any) -> dict[str, int]:
    """The number of devices, the images of the epoch, and the peak of memory in bytes so far, as far as known."""
    devices = max(len(leaf.sharding.device_set) for leaf in jax.tree.leaves(state))
    found = {"devices": devices, "images": loop.images, "peak_memory": memory.peak()}
    return {name: value for name, value in found.items() if value}


class _Clock:
    """Wall and processor time of each epoch."""

    def __init__(self):
        self._started = time.monotonic(), time.process_time()

    def lap(self) -> dict[str, float]:
        """Seconds since the last call."""
        before, self._started = self._started, (time.monotonic(), time.process_time())
        wall, processor = (now - then for now, then in zip(self._started, before, strict=True))
        return {"seconds": round(wall, 3), "cpu_seconds": round(processor, 3)}


def _layout(state: Any) -> Any:
    """The shapes of a state, with shardings if it is on several devices."""
    if all(len(leaf.sharding.device_set) == 1 for leaf in jax.tree.leaves(state)):
        return jax.eval_shape(lambda: state)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state)


def _steps_done(state: Any) -> int:
    """The number of finished steps of a state, which is the same for all members."""
    return int(np.max(np.asarray(state.step.addressable_shards[0].data)))


def _stop_now(stop: StopSignal, done: int) -> int | None:
    """The signal that stops the loop, or None. Several processes agree on it every few steps and save the same step."""
    if processes.count() == 1:
        return stop.received
    return processes.agree_to_stop(stop.received) if done % _AGREE_EVERY == 0 else None


def _due(settings: LoopSettings, done: int, epoch: int, inside: int) -> bool:
    if inside == 0 and (epoch % settings.checkpoint_every == 0 or done == settings.steps):
        return True
    return settings.checkpoint_every_steps > 0 and inside % settings.checkpoint_every_steps == 0


class _LateMetrics:
    """Reads metrics a few steps late, so that the device does not wait for the host; raises an error on divergence."""

    def __init__(self, loop: Loop, checkpoints: Checkpoints):
        self._loop, self._checkpoints = loop, checkpoints
        self._pending: deque[tuple[int, Mapping[str, jax.Array]]] = deque()
        self._lag = kernels.machine().steps_in_flight

    def push(self, step: int, metrics: Mapping[str, jax.Array]) -> dict[str, float] | None:
        """Store the metrics of `step`; return the newest metrics that are old enough to be read."""
        self._pending.append((step, metrics))
        known = None
        while len(self._pending) > self._lag:
            known = self._read()
        return known

    def drain(self) -> None:
        """Read all remaining metrics."""
        while self._pending:
            self._read()

    def _read(self) -> dict[str, float]:
        step, metrics = self._pending.popleft()
        values = {name: float(value) for name, value in metrics.items()}
        finite = values.pop("finite") > 0 and all(map(math.isfinite, values.values()))
        if not finite:
            self._checkpoints.wait()
            kept = self._checkpoints.steps()
            numbers = ", ".join(f"{name} {value:g}" for name, value in values.items())
            good = f"the checkpoint of step {kept[-1]} is kept" if kept else "there is no checkpoint yet"
            suspects = f"likely at fault: {self._loop.suspects}"
            raise Diverged(f"{self._loop.title} diverged at step {step} ({numbers}); {suspects}; {good}")
        return values
