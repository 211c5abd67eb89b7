"""Estimates from training language models: equality with `jdarts train`, fidelities, reports, no test text."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from support.tiny_text import TRAIN_CONFIG, text

from jdarts import spaces
from jdarts.errors import Diverged, UserError
from jdarts.estimation import FromScratch, criterion, measure_of
from jdarts.genotypes import parse
from jdarts.networks.recurrent.size import count_language_model
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.train.language import run_language_training
from jdarts.train.language.step import language_model

GENOTYPE: Any = parse("Genotype(recurrent=[('sigmoid', 0), ('relu', 1)], concat=range(1, 3))")


@pytest.fixture(scope="module")
def estimator():
    """Of a text whose test part has one word repeated, whose perplexity would differ."""
    return FromScratch(TRAIN_CONFIG, dataclasses.replace(text(), test=np.zeros(40, np.int32)))


@pytest.fixture(scope="module")
def reports():
    return []


@pytest.fixture(scope="module")
def score(estimator, reports):
    return estimator.reporting(GENOTYPE, {}, lambda epoch, part: reports.append((epoch, part["perplexity"])))


def test_score_and_reports_are_those_of_the_training(score, reports, tmp_path):
    folder = RunFolder.create(tmp_path / "run", TRAIN_CONFIG)
    result = run_language_training(TRAIN_CONFIG, GENOTYPE, text(), folder, reporter=SilentReporter())
    assert score["perplexity"] == result.val_perplexity
    losses = [record["val_loss"] for record in folder.records("metrics")]
    assert reports == [(k, pytest.approx(math.exp(min(losses[:k])))) for k in (1, 2)], "the last score is the result"
    count = count_language_model(language_model(TRAIN_CONFIG.language_train, GENOTYPE, 7))
    assert (score["parameters"], score["macs"]) == (count.parameters, count.macs)
    assert 0 < score["seconds"] < score.cost


def test_perplexity_is_the_measure_and_is_minimised():
    assert not criterion("perplexity").maximize and measure_of(TRAIN_CONFIG) == criterion("perplexity")


def test_fidelities(estimator):
    fidelity = estimator.at({"epochs": 1, "data": 0.5, "units": 3})
    settings = fidelity.config.language_train
    assert (settings.epochs, settings.units) == (1, 3)
    np.testing.assert_array_equal(fidelity.data.train, text().train[:65])
    assert len(fidelity.data.valid) == len(text().valid)
    assert estimator.task.sizes(GENOTYPE, fidelity)["parameters"] == 7 * 3 + 7 + (6 + 2 * 3) * 6


@pytest.mark.parametrize(
    ("architecture", "budget", "message"),
    [
        (GENOTYPE, {"cells": 1}, "unknown budget 'cells'"),
        (GENOTYPE, {"units": 2.5}, "budget units is 2.5; use a whole number"),
        (GENOTYPE, {"data": 0}, "budget data is 0; use a share above 0"),
        (GENOTYPE, {"data": 0.1}, "the train text of text has 13 words"),
        (parse("DARTS_V2"), {}, "data.source text is a text; use recurrent cells"),
        (spaces.nasbench_macro.decode((0,) * 8), {}, "'00000000' is a network of images"),
        (spaces.mnasnet.decode((0,) * 28), {}, "architectures that jdarts does not train"),
    ],
)
def test_what_cannot_be_trained(estimator, architecture, budget, message):
    with pytest.raises(UserError, match=message):
        estimator(architecture, budget)


def test_a_diverged_training(estimator):
    train = dataclasses.replace(
        TRAIN_CONFIG.language_train, learning_rate=1e30, gradient_clip=0.0, rollbacks=0, epochs=1
    )
    with pytest.raises(Diverged, match="diverged in epoch 1"):
        FromScratch(dataclasses.replace(TRAIN_CONFIG, language_train=train), text())(GENOTYPE, {})
