"""Inherited weights on text: the perplexity of a path against a forward pass in NumPy, and searches with it."""

import json
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from support.tiny_text import BATCH, BPTT, CONFIG, SPACE, TRAIN_CONFIG, search, text, write_text

from jdarts import cli, spaces
from jdarts.commands import process
from jdarts.config import SpaceConfig
from jdarts.config.files import to_json
from jdarts.errors import UserError
from jdarts.estimation import InheritedText, inherited
from jdarts.networks.recurrent import RecurrentModel
from jdarts.networks.recurrent.size import count_language_model

CELL = SPACE.decode((1, 1, 3))  # relu after node 0, identity after node 1
BOTH = replace(TRAIN_CONFIG, search=replace(CONFIG.search, epochs=1, hypergradient="first_order"))
BOTH = replace(BOTH, language_search=CONFIG.language_search)


@pytest.fixture(scope="module")
def estimator():
    """The estimator of a supernet with random weights, ten times as large as at the start, and random alphas."""
    made = search()
    state: Any = jax.jit(made.init)(jax.random.key(3))
    return InheritedText(BOTH, made, state.replace(weights=10 * state.weights))


def perplexity_of(params, genotype, words):
    """The language model of a path, word by word: the batch norms see the columns, and nothing is dropped."""
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    functions = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0), "sigmoid": sigmoid, "identity": lambda z: z}
    params = {name: np.asarray(value, np.float64) for name, value in params.items()}
    columns = words[: len(words) // BATCH * BATCH].reshape(BATCH, -1)
    read = (columns.shape[1] - 1) // BPTT * BPTT

    def node(s, product, activation):
        c, h = np.split(product, 2, axis=1)
        s = s + sigmoid(c) * (functions[activation](h) - s)
        return (s - s.mean(0)) / np.sqrt(s.var(0) + 1e-5)

    h, losses = np.zeros((BATCH, params["W0"].shape[0] - params["embedding_table"].shape[1])), []
    for time in range(read):
        x = params["embedding_table"][columns[:, time]]
        s = [node(h, np.concatenate([x, h], 1) @ params["W0"], "tanh")]
        for i, (activation, source) in enumerate(genotype.recurrent):
            s.append(node(s[source], s[source] @ params["W"][i], activation))
        h = np.mean(s[1:], axis=0)
        logits = h @ params["embedding_table"].T + params["bias"]
        right = logits[np.arange(BATCH), columns[:, time + 1]]
        losses.append(np.log(np.exp(logits).sum(1)) - right)
    return np.exp(np.mean(losses))


@pytest.mark.parametrize("choices", [(1, 1, 3), (0, 0, 2), (3, 0, 1)])
def test_the_perplexity_is_that_of_the_path_on_the_whole_text(estimator, choices):
    genotype = SPACE.decode(choices)
    params = estimator._search.variables(estimator._state)["params"]
    score = estimator(genotype, {})
    assert score["perplexity"] == pytest.approx(perplexity_of(params, genotype, text().valid), rel=1e-4)
    assert estimator(choices, {})["perplexity"] == score["perplexity"]
    assert 0 < score["seconds"] <= score.cost


def test_cells_differ_and_share_one_program(estimator):
    estimator(CELL, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jdarts.staging.compile", None)
        found = {estimator(SPACE.decode((1, 1, last)), {})["perplexity"] for last in range(4)}
    assert len(found) == 4


def test_a_budget_reads_the_first_windows(estimator):
    words = BATCH * BPTT
    params = estimator._search.variables(estimator._state)["params"]
    columns = text().valid[: len(text().valid) // BATCH * BATCH].reshape(BATCH, -1)
    wanted = perplexity_of(params, CELL, columns[:, : BPTT + 1].reshape(-1))
    assert estimator(CELL, {"words": words + 3})["perplexity"] == pytest.approx(wanted, rel=1e-4)
    for budget, message in (
        ({"epochs": 1}, "unknown budget 'epochs'"),
        ({"words": words - 1}, f"budget words is {words - 1}; use a whole number of {words} "),
        ({"words": 71}, "to 70 "),
        ({"words": 1.5}, "budget words is 1.5"),
    ):
        with pytest.raises(UserError, match=message):
            estimator.check(CELL, budget)


def test_sizes_are_those_of_the_trained_model(estimator):
    units = BOTH.language_train.units
    count = count_language_model(RecurrentModel(genotype=CELL, vocabulary=7, embedding=units, units=units))
    score = estimator(CELL, {})
    assert (score["parameters"], score["macs"]) == (count.parameters, count.macs)


def test_architectures_of_another_space_and_a_text_that_is_too_short(estimator):
    for wrong in (spaces.nasbench201.random_genotype(0), spaces.darts_rnn.random_genotype(0), (9, 9, 9)):
        with pytest.raises(UserError):
            estimator.check(wrong, {})
    made = search()
    short = replace(BOTH, search=replace(BOTH.search, batch_size=12))
    with pytest.raises(UserError, match=r"has 5 words in each of search.batch_size = 12 columns"):
        InheritedText(short, made, jax.jit(made.init)(jax.random.key(0)))


def test_a_search_by_trials_inherits_from_a_finished_search(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "enable_compilation_cache", lambda warn: None)
    monkeypatch.setitem(spaces.LANGUAGE, SPACE.name, SPACE)
    write_text(tmp_path / "text")
    (tmp_path / "toy.json").write_text(to_json(BOTH))
    assert cli.main(["search", "toy.json", "--run-dir", "supernet"]) == 0
    command = [
        "search",
        "toy.json",
        "--strategy",
        "regularized_evolution",
        "--strategy-options",
        "population=3,sample=2",
    ]
    command += ["--trials", "5", "--estimator", "inherited", "--supernet", "supernet"]
    assert cli.main([*command, "--run-dir", "found"]) == 0
    trials = [json.loads(line) for line in (tmp_path / "found/trials.jsonl").read_text().splitlines()]
    estimator = inherited("supernet")
    for trial in trials:
        choices = tuple(trial["params"][decision.name] for decision in SPACE.decisions)
        assert trial["objectives"]["perplexity"] == estimator(choices, {})["perplexity"]
    best = json.loads((tmp_path / "found/summary.json").read_text())["best"][0]
    assert best["objectives"]["perplexity"] == min(trial["objectives"]["perplexity"] for trial in trials)
    capsys.readouterr()
    (tmp_path / "toy.json").write_text(to_json(replace(BOTH, space=SpaceConfig(name="darts_rnn"))))
    assert cli.main([*command, "--run-dir", "other"]) == 2
    assert "has space.name tiny_rnn, the configuration has darts_rnn" in capsys.readouterr().err
