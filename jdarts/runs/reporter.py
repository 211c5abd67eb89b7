"""The interface through which a run reports its progress. `jdarts.report.console` shows it to a person."""

from collections.abc import Mapping
from typing import Protocol


class Reporter(Protocol):
    """Receives the progress of a run.

    Steps and epochs count what is finished in the current phase: the first report of a fresh phase is 1.

    Metrics are plain numbers; those with "accuracy" in their name are fractions in [0, 1] and shown as
    percentages.
    """

    def phase(self, title: str, epochs: int, steps_per_epoch: int, start_step: int = 0) -> None:
        """Opens a phase, such as the search; `start_step` steps were already done by an earlier run."""

    def step(self, step: int, metrics: Mapping[str, float] | None = None) -> None:
        """Report that `step` steps are finished; `metrics` are the newest known, if any."""

    def epoch(self, epoch: int, record: Mapping[str, float]) -> None:
        """Report that `epoch` epochs are finished; `record` summarises the last."""

    def message(self, text: str) -> None:
        """A message worth reading."""

    def warning(self, text: str) -> None:
        """A warning that may need action."""

    def close(self) -> None:
        """Ends the display; nothing is reported afterwards."""


class SilentReporter:
    """Shows nothing; keeps messages and warnings as lists, for tests and for use as a library."""

    def __init__(self):
        self.messages: list[str] = []
        self.warnings: list[str] = []

    def phase(self, title: str, epochs: int, steps_per_epoch: int, start_step: int = 0) -> None:
        """Does nothing."""

    def step(self, step: int, metrics: Mapping[str, float] | None = None) -> None:
        """Does nothing."""

    def epoch(self, epoch: int, record: Mapping[str, float]) -> None:
        """Does nothing."""

    def message(self, text: str) -> None:
        """Keeps the text."""
        self.messages.append(text)

    def warning(self, text: str) -> None:
        """Keeps the text."""
        self.warnings.append(text)

    def close(self) -> None:
        """Does nothing."""
