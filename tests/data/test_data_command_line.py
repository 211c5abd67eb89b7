"""Messages of the command line about data: one line each, before anything is compiled."""

import io
import sys

import numpy as np
import pytest

from jdarts.cli import main
from jdarts.data import image_files, progress


@pytest.fixture
def blocks(tmp_path, monkeypatch):
    """An .npz file with float images in four blocks of labels 1 to 4, and none for a test."""
    monkeypatch.chdir(tmp_path)
    images, labels = np.random.RandomState(0).rand(80, 8, 8, 1), np.repeat([3.0, 1.0, 4.0, 2.0], 20)
    np.savez("blocks.npz", x_train=images, y_train=labels)
    (tmp_path / "mine.py").write_text(
        "from jdarts.config import *\n"
        "config = Experiment(data=DataConfig(source='npz', path='blocks.npz', crop_padding=1))\n"
    )
    return tmp_path


def lines(capsys, *arguments) -> list[str]:
    assert main(arguments) == 2
    return capsys.readouterr().err.splitlines()


def test_notes_and_errors_are_one_line_each(blocks, capsys):
    *notes, error = lines(capsys, "search", "mine.py")
    assert [line.partition(";")[0] for line in notes] == [
        "jdarts: note: blocks.npz has no x_test: it can be searched on, but a retrained cell needs a test",
        f"jdarts: note: blocks: train images are float64 from {_low():g} to {_high():g}",
        "jdarts: note: blocks: train labels are whole numbers stored as float64",
    ]
    assert "the training labels are 1, 2, 3, 4" in error and "--data.remap_labels true" in error
    *notes, error = lines(capsys, "search", "mine.py", "--data.remap_labels", "true")
    assert notes[-1].endswith("labels are renumbered; 1, 2, 3, 4 become the classes 0 to 3")
    assert "(100%) are of 2 classes (1 (2), 3 (4)), which" in error and "--data.shuffle 0" in error
    *notes, error = lines(
        capsys, "run", "mine.py", "--data.remap_labels=true", "--data.stratify=true", "--search.batch_size=8"
    )
    assert len(notes) == len(set(notes)) == 4
    assert error.startswith("jdarts: error: blocks has no labelled test images")
    assert not (blocks / "runs").exists()


def _low() -> float:
    return float(np.random.RandomState(0).rand(80, 8, 8, 1).min())


def _high() -> float:
    return float(np.random.RandomState(0).rand(80, 8, 8, 1).max())


def test_progress_is_shown_on_a_terminal_only(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = {}
    monkeypatch.setenv("TERM", "xterm")
    for name, stream, total in (
        ("terminal", Terminal(), 5000),
        ("few", Terminal(), 500),
        ("file", io.StringIO(), 5000),
    ):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress.counted("reading photos", total) as advance:
            advance(total)
        shown[name] = stream.getvalue()
    assert "reading photos" in shown["terminal"] and "5000/5000" in shown["terminal"]
    assert shown["few"] == shown["file"] == ""


def test_reading_files_counts_all_of_them(tmp_path, monkeypatch):
    from contextlib import contextmanager

    from PIL import Image

    from jdarts.config import DataConfig
    from jdarts.data import load

    for i in range(150):
        place = tmp_path / "train" / f"class_{i % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), i).save(place / f"{i}.png")
    counts = []

    @contextmanager
    def counted(title, total):
        assert total == 150
        yield counts.append

    monkeypatch.setattr(image_files, "counted", counted)
    with pytest.warns(match="no test/CLASS/"):
        load(DataConfig(source="folder", path=str(tmp_path)))
    assert sum(counts) == 150 and len(counts) == 3
