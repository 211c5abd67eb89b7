"""`jdarts search --strategy`, `worker`, `tune` and `report` on text: perplexity in place of accuracy."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.tiny_text import CONFIG, SPACE, TRAIN_CONFIG, write_text

from jdarts import cli, spaces
from jdarts.commands import process
from jdarts.config import SpaceConfig
from jdarts.config.files import to_json
from jdarts.estimation import criterion
from jdarts.genotypes import parse
from jdarts.genotypes.recurrent import RecurrentGenotype
from jdarts.report.trials.record import read_trial_run
from jdarts.report.write_report import write_report
from jdarts.strategies.plan import TrialPlan, prepare
from jdarts.strategies.registry import names

CELL = "Genotype(recurrent=[('sigmoid', 0), ('relu', 1)], concat=range(1, 3))"
ONE_LOOP = replace(TRAIN_CONFIG, search=CONFIG.search, language_search=CONFIG.language_search)


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "enable_compilation_cache", lambda warn: None)
    monkeypatch.setitem(spaces.LANGUAGE, SPACE.name, SPACE)
    write_text(tmp_path / "text")
    (tmp_path / "toy.json").write_text(to_json(ONE_LOOP))


def records(folder):
    return [json.loads(line) for line in (Path(folder) / "trials.jsonl").read_text().splitlines()]


def test_cells_are_trained_resumed_joined_by_workers_and_reported(capsys):
    search = ["search", "toy.json", "--strategy", "random", "--budget", "epochs=2", "--pruner", "median"]
    assert cli.main([*search, "--trials", "1"]) == 0
    assert re.search(r"trial 1 of 1: perplexity [\d.]+, best perplexity [\d.]+ \(trial 0\)", capsys.readouterr().out)
    plan = Path("runs/toy/strategy.json")
    stored = json.loads(plan.read_text())
    assert stored["objectives"] == ["perplexity"]
    plan.write_text(json.dumps({**stored, "trials": 2}))
    assert cli.main(["worker", "runs/toy"]) == 0
    assert cli.main([*search, "--trials", "2", "--resume"]) == 0
    found = records("runs/toy")
    assert [record["number"] for record in found] == [0, 1]
    for record in found:
        assert set(record["score"]) == {"perplexity", "parameters", "macs", "seconds"}
        assert list(record["intermediate"]) == ["1"]
        assert record["intermediate"]["1"] >= record["objectives"]["perplexity"] > 1
        assert isinstance(parse(record["architecture"]), RecurrentGenotype)
    best = min(found, key=lambda record: record["objectives"]["perplexity"])
    assert json.loads(Path("runs/toy/summary.json").read_text())["best"][0]["number"] == best["number"]
    assert Path("runs/toy/genotype.txt").read_text() == f"{best['architecture']}\n"
    page = write_report([Path("runs/toy")]).read_text()
    assert "minimise perplexity" in page and "It has the lowest perplexity of 2 complete trials" in page
    assert "Best perplexity so far" in page and "accuracy" not in page.partition("Configuration and environment")[0]


def test_a_training_and_a_search_are_tuned():
    vary = ["--vary", "language_train.units=3,5", "--sampler", "grid", "--language_train.epochs", "1"]
    assert cli.main(["tune", "toy.json", "--genotype", CELL, *vary]) == 0
    vary = ["--vary", "language_search.bptt=4,6", "--sampler", "grid", "--pruner", "median", "--search.epochs", "2"]
    assert cli.main(["tune", "toy.json", *vary, "--search.hypergradient", "first_order", "--run-dir", "searches"]) == 0
    for folder in ("runs/toy-tune", "searches"):
        run = read_trial_run(folder)
        assert run.objectives == (criterion("perplexity"),) and len(run.complete) == 2
        best = json.loads((Path(folder) / "summary.json").read_text())["best"][0]
        assert best["score"]["perplexity"] == min(record["score"]["perplexity"] for record in run.trials)
        assert "minimise perplexity" in write_report([Path(folder)]).read_text()
    for record in run.trials:
        lines = Path(f"searches/trials/{record['number']:04}/metrics.jsonl").read_text().splitlines()
        curve = [json.loads(line)["val_perplexity"] for line in lines]
        assert (record["intermediate"], record["score"]["perplexity"]) == ({"1": curve[0]}, curve[1])


@pytest.mark.parametrize("space", ["darts_rnn", "enas_rnn", "enas_lm_rnn"])
def test_every_strategy_takes_every_recurrent_space(space):
    config = replace(TRAIN_CONFIG, space=SpaceConfig(name=space))
    for strategy in set(names()) - {"gp", "grid"}:  # torch, and more points than a grid may have
        parts = prepare(config, TrialPlan(strategy=strategy, trials=2, objectives=("perplexity",)))
        assert parts.estimator.values[0] == "perplexity"  # pyright: ignore[reportAttributeAccessIssue]
        assert [objective.maximize for objective in parts.objectives] == [False]


TRIALS = ["search", "toy.json", "--strategy", "random", "--trials", "2"]
BAD_INPUT = {
    "a space of images": ([*TRIALS, "--space", "darts_cnn"], "is a text; use recurrent cells, as those of"),
    "images for recurrent cells": (
        [*TRIALS, "--data.source", "synthetic:8x8x1:2:64", "--data.path", "", "--train.batch_size", "8"],
        "recurrent",
    ),
    "accuracy": ([*TRIALS, "--objectives", "accuracy"], "unknown objective 'accuracy'"),
    "a budget of images": ([*TRIALS, "--budget", "cells=2"], "unknown budget 'cells'"),
    "a short text": ([*TRIALS, "--language_train.batch_size", "100"], "make batch_size or bptt smaller"),
    "a genotype of images": (
        ["tune", "toy.json", "--genotype", "DARTS_V2", "--vary", "seed=1,2", "--trials", "2"],
        "is a text; use recurrent cells, as those of",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line_and_status_2(case, capsys):
    arguments, expected = BAD_INPUT[case]
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("jdarts: error: ") and err.count("\n") == 1 and expected in err, err
    assert not Path("runs").exists()
