import dataclasses
import json
import os
import struct
import threading

import numpy as np
import pytest

from jdarts.config import Experiment, SearchConfig
from jdarts.config.files import from_json
from jdarts.errors import CannotWrite, UserError
from jdarts.runs.folder import RunFolder, check_folder

CONFIG = Experiment(name="toy", search=SearchConfig(epochs=3))


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "runs" / "toy", CONFIG)


def test_create_stores_the_config_and_leaves_nothing_else(folder):
    assert from_json((folder.path / "config.json").read_text()) == CONFIG
    assert os.listdir(folder.path) == ["config.json"]


def test_create_accepts_an_empty_folder(tmp_path):
    RunFolder.create(tmp_path, CONFIG)
    assert RunFolder.open(tmp_path, CONFIG).path == tmp_path


def test_create_refuses_an_existing_run_and_changes_nothing(folder):
    before = (folder.path / "config.json").read_bytes()
    with pytest.raises(UserError, match=r"toy exists; pass --resume .* or another name"):
        RunFolder.create(folder.path, Experiment(name="other"))
    assert (folder.path / "config.json").read_bytes() == before


def test_create_refuses_a_folder_with_other_things_and_a_file(tmp_path):
    (tmp_path / "thesis.txt").write_text("all my work")
    with pytest.raises(UserError, match="not empty"):
        RunFolder.create(tmp_path, CONFIG)
    with pytest.raises(UserError, match="is a file"):
        RunFolder.create(tmp_path / "thesis.txt", CONFIG)
    with pytest.raises(UserError, match="cannot make the run folder"):
        RunFolder.create(tmp_path / "thesis.txt" / "below", CONFIG)


def test_of_several_creators_at_once_one_wins(tmp_path):
    outcomes = []

    def create():
        try:
            RunFolder.create(tmp_path / "run", CONFIG)
            outcomes.append("made")
        except UserError:
            outcomes.append("refused")

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made"] + ["refused"] * 7
    assert os.listdir(tmp_path / "run") == ["config.json"]


def test_open_accepts_the_same_config_only(folder):
    assert RunFolder.open(folder.path, CONFIG).path == folder.path
    other = dataclasses.replace(CONFIG, seed=4, search=SearchConfig(epochs=5))
    with pytest.raises(UserError) as caught:
        RunFolder.open(folder.path, other)
    assert "search.epochs: 3 (stored) != 5 (given)" in str(caught.value)
    assert "seed: 0 (stored) != 4 (given)" in str(caught.value)
    assert "batch_size" not in str(caught.value)


def test_open_names_fields_that_only_one_side_has(folder):
    stored = json.loads((folder.path / "config.json").read_text())
    del stored["space"]["cells"]
    stored["space"]["depth"] = 9
    (folder.path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(UserError) as caught:
        RunFolder.open(folder.path, CONFIG)
    assert "space.cells: 'absent' (stored) != 8 (given)" in str(caught.value)
    assert "space.depth: 9 (stored) != 'absent' (given)" in str(caught.value)


def test_open_refuses_a_missing_an_empty_and_a_damaged_folder(tmp_path, folder):
    with pytest.raises(UserError, match="does not exist; start without --resume"):
        RunFolder.open(tmp_path / "none", CONFIG)
    with pytest.raises(UserError, match="holds no run"):
        RunFolder.open(tmp_path, CONFIG)
    (folder.path / "config.json").write_text('{"name": "to')
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        RunFolder.open(folder.path, CONFIG)


def test_check_changes_nothing(tmp_path):
    check_folder(tmp_path / "new", CONFIG, resume=False)
    assert os.listdir(tmp_path) == []


def test_records_come_back_with_the_same_bits(folder):
    value = struct.unpack("<d", struct.pack("<Q", 0x3FB999999999999B))[0]
    folder.append("metrics", {"step": 1, "loss": value, "tiny": 5e-324, "zero": -0.0})
    folder.append("metrics", {"step": 2, "loss": np.float32(0.1), "alphas": np.eye(2), "note": "α"})
    first, second = folder.records("metrics")
    assert struct.pack("<d", first["loss"]) == struct.pack("<d", value)
    assert first["tiny"] == 5e-324 and str(first["zero"]) == "-0.0"
    assert second == {"step": 2, "loss": float(np.float32(0.1)), "alphas": [[1, 0], [0, 1]], "note": "α"}
    assert folder.records("nothing") == []


def test_what_json_cannot_say_is_null(folder):
    folder.append("metrics", {"a": float("nan"), "b": np.float32("inf"), "c": [np.nan]})
    assert (folder.path / "metrics.jsonl").read_text() == '{"a": null, "b": null, "c": [null]}\n'


def test_truncate_gives_the_file_of_a_run_that_stopped_there(folder):
    for step in range(1, 4):
        folder.append("metrics", {"step": step, "loss": 1 / step})
    expected = (folder.path / "metrics.jsonl").read_bytes()
    for step in range(4, 7):
        folder.append("metrics", {"step": step, "loss": 1 / step})
    with open(folder.path / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 7, "lo')
    folder.truncate("metrics", after_step=3)
    assert (folder.path / "metrics.jsonl").read_bytes() == expected
    folder.truncate("metrics", after_step=3)
    assert (folder.path / "metrics.jsonl").read_bytes() == expected
    folder.truncate("nothing", after_step=3)
    assert not (folder.path / "nothing.jsonl").exists()


def test_truncate_removes_a_torn_line_and_keeps_records_without_a_step(folder):
    (folder.path / "log.jsonl").write_bytes(b'{"note": 1}\n{"step": 2}\n{"st')
    folder.truncate("log", after_step=9)
    assert (folder.path / "log.jsonl").read_bytes() == b'{"note": 1}\n{"step": 2}\n'


def test_a_torn_last_line_is_ignored_by_records_and_replaced_by_append(folder):
    folder.append("metrics", {"step": 1})
    with open(folder.path / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 2, "loss": 0.')
    assert folder.records("metrics") == [{"step": 1}]
    folder.append("metrics", {"step": 2})
    assert folder.records("metrics") == [{"step": 1}, {"step": 2}]


def test_a_damaged_line_in_the_middle_is_named(folder):
    (folder.path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl:2: not a JSON record"):
        folder.records("metrics")


def test_written_files_are_replaced_whole(folder, monkeypatch):
    path = folder.write_json("result.json", {"accuracy": 0.97, "cells": ("a", "b")})
    assert json.loads(path.read_text()) == {"accuracy": 0.97, "cells": ["a", "b"]}
    folder.write_text("genotype.txt", "old")

    def fail(*arguments):
        raise OSError("disk gone")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(CannotWrite, match=r"cannot write .*genotype.txt: disk gone"):
        folder.write_text("genotype.txt", "new")
    assert (folder.path / "genotype.txt").read_text() == "old"
    assert sorted(os.listdir(folder.path)) == ["config.json", "genotype.txt", "result.json"]


def test_subfolders_have_their_own_records_and_checkpoints(folder):
    search = folder.subfolder("search")
    search.append("metrics", {"step": 1})
    assert folder.subfolder("search").records("metrics") == [{"step": 1}]
    assert folder.records("metrics") == []
    assert search.checkpoints_dir == folder.path / "search" / "checkpoints"
