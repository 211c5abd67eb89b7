"""SIGINT (Ctrl-C) and SIGTERM end a process at once, or make a loop stop after its current step.

The command line calls `end_on_signals` before any slow import. Afterwards a signal ends the process with one line, even
inside a long C++ call such as a compilation. No exception is raised, so no `except` can swallow the signal, and no
half-imported module can report it wrongly. Inside a `StopSignal` block the first signal is only recorded.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_watching = False
_delivered: list[int] = []  # signals that Python's handler has seen, in the main thread
_first: int | None = None  # the first signal that a StopSignal block has recorded
_block: "StopSignal | None" = None
_hint: Callable[[], str] = str  # returns ""


class StopSignal:
    """Records SIGINT and SIGTERM during its `with` block, so that a loop can finish its step and save.

    `received` is the number of the first signal, or None. After a first signal, a SIGINT ends the process at once under
    `end_on_signals`; otherwise it raises `KeyboardInterrupt`. The end of the block restores the earlier handlers.
    Python delivers signals only to the main thread; in another thread nothing is installed and `received` stays None.

    Args:
      work: what is finished first, for the line that the first signal prints.
      then: called once, when the first signal has been recorded, perhaps in another thread.

    Example::

        with StopSignal() as stop:
            while not done and stop.received is None:
                ...
    """

    def __init__(self, work: str = "the step and saving", then: Callable[[], None] = lambda: None):
        self.work, self.then = work, then
        self.received: int | None = None
        self._previous: dict[int, object] = {}
        self._outer: StopSignal | None = None

    def __enter__(self) -> "StopSignal":
        global _block
        if threading.current_thread() is threading.main_thread():
            self._outer, _block = _block, self
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, _note_delivery if _watching else self._handle)
        return self

    def __exit__(self, *exception) -> None:
        global _block
        if not self._previous:
            return
        _block = self._outer
        for number, handler in self._previous.items():
            if not _watching:
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)  # pyright: ignore[reportArgumentType]
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.received is None:
            self.received = number
            self.then()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt


def end_on_signals() -> None:
    """Make SIGINT and SIGTERM end this process at once, with one line on standard error and status 130 or 143.

    A separate thread acts on the signal, because Python's handlers wait until the main thread returns from C++. Use it
    only in processes of jdarts. It does nothing on systems without POSIX signals, or outside the main thread.
    """
    global _watching
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        return
    if not _watching:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the new thread inherits the mask
        threading.Thread(target=_watch, args=(reading,), name="signals", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        os.register_at_fork(before=_block_signals, after_in_parent=_unblock_signals, after_in_child=_leave_to_parent)
        _watching = True
    renew()
    _unblock_signals()  # `before_exec` may have blocked them


def renew() -> None:
    """Install the handlers of `end_on_signals` again, after a library may have replaced them."""
    if _watching:
        for number in SIGNALS:
            signal.signal(number, _note_delivery)


def raise_on_signals() -> None:
    """Restore Python's own handlers: SIGINT raises `KeyboardInterrupt`, SIGTERM ends the process."""
    global _watching
    if _watching:
        _watching = False
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def before_exec() -> bool:
    """Block signals until the program that replaces this one calls `end_on_signals`; True if it may start.

    False after a signal, since the process is about to end.
    """
    if _watching:
        _block_signals()
    return not _delivered


def explain_with(hint: Callable[[], str]) -> None:
    """Set the function whose result is added to the line that is printed when a signal ends the process."""
    global _hint
    _hint = hint


def _block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _unblock_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _leave_to_parent() -> None:
    """Close the pipe in a forked child, which shares it with its parent, before a signal can arrive."""
    raise_on_signals()
    _unblock_signals()


def _note_delivery(number: int, frame: FrameType | None) -> None:
    """The signal handler: it only records the signal; the thread that reads the pipe acts on it."""
    del frame
    _delivered.append(number)


def _watch(reading: int) -> None:
    while True:
        for number in os.read(reading, 64):
            if number in SIGNALS and _watching:
                _receive(signal.Signals(number))


def _receive(number: signal.Signals) -> None:
    global _first
    if _first is not None:
        if number == signal.SIGINT:
            os._exit(128 + number)
    elif (block := _block) is not None:
        _first = block.received = number
        again = "; Ctrl-C once more ends at once, without saving" if number == signal.SIGINT else ""
        with contextlib.suppress(Exception):
            print(f"jdarts: finishing {block.work}{again}", file=sys.stderr, flush=True)
        with contextlib.suppress(Exception):
            block.then()
    else:
        _end(number)


def _end(number: signal.Signals) -> None:
    try:
        hint = _hint()
    except Exception:  # files that the hint reads may be gone
        hint = ""
    with contextlib.suppress(OSError):
        if os.isatty(1):
            os.write(1, b"\x1b[?25h")  # a live display hides the cursor
        os.write(2, f"jdarts: stopped by {number.name}{f'; {hint}' if hint else ''}\n".encode())
    os._exit(128 + number)
