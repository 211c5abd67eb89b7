"""Estimates from training: equality with the training itself, fidelities, reports, one compilation, no test images."""

import dataclasses

import jax
import numpy as np
import pytest

from jdarts import spaces
from jdarts.config import DataConfig, Experiment, SpaceConfig, TrainConfig
from jdarts.data import load
from jdarts.data.dataset import TestImages
from jdarts.errors import Diverged, UserError
from jdarts.estimation import FromScratch
from jdarts.estimation.estimator import ReportingEstimator
from jdarts.networks.of_genotype import count_network
from jdarts.train import evaluate, make_training

CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x1:2:64", crop_padding=1, flip=False),
    space=SpaceConfig(name="nasbench201"),
    train=TrainConfig(batch_size=8, channels=4, cells=1, epochs=2, auxiliary_weight=0.0, cutout=0, drop_path=0.0),
)
GENOTYPE = spaces.nasbench201.decode((3, 1, 3, 1, 1, 2))


@pytest.fixture(scope="module")
def data():
    """The data set, whose test images would fail the test by their labels if they were scored."""
    found = load(CONFIG.data)
    assert found.test is not None
    return dataclasses.replace(found, test=TestImages(found.test.images, 1 - found.test.labels))


@pytest.fixture(scope="module")
def estimator(data):
    return FromScratch(CONFIG, data)


@pytest.fixture(scope="module")
def score(estimator):
    return estimator(GENOTYPE, {})


def test_the_score_is_that_of_the_training(score, data):
    split = data.for_search(CONFIG.data)
    training = make_training(CONFIG, GENOTYPE, split)
    state = training.init(jax.random.key(CONFIG.seed))
    for _ in range(2 * 4):
        state, _ = training.step(state, training.arrays)
    assert score["accuracy"] == 100 * evaluate(training, state, split.val, 8)["accuracy"]
    count = count_network(GENOTYPE, channels=4, cells=1, classes=2, image_size=8)
    assert (score["parameters"], score["macs"]) == (count.parameters, count.macs)
    assert 0 < score["seconds"] < score.cost


def test_children_of_a_genotype_share_one_step(estimator, score):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jdarts.estimation.image_children.make_trainings", None)
        again = estimator(GENOTYPE, {})
    assert again["accuracy"] == score["accuracy"]
    assert again.cost - again["seconds"] < 2, "the second child starts at once"


def test_epochs_are_reported_and_an_exception_ends_the_training(estimator, score):
    assert isinstance(estimator, ReportingEstimator)
    reports = []
    assert (
        estimator.reporting(GENOTYPE, {}, lambda epoch, part: reports.append((epoch, part["macs"])))["accuracy"]
        == score["accuracy"]
    )
    assert reports == [(1, score["macs"])], "the last score is the result"

    def stop(epoch, part):
        raise KeyError(epoch)

    with pytest.raises(KeyError):
        estimator.reporting(GENOTYPE, {}, stop)


def test_fidelities(estimator):
    fidelity = estimator.at({"epochs": 1, "data": 0.3, "resolution": 4, "cells": 2, "channels": 6})
    settings = fidelity.config.train
    assert (settings.epochs, settings.cells, settings.channels) == (1, 2, 6)
    full = estimator.at({}).data
    assert fidelity.data.image_shape == (4, 4, 1) and len(fidelity.data.val) == len(full.val)
    for label in (0, 1):
        of_class = full.train.images[full.train.labels == label]
        kept = fidelity.data.train.images[fidelity.data.train.labels == label]
        assert len(kept) == np.ceil(0.3 * len(of_class))
        means = of_class.reshape(-1, 4, 2, 4, 2, 1).astype(float).mean((2, 4))[: len(kept)]
        np.testing.assert_allclose(kept, means, atol=0.5)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"epoch": 1}, "unknown budget 'epoch'; did you mean 'epochs'"),
        ({"epochs": 0.5}, "budget epochs is 0.5; use a whole number"),
        ({"data": 0}, "budget data is 0; use a share above 0"),
        ({"data": 0.01}, "batch size is 8 with 2 images"),
        ({"resolution": 3}, "budget resolution is 3; use a divisor of 8"),
        ({"channels": 5}, "train.channels is 5"),
    ],
)
def test_wrong_budgets(estimator, budget, message):
    with pytest.raises(UserError, match=message):
        estimator(GENOTYPE, budget)


def test_what_cannot_be_trained(estimator, data):
    with pytest.raises(UserError, match="architectures that jdarts does not train, such as"):
        estimator(spaces.mnasnet.decode((0,) * 28), {})
    with pytest.raises(UserError, match=r"data\.val_fraction is 0"):
        FromScratch(dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, val_fraction=0.0)), data)


def test_a_diverged_training(data):
    optimizer = dataclasses.replace(CONFIG.train.optimizer, learning_rate=1e30, gradient_clip=0.0)
    train = dataclasses.replace(CONFIG.train, optimizer=optimizer, epochs=1)
    with pytest.raises(Diverged, match="diverged in epoch 1"):
        FromScratch(dataclasses.replace(CONFIG, train=train), data)(GENOTYPE, {})
