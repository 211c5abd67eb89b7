"""One process at a time writes to a run folder; the lock ends with its owner."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jdarts.errors import CannotWrite, UserError
from jdarts.runs import lock
from jdarts.runs.lock import NAME, RunLock, refuse_if_locked

OWNER = """
import sys, time
from pathlib import Path
from jdarts.runs import lock
if sys.argv[2] == "record":
    lock.fcntl = None
held = lock.RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def own(folder: Path, how: str = "kernel") -> subprocess.Popen:
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(folder), how], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("how", ["kernel", "record"])
def test_a_second_process_is_told_who_holds_the_lock_and_gets_it_when_the_owner_was_killed(tmp_path, monkeypatch, how):
    if how == "record":
        monkeypatch.setattr(lock, "fcntl", None)
    owner = own(tmp_path, how)
    try:
        with pytest.raises(UserError) as caught:
            RunLock(tmp_path)
        assert f"{tmp_path} is in use by process {owner.pid} on {socket.gethostname()}, started 20" in str(caught.value)
        if how == "kernel":
            with pytest.raises(UserError, match=f"in use by process {owner.pid}"):
                refuse_if_locked(tmp_path)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    assert json.loads((tmp_path / NAME).read_text())["pid"] == owner.pid, "the record of the dead owner is left"
    refuse_if_locked(tmp_path)
    with RunLock(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    assert os.listdir(tmp_path) == []


def test_of_many_processes_at_once_one_gets_the_lock(tmp_path):
    outcomes, taken = [], []

    def take():
        try:
            taken.append(RunLock(tmp_path))
            outcomes.append("held")
        except UserError:
            outcomes.append("refused")

    threads = [threading.Thread(target=take) for _ in range(8)]  # every descriptor locks for itself, as processes do
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["held"] + ["refused"] * 7
    taken[0].release()


@pytest.mark.parametrize("alive", [True, False])
def test_the_record_of_another_host_decides_by_its_heartbeat(tmp_path, monkeypatch, alive):
    monkeypatch.setattr(lock, "SILENCE", 1.0)
    path = tmp_path / NAME
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "2026-01-01T00:00:00+00:00"}))
    ended = threading.Event()

    def beat():
        while alive and not ended.wait(0.1):
            os.utime(path)

    thread = threading.Thread(target=beat)
    thread.start()
    began, told = time.monotonic(), []
    try:
        if alive:
            with pytest.raises(UserError, match="in use by process 1 on elsewhere"):
                RunLock(tmp_path, told.append)
        else:
            with RunLock(tmp_path, told.append):
                pass
    finally:
        ended.set()
        thread.join()
    assert time.monotonic() - began < 5
    (line,) = told
    assert "was in use by process 1 on elsewhere" in line and "waiting up to 1 s" in line


def test_the_heartbeat_moves(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT", 0.05)
    with RunLock(tmp_path):
        before, until = (tmp_path / NAME).stat().st_mtime_ns, time.monotonic() + 10
        while (tmp_path / NAME).stat().st_mtime_ns == before:
            assert time.monotonic() < until
            time.sleep(0.02)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": "x"}', '{"host": null, "pid": 1e99}'])
def test_a_damaged_record_locks_nobody_out(tmp_path, monkeypatch, content):
    monkeypatch.setattr(lock, "SILENCE", 0.1)
    (tmp_path / NAME).write_text(content)
    RunLock(tmp_path).release()


def test_the_owner_notices_that_the_folder_was_deleted_or_replaced(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    held = RunLock(folder)
    held.check()
    folder.rename(tmp_path / "moved")
    with pytest.raises(CannotWrite, match="was deleted or replaced"):
        held.check()
    folder.mkdir()
    other = RunLock(folder)
    with pytest.raises(CannotWrite, match="was deleted or replaced"):
        held.check()
    held.release()
    other.check()
    other.release()
