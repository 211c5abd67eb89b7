"""`jdarts bench seeds` and `jdarts bench input` on small searches, from the command line."""

import json

import pytest
from PIL import Image

from jdarts.bench.reading import ReadingCost
from jdarts.bench.tables import reading_lines
from jdarts.bench.timing import spread
from jdarts.cli import main

SPACE = """
from jdarts.spaces import define_space
space = define_space("one_node", nodes=1, normal=("none", "skip_connect", "sep_conv_3x3"))
"""
CONFIG = """
from jdarts.config import *
config = Experiment(
    data=DataConfig(source="synthetic:8x8x1:4:64", crop_padding=1, image_size=8, read_threads=2, val_fraction=0.25),
    space=SpaceConfig(name="SPACE.py", channels=2, cells=1),
    search=SearchConfig(epochs=2, batch_size=8, hypergradient="first_order", method="gdas"),
)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("bench")
    (root / "space.py").write_text(SPACE)
    (root / "small.py").write_text(CONFIG.replace("SPACE.py", str(root / "space.py")))
    for label, kind in enumerate(("png", "jpg")):
        folder = root / "images" / "train" / f"class_{label}"
        folder.mkdir(parents=True)
        for i in range(32):
            Image.new("RGB", (20, 24), (8 * i, 100 * label, 7)).save(folder / f"{i:02}.{kind}")
    return root


def measure(place, capsys, *arguments):
    status = main(["bench", arguments[0], str(place / "small.py"), *arguments[1:], "--json", str(place / "out")])
    said = capsys.readouterr()
    assert status == 0, said.err
    return json.loads((place / "out").read_text()), said.out


def test_seeds_in_one_program_against_searches_apart(place, capsys):
    found, text = measure(place, capsys, "seeds", "--seeds", "3,1", "--steps", "2")
    programs = found["programs"]
    assert found["benchmark"] == "seeds" and list(programs) == ["apart", "1", "3"]
    assert [program["searches"] for program in programs.values()] == [1, 1, 3]
    for program in programs.values():
        assert program["compile_seconds"] > 0 and program["seconds"]["count"] == 2
        assert program["images_per_second"] == pytest.approx(8 * program["searches"] / program["seconds"]["median"])
    assert programs["apart"]["gain"]["median"] == 1
    assert programs["3"]["state_bytes"] == 3 * programs["1"]["state_bytes"] == 3 * programs["apart"]["state_bytes"]
    apart, three = (programs[name]["seconds"] for name in ("apart", "3"))
    assert programs["3"]["gain"]["low"] <= 3 * apart["high"] / three["low"]
    assert programs["3"]["gain"]["high"] >= 3 * apart["low"] / three["high"]
    assert "one separately" in text and "3 in one program" in text and "3 searches in one program: " in text


def test_reading_and_the_step_that_it_feeds(place, capsys):
    stream = ("--data.source", "stream:folder", "--data.path", str(place / "images"), "--steps", "2")
    found, text = measure(place, capsys, "input", *stream)
    reading = found["reading"]
    assert found["benchmark"] == "input" and reading["images"] == 16 and reading["threads"] == 2
    assert reading["decode_rate"]["low"] > 0 and reading["decode_rate"]["count"] == 2
    assert reading["reading_seconds"] == pytest.approx(16 / reading["decode_rate"]["median"])
    assert reading["share_of_step"] == pytest.approx(reading["reading_seconds"] / reading["step_seconds"]["median"])
    assert reading["fed_seconds"] > 0 and 0 <= reading["waiting_share"] < 1
    assert "images/s" in text and "spent waiting for images" in text
    found, text = measure(place, capsys, "input", *stream, "--only", "rate")
    assert found["reading"]["step_seconds"] is None and found["reading"]["share_of_step"] is None
    assert "waiting" not in text


def test_a_slow_reader_is_named():
    slow = ReadingCost(4, spread([100.0]), 64, spread([0.2]), 0.8)
    assert slow.reading_seconds == 0.64 and slow.share_of_step == pytest.approx(3.2)
    assert slow.waiting_share == pytest.approx(0.75)
    assert "320%" in reading_lines(slow) and "more than a step takes" in reading_lines(slow)
    assert "75.0%" in reading_lines(slow)
    fast = ReadingCost(4, spread([1000.0]), 64, spread([0.2]), 0.19)
    assert fast.waiting_share == 0 and "32%" in reading_lines(fast) and "more than" not in reading_lines(fast)
