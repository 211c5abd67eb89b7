"""The types of failures: user mistakes, interruptions, divergence."""

import difflib
import signal
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in the user's input: one line with what, which value, and what to do. The CLI exits with 2."""


class DoesNotFit(UserError):
    """A request needs more memory than is available."""


class FolderInUse(UserError):
    """Another process writes to the run folder."""


class DataWarning(UserWarning):
    """Data that can be used, but probably not as the user expects."""


class DataNote(DataWarning):
    """A conversion or a choice that was necessary to read the data."""


class Interrupted(Exception):
    """A run stopped by SIGINT or SIGTERM after saving its state.

    Attributes: `signal_number`, and `hint`, one line that says how to resume.
    """

    def __init__(self, signal_number: int, hint: str):
        super().__init__(f"stopped by {signal.Signals(signal_number).name}; {hint}")
        self.signal_number = signal_number
        self.hint = hint


class Diverged(Exception):
    """The loss became NaN or infinite; the message names step, likely settings and the last good checkpoint."""


class CannotWrite(Exception):
    """A run folder or its disk no longer accepts writes; the message says what failed, why, and how to continue."""


class FolderDeleted(CannotWrite):
    """The run folder, or a part of it, was deleted while the run was writing to it."""


class ReplicasDiffer(Exception):
    """Copies of the state on several devices are not equal; the message names the first array and the devices."""


class PeerLost(Exception):
    """Another process of the run has ended or does not answer; the message says how to continue."""


def unknown(kind: str, name: str, choices: Iterable[str], *, page: str = "") -> UserError:
    """A `UserError` for an unknown name: the nearest valid one if any is close, the choices, and the page of help.

    `page` is the command that explains them.
    """
    names = sorted(choices)
    folded = {other.casefold(): other for other in reversed(names)}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    hint = f"did you mean {folded[near[0]]!r}? " if near else ""
    listed = ", ".join(names) if len(names) <= 24 else f"{', '.join(names[:24])}, … ({len(names)} in all)"
    return UserError(
        f"unknown {kind} {name!r}; {hint}choose from: {listed}{f' ({page} explains them)' if page else ''}"
    )
