"""Loggers of a run that is going on."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jdarts.loggers.csv_files import CsvLogger
from jdarts.loggers.following import Follower
from jdarts.loggers.tensorboard import TensorBoardLogger
from jdarts.loggers.weights_and_biases import WandbLogger
from jdarts.runs.reporter import Reporter

LOGGERS = {"tensorboard": TensorBoardLogger, "wandb": WandbLogger, "csv": CsvLogger}


@contextlib.contextmanager
def logged(reporter: Reporter, run_dir: Path, kinds: Sequence[str]) -> Iterator[Reporter]:
    """A reporter that also lets the loggers of these kinds follow the run folder; they end with the `with` block."""
    if not kinds:
        yield reporter
        return
    follower = Follower(run_dir, [LOGGERS[kind]() for kind in dict.fromkeys(kinds)], reporter.warning)
    try:
        yield FollowedReporter(reporter, follower)
    finally:
        follower.close()


class FollowedReporter:
    """A reporter behind which a follower reads the run folder: after every epoch, and after every line on trials."""

    def __init__(self, inner: Reporter, follower: Follower):
        self._inner, self._follower = inner, follower

    def phase(self, title: str, epochs: int, steps_per_epoch: int, start_step: int = 0) -> None:
        """Passed on."""
        self._inner.phase(title, epochs, steps_per_epoch, start_step)

    def step(self, step: int, metrics: Mapping[str, float] | None = None) -> None:
        """Passed on."""
        self._inner.step(step, metrics)

    def epoch(self, epoch: int, record: Mapping[str, float]) -> None:
        """Passed on; the record of the epoch is on disk."""
        self._inner.epoch(epoch, record)
        self._follower.follow()

    def message(self, text: str) -> None:
        """Passed on; a run by trials has recorded trials before."""
        self._inner.message(text)
        if text.startswith("trial "):
            self._follower.follow()

    def warning(self, text: str) -> None:
        """Passed on."""
        self._inner.warning(text)

    def close(self) -> None:
        """Passed on."""
        self._inner.close()
