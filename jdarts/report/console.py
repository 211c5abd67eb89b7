"""The progress display of a run: live on a terminal, one plain line an epoch elsewhere."""

import os
import sys
import time
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text


class ConsoleReporter:
    """Reports progress on `stream` (standard output by default).

    On a terminal, a background thread redraws a few lines four times a second. `step` only stores its arguments, so
    the training loop never waits for the display. Elsewhere, each epoch prints one line without control codes.
    """

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream if stream is not None else sys.stdout
        self._is_terminal = self._stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
        self._console = Console(file=self._stream) if self._is_terminal else None
        self._live: Live | None = None
        self._begin("", 1, 1, 0)

    def phase(self, title: str, epochs: int, steps_per_epoch: int, start_step: int = 0) -> None:
        """Start a phase, and end the display of the phase before."""
        self._end()
        self._begin(title, epochs, steps_per_epoch, start_step)
        if self._console is not None:
            live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4)
            live.start()
            self._live = live
        else:
            resumed = f", resumed after step {start_step}" if start_step else ""
            self._print(f"{title}: {epochs} epochs of {steps_per_epoch} steps{resumed}")

    def step(self, step: int, metrics: Mapping[str, float] | None = None) -> None:
        """Store the numbers for the next redraw."""
        if self._first is None:
            # The first step compiles, so it is left out of the estimate of the time left.
            self._first = (step, time.monotonic())
        self._step = step
        if metrics is not None:
            self._metrics = metrics

    def epoch(self, epoch: int, record: Mapping[str, float]) -> None:
        """Store the record for the next redraw, or print it."""
        self._epoch, self._record = epoch, record
        self._step = max(self._step, epoch * self._steps_per_epoch)
        if self._console is None:
            words = [f"{self._title} epoch {epoch}/{self._epochs}", *_words(record), self._clock()]
            self._print("  ".join(words))

    def message(self, text: str) -> None:
        """Print the text, above the live display if there is one."""
        if self._console is not None:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._print(text)

    def warning(self, text: str) -> None:
        """Print the text in yellow above the live display, or to standard error."""
        if self._console is not None:
            self._console.print(f"warning: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        else:
            print(f"warning: {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the display; its last state stays on the screen."""
        self._end()

    def __enter__(self) -> "ConsoleReporter":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _begin(self, title: str, epochs: int, steps_per_epoch: int, start_step: int) -> None:
        self._title, self._epochs, self._steps_per_epoch = title, epochs, steps_per_epoch
        self._step, self._epoch = start_step, start_step // max(steps_per_epoch, 1)
        self._first: tuple[int, float] | None = None
        self._started = time.monotonic()
        self._metrics: Mapping[str, float] = {}
        self._record: Mapping[str, float] = {}

    def _end(self) -> None:
        if self._live is not None:
            self._live.stop()  # draws once more
            self._live = None

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def _clock(self) -> str:
        now = time.monotonic()
        elapsed = _duration(now - self._started)
        total = self._epochs * self._steps_per_epoch
        if self._first is None or self._step <= self._first[0]:
            return f"{elapsed} elapsed" if self._step >= total else f"{elapsed} elapsed, first step compiles"
        pace = (now - self._first[1]) / (self._step - self._first[0])
        return f"{elapsed} elapsed, {_duration(pace * (total - self._step))} left"

    def _render(self) -> Group:
        total = max(self._epochs * self._steps_per_epoch, 1)
        current = min(self._step // max(self._steps_per_epoch, 1) + 1, self._epochs)
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(self._title, style="bold"),
            ProgressBar(total=total, completed=min(self._step, total), width=20),
            f"epoch {current}/{self._epochs}",
            Text(self._clock(), style="dim", no_wrap=True, overflow="ellipsis"),
        )
        lines: list = [head]
        for label, numbers in (("now", self._metrics), (f"epoch {self._epoch}", self._record)):
            words = _words(numbers)
            if words:
                lines.append(Text(f"  {label}: {', '.join(words)}", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)


_RECORDED_ONLY = {  # shown in reports only: a line has no room for them
    "epoch",
    "step",
    "alpha_gradient_norm",
    "alpha_hessian_seconds",
    "margin",
    "normal_edges",
    "normal_parameter_free",
    "relative_entropy",
    "rollbacks",
    "skip_dominance",
}


def _words(numbers: Mapping[str, float]) -> list[str]:
    """`name value` for each number: losses, accuracies, perplexities and entropies first; no counters and texts."""
    shown = {
        name: value
        for name, value in numbers.items()
        if name.removesuffix("_std") not in _RECORDED_ONLY
        and isinstance(value, (int, float))
        and not isinstance(value, bool)
    }
    kinds = ("loss", "accuracy", "perplexity", "entropy")
    first = [name for kind in kinds for name in shown if kind in name]
    order = dict.fromkeys([*first, *shown])
    return [f"{name.replace('_', ' ')} {_number(name, shown[name])}" for name in order]


def _number(name: str, value: float) -> str:
    return f"{100 * value:.2f}%" if "accuracy" in name else f"{value:.4g}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(max(seconds, 0) + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
