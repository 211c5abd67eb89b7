"""Runs that are killed, interrupted, damaged or diverge: nothing is lost, and resuming is exact to the last bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from jdarts import spaces
from jdarts.config.files import load_config
from jdarts.data import load
from jdarts.runs.checkpoint import Checkpoints
from jdarts.search import make_search

SPACE = """
from jdarts.spaces import define_space
space = define_space("small", nodes=1, normal=("noise", "skip_connect", "sep_conv_3x3"))
"""
CONFIG = """
import jax
from jdarts import hypergrad
from jdarts.config import *

def averaged(train_loss, val_loss, optimizer, *, keep: float = 0.5):
    \"\"\"The mean of the hypergradients so far: a memory that checkpoints must hold.\"\"\"
    exact = hypergrad.unrolled(train_loss, val_loss, optimizer)

    def estimate(*arguments):
        grads, aux = exact(*arguments[:-1])
        mean = jax.tree.map(lambda old, new: keep * old + (1 - keep) * new, arguments[-1], grads)
        return mean, aux._replace(memory=mean)

    return hypergrad.WithMemory(lambda w, alphas: jax.tree.map(lambda a: 0 * a, alphas), estimate)

config = Experiment(
    name="tiny",
    data=DataConfig(source="synthetic:8x8x1:4:160", crop_padding=1),
    space=SpaceConfig(name="small.py", channels=4, cells=1),
    search=SearchConfig(epochs=3, batch_size=8, checkpoint_every_steps=3, hypergradient=averaged),
    train=TrainConfig(epochs=3, batch_size=8, channels=4, cells=1, auxiliary_weight=0, drop_path=0.3, cutout=2,
                      val_fraction=0.25),
)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    (folder / "small.py").write_text(SPACE)
    (folder / "tiny.py").write_text(CONFIG)
    return folder


def command(place: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "jdarts", *arguments]


def environment(place: Path) -> dict[str, str]:
    return {
        **os.environ,
        "JDARTS_CACHE": str(place / "cache"),
        "JAX_PLATFORMS": "cpu",
        "JDARTS_NO_REEXEC": "1",
    }


def finish(place: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(place, *arguments),
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=300,
    )


def stop_when(place: Path, ready, number: int, *arguments: str) -> tuple[int, str]:
    """Start a run, send signal `number` as soon as `ready()`, and return its exit code and stderr."""
    process = subprocess.Popen(
        command(place, *arguments),
        cwd=place,
        env=environment(place),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 240
    while not ready():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the run did not get so far"
        time.sleep(0.002)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def saved_steps(folder: Path) -> list[int]:
    return sorted(int(p.name) for p in folder.glob("checkpoints/*") if p.name.isdigit())


def final_state(place: Path, run: str):
    config = load_config(str(place / "tiny.py"))
    search = make_search(config, spaces.get(str(place / config.space.name)), load(config.data).for_search(config.data))
    like = jax.eval_shape(search.init, jax.random.key(0))
    with Checkpoints(place / run / "search" / "checkpoints") as checkpoints:
        restored = checkpoints.restore_latest(like)
    assert restored is not None
    return restored


def records(path: Path) -> list[dict]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "cpu_seconds", "peak_memory")} for line in lines]


def assert_same_search(place: Path, one: str, other: str):
    a, b = final_state(place, one), final_state(place, other)
    assert a.step == b.step == 30
    for x, y in zip(jax.tree.leaves(a.state), jax.tree.leaves(b.state), strict=True):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
    for name in ("metrics.jsonl", "genotypes.jsonl"):
        assert records(place / one / "search" / name) == records(place / other / "search" / name)
    assert (place / one / "genotype.txt").read_text() == (place / other / "genotype.txt").read_text()


@pytest.fixture(scope="module")
def uninterrupted(place):
    done = finish(place, "search", "tiny.py", "--run-dir", "whole")
    assert done.returncode == 0, done.stderr
    assert [r["epoch"] for r in records(place / "whole/search/genotypes.jsonl")] == [1, 2, 3]
    return "whole"


def test_a_killed_search_resumes_to_the_last_bit(place, uninterrupted):
    folder = place / "killed" / "search"
    code, _ = stop_when(
        place,
        lambda: len(saved_steps(folder)) > 0 and saved_steps(folder)[-1] >= 12,
        signal.SIGKILL,
        *("search", "tiny.py", "--run-dir", "killed"),
    )
    assert code == -signal.SIGKILL
    assert saved_steps(folder)[-1] < 30, "it was too late to be in the middle"
    done = finish(place, "search", "tiny.py", "--run-dir", "killed", "--resume")
    assert done.returncode == 0, done.stderr
    assert "resumed after step" in done.stdout
    assert_same_search(place, uninterrupted, "killed")


def test_an_interrupted_search_saves_and_says_how_to_go_on(place, uninterrupted):
    metrics = place / "stopped" / "search" / "metrics.jsonl"
    code, errors = stop_when(
        place,
        lambda: metrics.exists() and metrics.stat().st_size > 0,
        signal.SIGINT,
        *("search", "tiny.py", "--run-dir", "stopped"),
    )
    assert code == 130, errors
    assert "--resume" in errors and "saved after step" in errors and "Traceback" not in errors
    done = finish(place, "search", "tiny.py", "--run-dir", "stopped", "--resume")
    assert done.returncode == 0, done.stderr
    assert_same_search(place, uninterrupted, "stopped")


def test_a_truncated_checkpoint_falls_back_to_the_one_before(place, uninterrupted):
    folder = place / "damaged" / "search"
    code, errors = stop_when(
        place,
        lambda: len(saved_steps(folder)) >= 2 and saved_steps(folder)[-1] >= 9,
        signal.SIGTERM,
        *("search", "tiny.py", "--run-dir", "damaged"),
    )
    assert code == 143, errors
    assert "--resume" in errors and "saved after step" in errors and "Traceback" not in errors
    newest = folder / "checkpoints" / str(saved_steps(folder)[-1])
    files = [p for p in newest.rglob("*") if p.is_file() and p.stat().st_size > 500]
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = finish(place, "search", "tiny.py", "--run-dir", "damaged", "--resume")
    assert done.returncode == 0, done.stderr
    assert newest.name in done.stdout + done.stderr
    assert_same_search(place, uninterrupted, "damaged")


def test_a_diverging_search_stops_with_the_reason(place, uninterrupted):
    done = finish(
        place,
        *("search", "tiny.py", "--run-dir", "diverged", "--search.weight_optimizer.learning_rate", "1e30"),
        *("--search.weight_optimizer.gradient_clip", "0", "--search.hypergradient", "first_order"),
    )
    assert done.returncode == 1
    assert "diverged at step" in done.stderr and "learning_rate 1e+30" in done.stderr
    assert "checkpoint" in done.stderr and "Traceback" not in done.stderr


def test_a_killed_training_resumes_to_the_last_bit(place, uninterrupted):
    arguments = ("train", "tiny.py", "--genotype", str(place / "whole" / "genotype.txt"))
    assert finish(place, *arguments, "--run-dir", "train-whole").returncode == 0
    folder = place / "train-killed"
    code, _ = stop_when(
        place, lambda: len(saved_steps(folder)) > 0, signal.SIGKILL, *arguments, "--run-dir", "train-killed"
    )
    assert code == -signal.SIGKILL
    done = finish(place, *arguments, "--run-dir", "train-killed", "--resume")
    assert done.returncode == 0, done.stderr
    assert records(folder / "metrics.jsonl") == records(place / "train-whole" / "metrics.jsonl")
    whole = json.loads((place / "train-whole" / "result.json").read_text())
    assert json.loads((folder / "result.json").read_text()) == whole
    assert "val_accuracy" in records(folder / "metrics.jsonl")[0]


def test_resume_with_another_configuration_names_the_fields(place, uninterrupted):
    done = finish(place, "search", "tiny.py", "--run-dir", "whole", "--resume", "--search.epochs", "9")
    assert done.returncode == 2
    assert "search.epochs" in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_an_existing_run_folder_is_not_overwritten(place, uninterrupted):
    before = (place / "whole" / "search" / "metrics.jsonl").read_bytes()
    done = finish(place, "search", "tiny.py", "--run-dir", "whole")
    assert done.returncode == 2
    assert "--resume" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert (place / "whole" / "search" / "metrics.jsonl").read_bytes() == before
