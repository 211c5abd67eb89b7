"""The relay in front of JAX's coordination service: bytes pass, and the end of a link is reported to us, not to JAX."""

import queue
import socket
import struct
import threading

import pytest

from jdarts.devices import relay


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(relay, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(relay, "GRACE_SECONDS", 0.2)


class Echo:
    """A server that answers every message with the message in capitals."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.connections = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            self.connections.append(connection)
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        while data := connection.recv(4096):
            connection.sendall(data.upper())

    def end(self):
        for connection in self.connections:
            connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def linked():
    """A server, a relay to it, a connection through it, and a queue of the watch's reports."""
    server = Echo()
    outgoing = relay.relay_to_first(server.listener.getsockname())
    host, port = outgoing.address.split(":")
    client = socket.create_connection((host, int(port)), timeout=5)
    assert ask(client, b"hello") == b"HELLO"
    return server, outgoing, client, queue.Queue()


def ask(client, text):
    client.sendall(text)
    return client.recv(4096)


def test_an_ended_link_is_told_after_a_while_and_the_client_keeps_waiting(linked):
    server, outgoing, client, told = linked
    outgoing.watch(60, told.put)
    assert ask(client, b"x" * 3000) == b"X" * 3000
    server.end()
    assert told.get(timeout=5) == "closed its connection"
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)


def test_a_client_that_goes_on_sending_to_a_lost_process_keeps_waiting_too():
    """Sending to a lost process raises an error in the relay, which must not end the client's side."""
    told = queue.Queue()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        outgoing = relay.relay_to_first(listener.getsockname())
        host, port = outgoing.address.split(":")
        client = socket.create_connection((host, int(port)), timeout=5)
        server, _ = listener.accept()
    client.sendall(b"!")
    assert server.recv(1) == b"!"  # otherwise the relay may not have noticed the connection yet
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # killed: a reset
    outgoing.watch(60, told.put)
    server.close()
    client.settimeout(0.05)
    for _ in range(20):
        client.sendall(b"heartbeat")
        with pytest.raises(TimeoutError):
            client.recv(1)
    assert told.get(timeout=5) == "closed its connection"


def test_a_silent_link_is_told_and_one_that_speaks_is_not(linked):
    _, outgoing, client, told = linked
    outgoing.watch(0.5, told.put)
    for _ in range(10):
        assert ask(client, b"beat") == b"BEAT"
        with pytest.raises(queue.Empty):
            told.get(timeout=0.1)
    assert told.get(timeout=5).startswith("has been silent for")


def test_links_may_end_once_the_end_is_expected(linked):
    server, outgoing, client, told = linked
    outgoing.watch(60, told.put)
    outgoing.expect_end()
    server.end()
    client.settimeout(5)
    assert client.recv(1) == b""
    with pytest.raises(queue.Empty):
        told.get(timeout=0.5)


def test_a_stranger_who_connects_does_no_harm_and_a_lost_process_is_missed():
    service, told = Echo(), queue.Queue()
    incoming = relay.relay_from_others(0, service.listener.getsockname(), 3)
    port = int(incoming.address.rpartition(":")[2])
    first, second = (socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(2))
    assert ask(first, b"a") == b"A" and ask(second, b"b") == b"B"
    incoming.watch(60, told.put)
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    with pytest.raises(queue.Empty):
        told.get(timeout=0.5)
    second.close()
    assert told.get(timeout=5) == "closed its connection"


def test_nobody_answers():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert isinstance(relay.answers(unused.getsockname(), 0.1), OSError)
    with socket.create_server(("127.0.0.1", 0)) as used:
        assert relay.answers(used.getsockname(), 5) is None
