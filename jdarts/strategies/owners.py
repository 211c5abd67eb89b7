"""The processes that run trials, as they record themselves; on its own host a process sees that another has ended."""

import functools
import os
import socket
from pathlib import Path
from typing import Any, NamedTuple


class Owner(NamedTuple):
    """A process.

    Attributes:
      host, pid: its host and its number there.
      system: what tells systems of one host name apart: the boot and the namespace of process numbers ("" if unknown).
      started: the start of the process in ticks since the boot (-1 if unknown), since numbers are used again.
    """

    host: str
    pid: int
    system: str
    started: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def ended(self) -> bool:
        """True if the process is known to have ended; False on other hosts, from where nothing is known."""
        here = this_process()
        if (self.host, self.system) != (here.host, here.system) or not self.system:
            return False
        started, state = _of_proc(self.pid)
        return state in ("", "Z", "X") or started != self.started


@functools.cache
def _of(pid: int) -> Owner:
    return Owner(socket.gethostname(), pid, _system(), _of_proc(pid)[0])


def this_process() -> Owner:
    """The owner that the calling process is."""
    return _of(os.getpid())  # a fork is another process


def owner_of(record: Any) -> Owner | None:
    """The owner that a storage has recorded as a list; None without one."""
    if not isinstance(record, list | tuple) or len(record) != len(Owner._fields):
        return None
    owner = Owner(*record)
    return owner if isinstance(owner.pid, int) and isinstance(owner.host, str) else None


def _system() -> str:
    """The boot and the namespace of process numbers; "" on systems without /proc."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _of_proc(pid: int) -> tuple[int, str]:
    """The start in ticks since the boot, and the state; -1 and "" if there is no such process or no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1, ""
    fields = text.rpartition(")")[2].split()  # the name before it may contain anything
    return int(fields[19]), fields[0]
