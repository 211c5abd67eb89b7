"""Hyper-parameters as parameters of a study: forms of values, grids, checks, pruned and interrupted trials."""

import signal

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from jdarts.config import Experiment
from jdarts.errors import Diverged, Interrupted, UserError
from jdarts.strategies.tuned_trials import tuned
from jdarts.strategies.tuning import grid_size, sampler_of, varied_of, with_values_of

CONFIG = Experiment()
RATE = "search.alpha_optimizer.learning_rate"


def test_forms_of_values():
    texts = [
        f"{RATE}=log:1e-4:1e-1:4",
        "train.drop-path=lin:0:0.5:3",
        "train.cells=int:2:9:3",
        "search.batch_size=16,64",
    ]
    log, lin, whole, listed = varied_of(texts, CONFIG)
    assert log.distribution == FloatDistribution(1e-4, 1e-1, log=True)
    np.testing.assert_allclose(log.points, [1e-4, 1e-3, 1e-2, 1e-1])
    assert (
        lin.name == "train.drop_path" and lin.distribution == FloatDistribution(0, 0.5) and lin.points == (0, 0.25, 0.5)
    )
    assert whole.distribution == IntDistribution(2, 9) and whole.points == (2, 6, 9)
    assert listed.distribution == CategoricalDistribution(("16", "64")) and listed.points == ("16", "64")
    assert grid_size((log, lin, whole, listed)) == 4 * 3 * 3 * 2


def test_values_enter_the_configuration():
    values = {RATE: 1e-3, "search.batch_size": "16", "train.cells": 4, "search.method_options.beta": 0.25}
    config = with_values_of(CONFIG, values)
    assert config.search.alpha_optimizer.learning_rate == 1e-3 and config.search.batch_size == 16
    assert config.train.cells == 4 and config.search.method_options == ("beta=0.25",)


def study_of(texts, sampler, run, trials):
    study = optuna.create_study(sampler=sampler_of(sampler, varied_of(texts, CONFIG), 0), direction="maximize")
    study.optimize(tuned(CONFIG, varied_of(texts, CONFIG), run), n_trials=trials)
    return study


def test_a_grid_visits_every_point_once():
    study = study_of(
        [f"{RATE}=log:1e-4:1e-1:5", "train.cells=3,6,8"],
        "grid",
        lambda trial, config: (float(config.train.cells), ""),
        15,
    )
    points = {tuple(trial.params.values()) for trial in study.trials}
    assert len(points) == len(study.trials) == 15 and study.best_params["train.cells"] == "8"


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_samples_are_log_uniform(sampler):
    """Half of a range of three decades lies below 10^-2.5; linear sampling would put 3 % of the values there."""
    study = study_of([f"{RATE}=log:1e-4:1e-1"], sampler, lambda trial, config: (0.0, ""), 60)
    below = np.mean([trial.params[RATE] < 10**-2.5 for trial in study.trials])
    assert 0.3 < below < 0.7


@pytest.mark.parametrize("error", [Diverged("not finite"), UserError("does not fit")])
def test_failures_of_values_are_pruned(error):
    def fail(trial, config):
        raise error

    study = study_of(["train.cells=int:2:8"], "random", fail, 2)
    assert [t.state.name for t in study.trials] == ["PRUNED", "PRUNED"]
    assert study.trials[0].user_attrs["reason"] == str(error)


def test_an_interrupted_trial_is_repeated():
    def interrupted(trial, config):
        if not trial.number:
            raise Interrupted(signal.SIGTERM, "")
        return float(config.train.cells), "architecture"

    varied = varied_of(["train.cells=int:2:800"], CONFIG)
    study = optuna.create_study(sampler=sampler_of("random", varied, 0), direction="maximize")
    run = tuned(CONFIG, varied, interrupted)
    with pytest.raises(Interrupted):
        study.optimize(run)
    study.optimize(run, n_trials=1)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]
    assert study.trials[0].params == study.trials[1].params
    score = study.trials[1].user_attrs["score"]
    assert score["values"] == {"accuracy": study.trials[1].value} and score["architecture"] == "architecture"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "nothing is varied"),
        (["search.epochs"], "write NAME=VALUES"),
        (["search.epoch=1,2"], r"did you mean --search.epochs\?"),
        (["search.epochs=1,ten"], "must be a whole number"),
        (["search.epochs=log:1:10"], r"--search.epochs is '1.0'; it must be a whole number"),
        ([f"{RATE}=lin:0:1"], r"learning_rate is 0.0; .*above 0"),
        ([f"{RATE}=log:0:1"], "write log:LOW:HIGH with LOW < HIGH above 0"),
        ([f"{RATE}=log:1:0.1"], "LOW < HIGH"),
        ([f"{RATE}=log:1e-4"], "write log:LOW:HIGH"),
        ([f"{RATE}=log:1e-4:x"], "write log:LOW:HIGH"),
        ([f"{RATE}=log:1e-4:1:1"], "at least 2 points"),
        (["search.epochs=1,1"], "list different values"),
        (["search.epochs=1,2", "search.epochs=3,4"], "search.epochs is given twice"),
    ],
)
def test_wrong_values_are_refused(texts, message):
    with pytest.raises(UserError, match=message):
        varied_of(texts, CONFIG)


def test_samplers_that_do_not_fit():
    varied = varied_of([f"{RATE}=log:1e-4:1e-1"], CONFIG)
    with pytest.raises(UserError, match="needs a number of points for the grid"):
        sampler_of("grid", varied, 0)
    with pytest.raises(UserError, match="which is for --sampler grid"):
        sampler_of("tpe", varied_of([f"{RATE}=log:1e-4:1e-1:5"], CONFIG), 0)
    with pytest.raises(UserError, match="unknown sampler 'cmaes'"):
        sampler_of("cmaes", varied, 0)
    with pytest.raises(UserError, match="the grid has 1,000,000 points"):
        sampler_of("grid", varied_of([f"{RATE}=log:1e-4:1:1000", "train.drop_path=lin:0:0.5:1000"], CONFIG), 0)
