"""`jdarts bench` on text: its weight step is that of the search, and the command measures words."""

import json
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from support.tiny_text import BATCH, BPTT, CONFIG, SPACE, TRAIN_CONFIG, text, write_text

from jdarts import cli, spaces
from jdarts.bench import steps
from jdarts.config import AdamConfig, DataConfig, SpaceConfig
from jdarts.config.files import to_json
from jdarts.data.text import PUBLISHED, random_text
from jdarts.search.estimate import advice

BOTH = replace(TRAIN_CONFIG, search=CONFIG.search, language_search=CONFIG.language_search)
COMMAND = ["bench", "toy.json", "--only", "weight", "--steps", "2", "--json", "-"]


def test_the_weight_step_is_the_search_step_without_alphas():
    """Two steps, so that the hidden state of the first window is read; the alphas hardly move."""
    still = replace(CONFIG.search, alpha_optimizer=AdamConfig(learning_rate=1e-30), hypergradient="first_order")
    config: Any = replace(CONFIG, search=still)
    search, weight = steps.build_step(config, SPACE, text(), "weight")  # pyright: ignore[reportArgumentType]
    start: Any = jax.jit(search.init)(jax.random.key(0))
    found, expected = start, start
    for _ in range(2):
        found, expected = jax.jit(weight)(found, search.arrays)[0], jax.jit(search.step)(expected, search.arrays)[0]
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.carried["train"]["hidden"], expected.carried["train"]["hidden"], atol=1e-6)
    assert np.abs(found.weights - start.weights).max() > 1e-4 and int(found.carried["train"]["position"]) > BPTT / 2
    np.testing.assert_array_equal(found.alphas["recurrent"], start.alphas["recurrent"])


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(spaces.LANGUAGE, SPACE.name, SPACE)
    write_text(tmp_path / "text")
    (tmp_path / "toy.json").write_text(to_json(BOTH))
    return tmp_path


def test_the_command_measures_words(workplace, capsys):
    assert cli.main(COMMAND) == 0
    report = json.loads(capsys.readouterr().out)["steps"]["weight"]
    assert (report["unit"], report["images"]) == ("words", BATCH * BPTT)
    assert report["images_per_second"] == pytest.approx(BATCH * BPTT / report["seconds"]["median"])
    assert report["flops"] is None and report["bytes_per_second"] is None and report["temporary_bytes"] > 0
    assert cli.main([word for word in COMMAND if word not in ("--json", "-")]) == 0
    head = next(line for line in capsys.readouterr().out.splitlines() if "compile" in line)
    assert "words/s" in head and "FLOP/s" not in head


def test_what_is_not_measured_on_text(workplace, capsys):
    for kind in (["hypergrad"], ["seeds"], ["hypergrad", "--noise"]):
        assert cli.main(["bench", kind[0], "toy.json", *kind[1:]]) == 2
        err = capsys.readouterr().err
        assert f"jdarts bench {' '.join(kind)} is for images" in err and err.count("\n") == 1
    (workplace / "toy.json").write_text(to_json(replace(BOTH, space=SpaceConfig(name="enas_rnn"))))
    assert cli.main(["bench", "toy.json"]) == 2
    assert "needs" in capsys.readouterr().err


def test_random_words_have_the_sizes_of_the_published_text():
    found = random_text("ptb")
    sizes = len(found.train), len(found.valid), len(found.test), len(found.vocabulary)
    assert sizes == PUBLISHED["ptb"]
    assert found.train.dtype == np.int32 and found.train.min() >= 0 and found.train.max() < 10_000


def test_the_advice_against_too_little_memory_is_for_text():
    config = replace(BOTH, data=DataConfig(source="ptb"), search=replace(BOTH.search, batch_size=100))
    words = advice(config, 0.5)
    assert "search.batch_size 45 instead of 100" in words and "language_search.units" in words
    assert "language_search.bptt 6" in words and "search.hypergradient first_order" in words
    assert all(other not in words for other in ("channels", "cells", "microbatches", "remat", "pc_darts"))
