"""Runs in separate processes: early signals, two processes, full and read-only disks, deletion."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from jdarts.config import Experiment
from jdarts.errors import CannotWrite
from jdarts.runs.checkpoint import Checkpoints
from jdarts.runs.folder import RunFolder
from jdarts.runs.opening import advice

CONFIG = """
from jdarts.config import *
config = Experiment(
    name="tiny",
    data=DataConfig(source="synthetic:8x8x1:4:160", crop_padding=1),
    space=SpaceConfig(name="small.py", channels=2, cells=1),
    search=SearchConfig(epochs=2000, batch_size=8, checkpoint_every_steps=3, hypergradient="first_order"),
)
"""
SPACE = """
from jdarts.spaces import define_space
space = define_space("small", nodes=1, normal=("noise", "skip_connect", "sep_conv_3x3"))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("life")
    (folder / "small.py").write_text(SPACE)
    (folder / "tiny.py").write_text(CONFIG)
    return folder


def start(place: Path, *arguments: str, before: Sequence[str] = ()) -> subprocess.Popen:
    return subprocess.Popen(
        [*before, sys.executable, "-m", "jdarts", "search", "tiny.py", *arguments],
        cwd=place,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "JDARTS_CACHE": str(place / "cache"), "JDARTS_NO_REEXEC": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_of(process: subprocess.Popen, timeout: float = 120) -> list[str]:
    """The standard error of the process until its end, without warnings about the cell."""
    _, err = process.communicate(timeout=timeout)
    return [line for line in err.splitlines() if not line.startswith("warning: epoch")]


def wait_until(process: subprocess.Popen, ready: Callable[[], bool]) -> None:
    until = time.monotonic() + 240
    while not ready():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, "the process did not get so far"
        time.sleep(0.002)


def has_records(run: Path) -> bool:
    metrics = run / "search" / "metrics.jsonl"
    return metrics.exists() and metrics.stat().st_size > 0


def catches_sigterm(process: subprocess.Popen) -> bool:
    """True once the process has installed its handlers: Python itself catches only SIGINT."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_signal_at_any_moment_of_the_start_is_one_line_and_the_name_stays_free(place):
    """Before the handlers are installed Python itself starts, and later runs reuse the name of the earlier ones."""
    for number, delay in enumerate((0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1, 1.5, 2, 2.7, 3.5)):
        kind, status = ((signal.SIGINT, 130), (signal.SIGTERM, 143))[number % 3 == 2]
        process = start(place, "--run-dir", "early")
        wait_until(process, lambda process=process: catches_sigterm(process))
        time.sleep(delay)
        process.send_signal(kind)
        lines = lines_of(process, timeout=20)
        assert process.returncode == status, (delay, lines)
        assert lines and lines[-1].startswith(f"jdarts: stopped by {kind.name}") and len(lines) <= 2, (delay, lines)
        if not list((place / "early").rglob("checkpoints/[0-9]*")):
            assert "kept" not in lines[-1] and "saved after" not in lines[-1]
        else:  # a fast machine: the run was in its loop
            assert "--resume" in lines[-1]
            break


def test_two_processes_then_a_deleted_folder(place):
    """A second --resume names the owner of the lock; a run whose folder is deleted ends and leaves nothing behind."""
    run = place / "shared"
    first = start(place, "--run-dir", "shared")
    wait_until(first, lambda: has_records(run))
    for how in ("--resume", "--overwrite"):
        second = start(place, "--run-dir", "shared", how)
        (line,) = lines_of(second)
        assert second.returncode == 2 and f"in use by process {first.pid} on " in line
    assert first.poll() is None
    run.rename(place / "moved")
    (line,) = lines_of(first)
    assert first.returncode == 2 and "nothing is left to continue" in line  # a record or a checkpoint notices it
    assert not run.exists()
    stored = json.loads((place / "moved" / "environment.json").read_text())
    (place / "moved" / "environment.json").write_text(json.dumps({**stored, "optax": "0.0.1", "jdarts": "0.0.2"}))
    for state in (place / "moved").rglob("checkpoints/*/state/**/*"):
        if state.is_file():
            state.write_bytes(b"")
    saved = sorted(path.name for path in (place / "moved").rglob("checkpoints/*") if path.name.isdigit())
    broken = start(place, "--run-dir", "moved", "--resume")
    other, *skipped, advice = lines_of(broken)
    assert broken.returncode == 2
    assert "optax" in other and "(was 0.0.1)" in other and "jdarts" in other and "jax" not in other
    assert sorted(line.partition(", step ")[2].partition(":")[0] for line in skipped) == saved and saved
    assert "none of the checkpoints" in advice and "--overwrite" in advice


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A separate file system at `folder`; skips if mounting is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(place):
    options = ("--run-dir", "disk/run", "--search.keep_checkpoints", "100000", "--search.epochs", "60")
    with small_disk(place / "disk", "1m"):
        process = start(place, *options)
        (line,) = lines_of(process)
        assert process.returncode == 1 and "No space left on device; the checkpoint of step " in line
        assert "--resume" in line
        step = int(line.partition("checkpoint of step ")[2].split()[0])
        subprocess.run(["mount", "-o", "remount,size=100m", str(place / "disk")], check=True)
        process = start(place, *options, "--resume")
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        assert f"resumed after step {step} of 600" in out
        records = (place / "disk" / "run" / "search" / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(record)["epoch"] for record in records] == list(range(1, 61))


def test_a_disk_that_became_read_only_is_told_by_records_and_checkpoints(tmp_path):
    with small_disk(tmp_path / "disk", "20m"):
        run = RunFolder.create(tmp_path / "disk" / "run", Experiment(name="tiny"))
        with (
            pytest.raises(CannotWrite, match=r"cannot save .*: Read-only file system"),
            Checkpoints(run.checkpoints_dir) as checkpoints,
        ):
            checkpoints.save(1, {"w": np.ones(3)})
            checkpoints.wait()
            subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
            with pytest.raises(CannotWrite, match=r"cannot write .*metrics.jsonl: Read-only file system"):
                run.append("metrics", {"step": 1})
            checkpoints.save(2, {"w": np.ones(3)})
            checkpoints.wait()
        assert "the checkpoint of step 1 in " in advice(run.path)


@pytest.mark.slow
def test_files_over_the_limit_are_one_line(place):
    """A quota of the simplest kind: no file may grow beyond 4 kB, more than the configuration has."""
    (place / "cache").mkdir(exist_ok=True)
    process = start(
        place, "--run-dir", "limited", "--space.channels", "16", before=("bash", "-c", 'ulimit -f 4; exec "$@"', "-")
    )
    *_, line = lines_of(process)
    assert process.returncode == 1 and "cannot " in line and "File too large" in line and "start the run again" in line
