"""Loggers follow the record of a run: nothing missing and nothing twice, also after a kill and a resume."""

import csv
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.followed import check_tables

from jdarts.cli import main
from jdarts.config import Experiment
from jdarts.loggers.entries import alphas, cell_picture, heat_map, scalars
from jdarts.loggers.reporting import logged
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter

GENOTYPE = "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|skip_connect~2|"


def write_epoch(run: RunFolder, epoch: int, loss: float) -> None:
    run.append(
        "genotypes", {"step": 4 * epoch, "epoch": epoch, "genotype": GENOTYPE, "alphas": {"cell": [[loss, 1.0]]}}
    )
    run.append("metrics", {"step": 4 * epoch, "epoch": epoch, "val_loss": loss, "nothing": None})


def rows(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))


def events(run: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars of the event files, by TensorBoard's own reader."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    reader = accumulator.EventAccumulator(str(run / "tensorboard"), {accumulator.SCALARS: 0, accumulator.IMAGES: 0})
    reader.Reload()
    tags = reader.Tags()
    found = {tag: [(e.step, e.value) for e in reader.Scalars(tag)] for tag in tags["scalars"]}
    return found | {tag: [(e.step, float(e.width)) for e in reader.Images(tag)] for tag in tags["images"]}


def test_a_record_in_parts():
    record = {
        "epoch": 3,
        "step": 9,
        "loss": 0.5,
        "worse": None,
        "ok": True,
        "score": {"macs": 4},
        "alphas": {"a": [[1, 2]]},
    }
    assert scalars(record) == {"loss": 0.5, "ok": 1.0, "score/macs": 4.0}
    np.testing.assert_array_equal(alphas(record)["a"], [[1.0, 2.0]])
    picture = heat_map(np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert picture.dtype == np.uint8 and picture.shape[2] == 3 and len(np.unique(picture)) > 10
    drawn = cell_picture(GENOTYPE)
    assert drawn is not None and drawn.shape[2] == 3 and drawn.std() > 5


def test_records_that_are_taken_back_are_replaced(tmp_path):
    run = RunFolder.create(tmp_path / "run", Experiment())
    with logged(SilentReporter(), run.path, ["csv", "tensorboard", "csv"]) as reporter:
        for epoch, loss in ((1, 0.5), (2, 0.25), (3, 9.0)):
            write_epoch(run, epoch, loss)
            reporter.epoch(epoch, {})
        for name in ("metrics", "genotypes"):
            run.truncate(name, after_step=8)
        for epoch, loss in ((3, 0.125), (4, 0.0625)):
            write_epoch(run, epoch, loss)
            reporter.epoch(epoch, {})
        inner = run.subfolder("train-found")
        inner.append("metrics", {"step": 1, "epoch": 1, "loss": 2.0})
    expected = [(1, 0.5), (2, 0.25), (3, 0.125), (4, 0.0625)]
    assert [(int(row["epoch"]), float(row["val_loss"])) for row in rows(run.path / "csv/metrics.csv")] == expected
    assert [float(row["op 0"]) for row in rows(run.path / "csv/alphas-cell.csv")] == [loss for _, loss in expected]
    assert rows(run.path / "csv/train-found-metrics.csv") == [{"epoch": "1", "loss": "2.0"}]
    settings = {row["name"]: row["value"] for row in rows(run.path / "csv/settings.csv")}
    assert settings["search.batch_size"] == str(Experiment().search.batch_size)
    found = events(run.path)
    assert found["val_loss"] == expected and found["train-found/loss"] == [(1, 2.0)]
    assert [step for step, _ in found["alphas/cell"]] == [1, 2, 3, 4]
    assert [step for step, _ in found["cells"]] == [1], "the genotype has not changed"


def test_a_logger_that_fails_does_not_end_the_run(tmp_path):
    run, reporter = RunFolder.create(tmp_path / "run", Experiment()), SilentReporter()
    (run.path / "csv").write_text("a file in the place of the folder")
    with logged(reporter, run.path, ["csv", "tensorboard"]) as followed:
        write_epoch(run, 1, 0.5)
        followed.epoch(1, {})
        write_epoch(run, 2, 0.25)
        followed.epoch(2, {})
    assert len(reporter.warnings) == 1 and "CsvLogger failed" in reporter.warnings[0]
    assert events(run.path)["val_loss"] == [(1, 0.5), (2, 0.25)]


def wandb_records(file: Path) -> Iterator[bytes]:
    """The records of a file of W&B: LevelDB's log format behind a header of 7 bytes."""
    content, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if place % 32_768 > 32_768 - 7:  # the rest of a block is padding
            place += 32_768 - place % 32_768
        length, kind = struct.unpack_from("<HB", content, place + 4)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def test_wandb_writes_an_offline_run(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="pip install wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.delenv("WANDB_MODE", raising=False)
    run = RunFolder.create(tmp_path / "run", Experiment())
    for last in (2, 3):
        with logged(SilentReporter(), run.path, ["wandb"]) as reporter:
            write_epoch(run, last, 1 / last)
            reporter.epoch(last, {})
    (folder,) = (run.path / "wandb").glob("offline-run-*")
    found = []
    for data in wandb_records(next(folder.glob("*.wandb"))):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        items = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        found += [(items["epoch"], items["val_loss"])] if "val_loss" in items else []
    assert found == [(2, 1 / 2), (3, 1 / 3)]


CONFIG = """
from jdarts.config import *
config = Experiment(
    name="tiny",
    data=DataConfig(source="synthetic:8x8x1:4:160", crop_padding=1),
    space=SpaceConfig(name="nasbench201", channels=2, cells=1),
    search=SearchConfig(epochs=6, batch_size=8, hypergradient="first_order"),
)
"""


def test_a_search_that_is_killed_and_resumed_is_logged_without_gaps_and_doubles(tmp_path):
    (tmp_path / "tiny.py").write_text(CONFIG)
    command = [sys.executable, "-m", "jdarts", "search", "tiny.py", "--log", "csv", "--log", "tensorboard"]
    environment = {**os.environ, "JDARTS_NO_REEXEC": "1", "JAX_PLATFORMS": "cpu"}
    run, until = tmp_path / "runs/tiny", time.monotonic() + 240
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    table = run / "csv/search-metrics.csv"
    while (not table.exists() or len(rows(table)) < 2) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(rows(table))
    ended = subprocess.run([*command, "--resume"], cwd=tmp_path, env=environment, capture_output=True, timeout=240)
    assert ended.returncode == 0, ended.stderr.decode()
    records = [json.loads(line) for line in (run / "search/metrics.jsonl").read_text().splitlines()]
    expected = [(record["epoch"], record["val_loss"]) for record in records]
    assert before >= 2 and [epoch for epoch, _ in expected] == [1, 2, 3, 4, 5, 6]
    assert [(int(row["epoch"]), float(row["val_loss"])) for row in rows(table)] == expected
    found = events(run)["search/val_loss"]
    assert [step for step, _ in found] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose([value for _, value in found], [value for _, value in expected], rtol=1e-6)


SPACE = """
from jdarts.spaces import define_space
space = define_space("small", nodes=1, normal=("skip_connect", "avg_pool_3x3"))
"""


def test_every_seed_has_its_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(CONFIG)
    (tmp_path / "small.py").write_text(SPACE)
    few = ["--space.name", "small.py", "--search.epochs", "2"]
    assert main(["search", "tiny.py", *few, "--seeds", "0,3", "--log", "csv"]) == 0
    check_tables(tmp_path / "runs/tiny", series=5)


@pytest.mark.parametrize(("kind", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_package_is_named_before_anything_starts(kind, package, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "tiny.py").write_text(CONFIG)
    assert main(["search", "tiny.py", "--log", kind]) == 2
    error = capsys.readouterr().err
    assert f'pip install "jdarts[{kind}]"' in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()
