"""The interface through which a run reports its progress. `jdarts.report.console` shows it on the terminal."""

from collections.abc import Mapping
from typing import Protocol


class Reporter(Protocol):
    """Receives the progress of a run.

    Steps and epochs are the numbers finished in the current phase; the first report of a new phase is 1. Metrics are
    plain numbers. Metrics with "accuracy" in their name are fractions in [0, 1] and are shown as percentages.
    """

    def phase(self, title: str, epochs: int, steps_per_epoch: int, start_step: int = 0) -> None:
        """Start a phase, such as the search; an earlier run has already finished `start_step` steps."""

    def step(self, step: int, metrics: Mapping[str, float] | None = None) -> None:
        """Report that `step` steps are finished; `metrics` are the newest known metrics, if any."""

    def epoch(self, epoch: int, record: Mapping[str, float]) -> None:
        """Report that `epoch` epochs are finished; `record` summarises the last one."""

    def message(self, text: str) -> None:
        """Report a message for the user."""

    def warning(self, text: str) -> None:
        """Report a warning that may need action."""

    def close(self) -> None:
        """End the display; nothing is reported afterwards."""


class SilentReporter:
    """A reporter that shows nothing and keeps messages and warnings in lists, for tests and for library use."""

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
