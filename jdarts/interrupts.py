"""Ctrl-C and SIGTERM as a request to stop at the next safe point."""

import signal
import threading
from types import FrameType


class StopSignal:
    """Notes SIGINT and SIGTERM while its `with` block runs, so that a loop can finish its step and save.

    `received` is the number of the first signal, or None. A SIGINT after any other signal raises
    `KeyboardInterrupt` at once, for those who cannot wait. The earlier handlers come back at the end. Python
    delivers signals to the main thread only; in another thread nothing is installed and `received` stays
    None.

    Example::

        with StopSignal() as stop:
            while not done and stop.received is None:
                ...
    """

    def __init__(self):
        self.received: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)  # pyright: ignore[reportArgumentType]
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.received is None:
            self.received = number
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
