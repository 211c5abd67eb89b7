"""Opening of run folders, new ones and those that exist already."""

import json
import threading
from pathlib import Path

import pytest

from jdarts.config import Experiment
from jdarts.errors import CannotWrite, UserError
from jdarts.runs import opening
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


def test_way_on_names_the_newest_checkpoint(earlier):
    assert "no checkpoint was saved yet" in opening.way_on(earlier)
    (earlier / "search" / "checkpoints" / "70").mkdir(parents=True)
    (earlier / "search" / "checkpoints" / "73.orbax-checkpoint-tmp").mkdir()
    assert "the checkpoint of step 70 in " in opening.way_on(earlier) and "--resume" in opening.way_on(earlier)
    assert "nothing is left" in opening.way_on(earlier / "gone")


def test_a_deleted_folder_is_not_left_half_rebuilt(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(CannotWrite, match="was deleted or replaced"), opening.hold(path, CONFIG, resume=False) as run:
        path.rename(tmp_path / "elsewhere")
        (path / "search" / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir(parents=True)  # a save in the background
        run.append("metrics", {"step": 1})
    assert not path.exists() and seed_of(tmp_path / "elsewhere") == 0
