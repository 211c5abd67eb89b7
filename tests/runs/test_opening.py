"""Opening of run folders, new ones and those that exist already."""

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jdarts.config import Experiment
from jdarts.errors import CannotWrite, FolderDeleted, UserError
from jdarts.runs import opening
from jdarts.runs.checkpoint import Checkpoints
from jdarts.runs.lock import RunLock

CONFIG, OTHER = Experiment(name="toy"), Experiment(name="toy", seed=1)


def seed_of(path: Path) -> int:
    return json.loads((path / "config.json").read_text())["seed"]


@pytest.fixture
def earlier(tmp_path) -> Path:
    """The folder of an earlier run with one record."""
    with opening.hold(tmp_path / "run", CONFIG, resume=False) as run:
        run.subfolder("search").append("metrics", {"step": 1})
    return tmp_path / "run"


def test_a_run_with_results_is_refused_without_resume_and_gone_on_with_under_it(earlier):
    for act in (opening.check, lambda *a, **k: opening.hold(*a, **k).__enter__()):
        with pytest.raises(UserError, match=r"run exists; pass --resume .* --overwrite"):
            act(earlier, CONFIG, resume=False)
        with pytest.raises(UserError, match=r"seed: 0 \(stored\) != 1 \(given\)"):
            act(earlier, OTHER, resume=True)
        with pytest.raises(UserError, match="give one of them"):
            act(earlier, CONFIG, resume=True, overwrite=True)
    with opening.hold(earlier, CONFIG, resume=True) as run:
        assert run.subfolder("search").records("metrics") == [{"step": 1}]
    assert not (earlier / ".lock").exists()


def test_overwrite_keeps_the_earlier_run_under_another_name(earlier):
    for number in (1, 2):
        told = []
        opening.check(earlier, OTHER, resume=False, overwrite=True)
        with opening.hold(earlier, OTHER, resume=False, overwrite=True, tell=told.append) as run:
            assert seed_of(earlier) == 1 and run.records("metrics") == []
            run.append("metrics", {"step": 5})
        aside = earlier.with_name(f"run.old-{number}")
        assert told == [f"{earlier} was moved to {aside}"]
        assert seed_of(aside) == number - 1 and not (aside / ".lock").exists()
    assert (earlier.with_name("run.old-1") / "search" / "metrics.jsonl").read_text() == '{"step": 1}\n'


def test_overwrite_touches_nothing_but_run_folders(tmp_path):
    (tmp_path / "thesis.txt").write_text("all my work")
    for path, expected in ((tmp_path, "holds no run"), (tmp_path / "thesis.txt", "is a file")):
        with pytest.raises(UserError, match=expected):
            opening.check(path, CONFIG, resume=False, overwrite=True)
        with pytest.raises(UserError, match=expected), opening.hold(path, CONFIG, resume=False, overwrite=True):
            pass
    assert [path.name for path in tmp_path.parent.rglob("thesis.txt")] == ["thesis.txt"]
    assert list(tmp_path.iterdir()) == [tmp_path / "thesis.txt"]


def test_overwrite_does_not_move_the_working_directory(earlier, monkeypatch):
    monkeypatch.chdir(earlier / "search")
    for path in (earlier, Path("..")):
        with pytest.raises(UserError, match="the folder that you are in"):
            opening.check(path, CONFIG, resume=False, overwrite=True)


def test_a_failed_start_does_not_block_its_name(tmp_path):
    path = tmp_path / "run"
    with opening.hold(path, CONFIG, resume=False) as run:
        run.write_json("environment.json", {})
        run.write_json("own_ops.json", {})
        run.write_json("sources.json", {})
        run.subfolder("source").write_text("mine.py", "method = 1")
        search = run.subfolder("search")
        unfinished = search.checkpoints_dir / "3.orbax-checkpoint-tmp" / "state"
        unfinished.mkdir(parents=True)
        (unfinished / "data").write_text("half")
        (search.path / "metrics.jsonl").touch()
    opening.check(path, OTHER, resume=False)
    with opening.hold(path, OTHER, resume=False):
        assert seed_of(path) == 1 and sorted(p.name for p in path.iterdir()) == [".lock", "config.json", "search"]
    assert not path.with_name("run.old-1").exists()


@pytest.mark.parametrize(
    "progress", ["search/checkpoints/3/state/data", "search/metrics.jsonl", "genotype.txt", "source/x.py"]
)
def test_anything_else_in_the_folder_is_more_than_a_failed_start(tmp_path, progress):
    path = tmp_path / "run"
    with opening.hold(path, CONFIG, resume=False):
        (path / progress).parent.mkdir(parents=True, exist_ok=True)
        (path / progress).write_text("x")
    with pytest.raises(UserError, match="exists; pass --resume"):
        opening.check(path, OTHER, resume=False)
    assert seed_of(path) == 0


def test_a_locked_folder_is_refused_at_once_whatever_is_asked(earlier):
    with RunLock(earlier):
        for resume, overwrite in ((True, False), (False, False), (False, True)):
            with pytest.raises(UserError, match="in use by process"):
                opening.check(earlier, CONFIG, resume=resume, overwrite=overwrite)
            with pytest.raises(UserError, match="in use by process"):
                opening.hold(earlier, CONFIG, resume=resume, overwrite=overwrite).__enter__()
    assert not earlier.with_name("run.old-1").exists()


def test_of_several_starts_at_once_one_wins(tmp_path):
    outcomes, done = [], threading.Event()

    def start():
        try:
            with opening.hold(tmp_path / "run", CONFIG, resume=False):
                outcomes.append("held")
                done.wait(20)
        except UserError:
            outcomes.append("refused")

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    while len(outcomes) < 6:
        done.wait(0.01)
    done.set()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["held"] + ["refused"] * 5


def test_advice_names_the_newest_checkpoint(earlier):
    assert "no checkpoint was saved yet" in opening.advice(earlier)
    (earlier / "search" / "checkpoints" / "70").mkdir(parents=True)
    (earlier / "search" / "checkpoints" / "73.orbax-checkpoint-tmp").mkdir()
    assert "the checkpoint of step 70 in " in opening.advice(earlier) and "--resume" in opening.advice(earlier)
    assert "nothing is left" in opening.advice(earlier / "gone")


def test_a_deleted_folder_is_not_left_half_rebuilt(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(CannotWrite, match="was deleted or replaced"), opening.hold(path, CONFIG, resume=False) as run:
        path.rename(tmp_path / "elsewhere")
        (path / "search" / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir(parents=True)  # a save in the background
        run.append("metrics", {"step": 1})
    assert not path.exists() and seed_of(tmp_path / "elsewhere") == 0


def delete(path: Path, between: Callable[[], None] = lambda: None) -> None:
    """Delete like `rm -r`, files first; `between` runs when the records are gone and the lock is not."""
    for file in sorted((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.name != "metrics.jsonl"):
        if file.name != "metrics.jsonl":
            between()
        file.unlink(missing_ok=True)
    for folder in sorted((p for p in path.rglob("*") if p.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()


def test_a_record_written_during_the_deletion_goes_with_the_folder(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(FolderDeleted), opening.hold(path, CONFIG, resume=False) as run:
        search = run.subfolder("search")
        search.append("metrics", {"step": 1})
        delete(path, between=lambda: (path / ".lock").exists() and search.append("metrics", {"step": 2}))
        assert (path / "search" / "metrics.jsonl").exists()
        search.append("metrics", {"step": 3})
    assert not path.exists()


def test_files_that_somebody_else_put_there_survive(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(FolderDeleted), opening.hold(path, CONFIG, resume=False) as run:
        delete(path)
        (path / "notes.txt").write_text("mine")
        run.append("metrics", {"step": 1})
    assert [file.name for file in path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
def test_a_folder_deleted_between_a_saves_begin_and_its_commit_stays_deleted(tmp_path, late):
    """A real save in the background, and one that goes on after its failure has been reported."""
    path, state = tmp_path / "run", {"w": np.ones((512, 1024))}

    def go_on() -> None:
        time.sleep(0.3)
        (path / "checkpoints" / "2.orbax-checkpoint-tmp" / "state").mkdir(parents=True)

    writer = threading.Thread(target=go_on)
    with (
        pytest.raises(CannotWrite) as caught,
        opening.hold(path, CONFIG, resume=False) as run,
        Checkpoints(run.checkpoints_dir) as checkpoints,
    ):
        checkpoints.save(1, state)
        shutil.rmtree(path, ignore_errors=True)
        if late:
            writer.start()
        checkpoints.save(2, state)
        run.check_present()
    if late:
        writer.join()
    assert not path.exists()
    told = opening.with_advice(caught.value, path)
    assert isinstance(told, UserError) and "nothing is left to continue" in str(told)


@pytest.mark.parametrize(
    "text",
    [
        'NOT_FOUND: Error writing "whole/0" in OCDBT database at local file "…"',
        "Checkpoint directory does not exist: /…/45.orbax-checkpoint-tmp/state.orbax-checkpoint-tmp.",
        "UNKNOWN: Error opening file [os_error_code='2']",
    ],
)
def test_what_tensorstore_and_orbax_raise_about_a_deleted_folder(tmp_path, monkeypatch, text):
    def fail(*args, **kwargs):
        raise ValueError(text)

    with Checkpoints(tmp_path / "checkpoints") as checkpoints, monkeypatch.context() as patch:
        patch.setattr(checkpoints._manager, "wait_until_finished", fail)
        with pytest.raises(FolderDeleted, match=r"cannot save a checkpoint in .*: No such file or directory"):
            checkpoints.wait()
