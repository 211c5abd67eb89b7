"""A toy search by trials, its table, and processes that run it."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from jdarts import spaces
from jdarts.spaces.decisions import all_canonical

ROOT = str(Path(__file__).parents[2])
CONFIG = """
from jdarts.config import *
config = Experiment(
    name="toy",
    data=DataConfig(source="synthetic:8x8x1:2:64", crop_padding=1, flip=False),
    space=SpaceConfig(name="nasbench201"),
    train=TrainConfig(batch_size=8, channels=4, cells=1, epochs=1, auxiliary_weight=0.0, cutout=0, drop_path=0.0),
)
"""
EVOLUTION = ["--strategy", "regularized_evolution", "--strategy-options", "population=5,sample=3"]


def write_table(path):
    """A table in which an architecture is better the more 3 × 3 convolutions it has."""
    with open(path, "w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["arch", "c10_valid_12", "c10_test_200", "params_c10"])
        for choices in all_canonical(spaces.nasbench201):
            arch = spaces.nasbench201.decode(choices).to_nasbench201()
            score = arch.count("nor_conv_3x3")
            lines.writerow([arch, 10 * score, 15 * score, 100 + sum(choices)])
    return str(path)


def start(*arguments):
    """A `jdarts` process that gives up silent trials after half a minute.

    A worker that a test has killed is found at once, since its process has ended. One that a test has only stopped must
    not count as lost, however slow the machine is.
    """
    code = (
        "import sys, jdarts.strategies.storage as storage; storage.HEARTBEAT, storage.SILENCE = 1, 30; "
        "from jdarts import cli; from jdarts.runs import interrupts; interrupts.end_on_signals(); "
        f"sys.exit(cli.main({list(arguments)!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": ROOT, "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def open_journal(path="runs/toy/journal.log", name="toy"):
    """The study of a journal file, as Optuna itself opens it."""
    return optuna.load_study(study_name=name, storage=JournalStorage(JournalFileBackend(str(path))))


def wait_until(condition, seconds=120):
    """The first true result of `condition`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def in_state(study, state):
    """The trials in a state."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == state]


def children(process):
    """The numbers of its child processes."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def retries(trial):
    """The number of the lost trial that this one repeats; None for others."""
    return trial.system_attrs.get("failed_trial")
