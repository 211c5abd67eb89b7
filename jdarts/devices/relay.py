"""Detects the loss of another process of a run before JAX's own client does.

That client ends its process by `abort()`, with a stack trace, as soon as its connection to the first process breaks or
heartbeats stop, and the Python callback that it offers cannot be called (jaxlib 0.10.2 to 0.11.2: std::bad_cast). Its
connection therefore runs through a relay in the same process, which forwards bytes and is the first to see a connection
end. In the first process the relay accepts the connections of the others; in every other process it connects to the
first.

    client of process 1 ─ relay │ network │ relay ─ service in process 0
"""

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Literal

TICK_SECONDS = 0.5
GRACE_SECONDS = 5.0  # time for the main thread to report more, and for a link to be opened again


class _Link:
    """One connection through the relay: the socket of the other process, the socket of this one."""

    def __init__(self, remote: socket.socket, own: socket.socket):
        self.remote, self.own = remote, own
        self.silent = 0.0  # seconds since the other process was heard; time while this one was stopped hardly counts
        self.ended = False
        for end in (remote, own):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self.ended = True
        for end in (self.remote, self.own):
            with contextlib.suppress(OSError):  # already closed
                end.shutdown(socket.SHUT_RDWR)


class Relay:
    """Forwards connections, in threads that end with the process.

    Args:
      listener: a listening socket.
      target: address to which its connections are forwarded.
      remote: the side of the other processes: "target", or "connecting" if they connect to the listener.
      links: number of connections while no process is missing.
    """

    def __init__(
        self,
        listener: socket.socket,
        target: tuple[str, int],
        *,
        remote: Literal["target", "connecting"],
        links: int,
    ):
        self._listener, self._target, self._remote, self._expected = listener, target, remote, links
        self._links: list[_Link] = []
        self._lock = threading.Lock()
        self._over = False
        _thread(self._accept)

    @property
    def address(self) -> str:
        """HOST:PORT where the relay listens."""
        host, port = self._listener.getsockname()[:2]
        return f"{host}:{port}"

    def watch(self, silence: float, lost: Callable[[str], None]) -> None:
        """Call `lost(what)` in a thread when a connection is missing for some seconds, or was silent for `silence`.

        Call it when all processes have joined: before that, links may be silent for long.
        """
        _thread(self._watch, silence, lost)

    def expect_end(self) -> None:
        """Expect links to end from now on, because the run ends."""
        self._over = True

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            _thread(self._open, connection)

    def _open(self, connection: socket.socket) -> None:
        try:
            onward = socket.create_connection(self._target, timeout=20)
        except OSError:
            connection.close()
            return
        out = self._remote == "target"
        link = _Link(onward, connection) if out else _Link(connection, onward)
        with self._lock:
            self._links.append(link)
        _thread(self._pass_on, link, link.remote, link.own)
        self._pass_on(link, link.own, link.remote)

    def _pass_on(self, link: _Link, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if source is link.remote:
                    link.silent = 0.0
                with contextlib.suppress(OSError):  # the thread that reads the sink sees its end
                    sink.sendall(data)
        if source is link.own or self._over:
            link.close()
        link.ended = True  # JAX's client here, if it still reads, is not told and keeps waiting

    def _watch(self, silence: float, lost: Callable[[str], None]) -> None:
        missing, before = 0.0, time.monotonic()
        with self._lock:
            for link in self._links:
                link.silent = 0.0
        while not self._over:
            time.sleep(TICK_SECONDS)
            now = time.monotonic()
            passed, before = min(now - before, GRACE_SECONDS), now
            reason = "closed its connection"
            with self._lock:
                for link in self._links:
                    link.silent += passed
                    if not link.ended and link.silent > silence:
                        link.ended, missing, reason = True, GRACE_SECONDS, f"has been silent for {silence:.0f} s"
                self._links = [link for link in self._links if not link.ended]
                missing = missing + passed if len(self._links) < self._expected else 0.0
            if missing > GRACE_SECONDS and not self._over:
                lost(reason)
                return


def _thread(target: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=target, args=arguments, daemon=True).start()


def relay_to_first(address: tuple[str, int]) -> Relay:
    """The relay of a process that is not the first, to the first one's `address`."""
    return Relay(socket.create_server(("127.0.0.1", 0)), address, remote="target", links=1)


def relay_from_others(port: int, service: tuple[str, int], processes: int) -> Relay:
    """The relay of the first of several processes, from its public `port` to its service.

    Raises `OSError` if the port cannot be used.
    """
    both = socket.has_dualstack_ipv6()
    listener = socket.create_server(
        ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both, backlog=1024
    )
    return Relay(listener, service, remote="connecting", links=processes - 1)


def free_port() -> int:
    """A port of this machine that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(address: tuple[str, int], seconds: float) -> OSError | None:
    """Wait until `address` accepts connections; the last error if it does not within `seconds`."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(address, timeout=5).close()
            return None
        except OSError as error:
            if time.monotonic() > end:
                return error
        time.sleep(0.2)


def end_process(line: str, status: int) -> None:
    """Write one line and end the process, from any thread and whatever its main thread waits for."""
    shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides the cursor
    os.write(2, f"{shown}{line}\n".encode())
    os._exit(status)
