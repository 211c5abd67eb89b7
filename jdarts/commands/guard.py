"""Turns any exception of a command into one line for the user and an exit status."""

import errno
import re
import signal
import traceback
import zipfile
import zlib
from pathlib import Path

import jdarts
from jdarts.devices import processes
from jdarts.errors import CannotWrite, Diverged, Interrupted, PeerLost, ReplicasDiffer, UserError

USER, INTERNAL = 2, 1
_SECTIONS = ("data", "space", "search", "train", "devices", "language_search", "language_train")
_LONGEST, _LONGEST_LINE = 300, 2_000
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE)
"""Failures of the machine; every other `OSError` comes from a path that the user gave."""


def explain(error: BaseException) -> tuple[str, int]:
    """The line that reports `error` to the user, and the exit status: 2 for a user's mistake, 1 for other failures.

    Statuses of interruptions are 128 plus the signal's number.
    """
    if isinstance(error, UserError):
        return f"error: {error}{_page(str(error))}", USER
    if isinstance(error, Interrupted):
        return str(error), 128 + error.signal_number
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 128 + signal.SIGINT
    if isinstance(error, (CannotWrite, Diverged, ReplicasDiffer, PeerLost)):
        return f"error: {error}", INTERNAL
    lost = processes.explain(error)
    if lost is not None:
        return f"error: {lost}", INTERNAL
    text = _short(" ".join(str(error).split()))
    if isinstance(error, OSError) and error.strerror:
        where = f"{_short(str(error.filename))}: " if error.filename is not None else ""
        return f"error: {where}{error.strerror}", INTERNAL if error.errno in _MACHINE else USER
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        return f"error: not enough memory ({text or 'no details'}); use a smaller network, batch or image", USER
    if isinstance(error, (zlib.error, zipfile.BadZipFile, EOFError, UnicodeDecodeError)):
        return f"error: an input file is damaged or of another kind ({text}); --debug shows where it is read", USER
    if isinstance(error, UnicodeEncodeError) or (isinstance(error, ValueError) and "null byte" in text):
        return f"error: a path or a text holds characters that no file name can hold ({text})", USER
    if isinstance(error, OverflowError):
        return f"error: a number is too large ({text}); --debug shows where it is used", USER
    if isinstance(error, RecursionError):
        return "error: the input is nested too deeply; --debug shows where it is read", USER
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"internal error: {what}{_where(error)}; --debug shows the traceback; please report it", INTERNAL


def _page(text: str) -> str:
    """The page of help on the setting with which a message begins, unless the message names one."""
    section = re.match(r"(?:--)?(\w+)\.[a-z_.]+ ", text)
    if section is None or section[1] not in _SECTIONS or "--help" in text:
        return ""
    return " (jdarts run CONFIG --help explains it)"


def one_line(text: str) -> str:
    """`text` in one line that is safe for a terminal: control characters escaped, cut if very long."""
    words = " ".join(text.split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
    return shown if len(shown) <= _LONGEST_LINE else f"{shown[:_LONGEST_LINE]}…"


def _where(error: BaseException) -> str:
    """The last line of jdarts in the traceback of the error."""
    root = Path(jdarts.__file__).parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(root):
            return f" (jdarts/{path.relative_to(root).as_posix()}:{frame.lineno})"
    return ""


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
