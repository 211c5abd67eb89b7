"""Two real processes with two emulated devices each: the result of one process, and the loss of a process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SPACE = """
from jdarts.spaces import define_space
space = define_space("small", nodes=1, normal=("noise", "skip_connect", "sep_conv_3x3"))
"""
CONFIG = """
from jdarts.config import *
config = Experiment(
    name="tiny",
    data=DataConfig(source="synthetic:8x8x1:4:160", crop_padding=1),
    space=SpaceConfig(name="small.py", channels=2, cells=1),
    search=SearchConfig(epochs=4, batch_size=8, checkpoint_every_steps=3, hypergradient="first_order",
                        alpha_optimizer=AdamConfig(learning_rate=0.05)),
)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    (folder / "small.py").write_text(SPACE)
    (folder / "tiny.py").write_text(CONFIG)
    return folder


def start(
    place: Path,
    run: str,
    *options: str,
    command: str = "search",
    processes: int = 2,
    devices: int = 2,
    heartbeat: int = 600,
) -> list[subprocess.Popen]:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JDARTS_NO_REEXEC": "1",
        "JDARTS_CACHE": str(place / "cache"),
        "JDARTS_HEARTBEAT_SECONDS": str(heartbeat),  # a busy test machine may stop everything for a while
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}",
    }
    started = []
    for i in range(processes):
        words = [sys.executable, "-m", "jdarts", command, "tiny.py", "--run-dir", run, *options]
        if processes > 1:
            words += ["--coordinator", f"localhost:{port}", "--num-processes", str(processes), "--process-id", str(i)]
        log = open(place / f"{run}.{i}.log", "a")  # noqa: SIM115 - the process keeps it
        started.append(subprocess.Popen(words, cwd=place, env=environment, stdout=log, stderr=log))
        log.close()
    return started


def finish(place: Path, run: str, *options: str, **how) -> list[int]:
    return [process.wait(timeout=600) for process in start(place, run, *options, **how)]


def wait_for_steps(place: Path, run: str, processes: list[subprocess.Popen]) -> None:
    """Return when the first epoch is on disk."""
    metrics = place / run / "search" / "metrics.jsonl"
    while not metrics.exists() or not metrics.stat().st_size:
        assert all(process.poll() is None for process in processes), logs(place, run)
        time.sleep(0.05)


def logs(place: Path, run: str) -> str:
    return "\n".join(path.read_text() for path in sorted(place.glob(f"{run}.*.log")))


def result(place: Path, run: str):
    lines = (place / run / "search" / "genotypes.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    return np.concatenate([np.ravel(a) for record in records for a in record["alphas"].values()])


@pytest.fixture(scope="module")
def together(place):
    assert finish(place, "two") == [0, 0], logs(place, "two")
    return result(place, "two")


@pytest.mark.slow
def test_two_processes_equal_one(place, together):
    assert finish(place, "one", processes=1, devices=1) == [0], logs(place, "one")
    alone = result(place, "one")
    assert np.abs(alone).max() > 0.1, "the alphas must have moved"
    np.testing.assert_allclose(together, alone, atol=2e-3)
    assert len(list((place / "two" / "search" / "checkpoints").glob("[0-9]*"))) == 3
    second = (place / "two.1.log").read_text()
    assert "epoch" not in second, "only the first process reports"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "how", "heartbeat"), [(1, signal.SIGKILL, 30), (0, signal.SIGSTOP, 20)], ids=["killed", "silent"]
)
def test_when_one_process_is_gone_the_other_ends_and_both_go_on_later(place, together, victim, how, heartbeat):
    """The remaining process ends by an error of its collective, or by JAX, which misses connection or heartbeats."""
    run = f"gone{victim}"
    processes = start(place, run, heartbeat=heartbeat)
    wait_for_steps(place, run, processes)
    processes[victim].send_signal(how)
    gone, other = time.monotonic(), 1 - victim
    assert processes[other].wait(timeout=150) in (1, -signal.SIGABRT), logs(place, run)
    assert time.monotonic() - gone < 60
    processes[victim].kill()
    assert processes[victim].wait(timeout=60) == -signal.SIGKILL
    text = (place / f"{run}.{other}.log").read_text()
    own = [line for line in text.splitlines() if line.startswith("jdarts: ")]
    assert len(own) <= 1 and all("--resume" in line for line in own), text
    assert own or "JAX distributed service detected fatal errors" in text, text
    assert "Traceback" not in text, text
    if how == signal.SIGKILL:  # resuming is the same in both cases
        return
    assert finish(place, run, "--resume") == [0, 0], logs(place, run)
    assert "resumed after step" in (place / f"{run}.0.log").read_text()
    np.testing.assert_array_equal(result(place, run), together)


@pytest.mark.slow
def test_a_signal_to_one_stops_both_at_the_same_step_and_one_process_goes_on(place, together):
    processes = start(place, "stopped")
    wait_for_steps(place, "stopped", processes)
    processes[1].send_signal(signal.SIGTERM)
    assert [process.wait(timeout=120) for process in processes] == [143, 143], logs(place, "stopped")
    assert "--resume" in (place / "stopped.1.log").read_text()
    assert finish(place, "stopped", "--resume", processes=1, devices=4) == [0], logs(place, "stopped")
    assert "resumed after step" in (place / "stopped.0.log").read_text()
    np.testing.assert_allclose(result(place, "stopped"), together, atol=2e-3)


@pytest.mark.slow
def test_training_in_two_processes_equals_one(place):
    """Each process decodes its rows of streamed images; eleven test images do not fill the batch of 16."""
    random = np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 5)):
        for label in range(2):
            folder = place / "images" / split / f"class_{label}"
            folder.mkdir(parents=True)
            for i in range(count + label):
                pixels = random.integers(90 * label, 90 * label + 160, (10, 9 + i % 3, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:02}.png")
    options = {
        "genotype": "fairnas: conv_k3_c4_s2 mb_k3_e2_c4 conv_k1_c6 dropout_0.3",
        "data.source": "stream:folder",
        "data.path": "images",
        "data.image-size": 8,
        "data.crop-padding": 0,
        "train.batch-size": 16,
        "train.epochs": 2,
        "train.auxiliary-weight": 0,
        "train.microbatches": 2,
        "train.val-fraction": 0.25,
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    found = {}
    for run, count in (("train-two", 2), ("train-one", 1)):
        how = {"command": "train", "processes": count, "devices": 2 if count > 1 else 1}
        assert finish(place, run, *words, **how) == [0] * count, logs(place, run)
        records = [json.loads(line) for line in (place / run / "metrics.jsonl").read_text().splitlines()]
        result = json.loads((place / run / "result.json").read_text())
        found[run] = [result["test_loss"], *(record[name] for record in records for name in ("train_loss", "val_loss"))]
        assert 11 * result["test_accuracy"] == pytest.approx(round(11 * result["test_accuracy"]), abs=1e-9)
    np.testing.assert_allclose(found["train-two"], found["train-one"], rtol=1e-3)
    assert "test accuracy" in (place / "train-two.0.log").read_text()
    assert "test accuracy" not in (place / "train-two.1.log").read_text()
