"""Extrapolated curves: closed forms, curves of known families, calibration on real ones, the pruner."""

import json
import zipfile
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from scipy import stats
from support.real_data import REAL_DATA

from jdarts.bench.learning_curves import judge, stopping
from jdarts.benchmarks import load_loss_curves
from jdarts.errors import UserError
from jdarts.estimation import extrapolate, learning_curves
from jdarts.strategies.learning_curve_pruner import LearningCurvePruner
from jdarts.strategies.pruners import pruner_by_name

EPOCHS = np.arange(1.0, 51)
LOGS = REAL_DATA / "benchmarks" / "nas-bench-nlp_wikitext2_logs.zip"


@pytest.mark.parametrize("power", [0.3, 0.7, 1.3, 2.0])
def test_power_laws_without_noise_are_extrapolated_within_one_percent(power):
    """20 of 50 epochs (addendum §18)."""
    curve = 90 - 60 * EPOCHS**-power
    found = extrapolate(curve[:20], 50)
    assert found.median == pytest.approx(curve[-1], rel=0.01)
    assert found.below(found.median) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    "curve",
    [0.9 - 0.5 * np.exp(-0.1 * EPOCHS), -5 - 2 / (1 + 0.2 * EPOCHS), 1 - np.exp(-((0.05 * EPOCHS) ** 0.5))],
    ids=["exponential", "MMF", "Weibull"],
)
def test_other_families_are_much_nearer_than_the_last_score(curve):
    """Also with another unit and zero of the score."""
    found = extrapolate(curve[:20], 50)
    assert abs(found.median - curve[-1]) < 0.4 * abs(curve[19] - curve[-1])
    assert 0.05 < found.below(curve[-1]) < 0.95
    assert extrapolate(1e-3 * curve[:20] - 7, 50).median == pytest.approx(1e-3 * found.median - 7, rel=1e-6)


def test_a_constant_curve_stays_constant():
    found = extrapolate(np.full(10, 3.0), 50)
    assert found.median == pytest.approx(3.0, rel=1e-5) and found.above(3.01) < 0.01


def test_the_integrals_are_those_of_a_multivariate_t(monkeypatch):
    """Weights and predictions against scipy's density of all scores of two grid points, at one observation an epoch."""
    monkeypatch.setattr(learning_curves, "_INDEPENDENT", 1.0)
    rng = np.random.default_rng(0)
    curve, final = rng.uniform(size=5), 0.8
    g = np.sort(rng.uniform(size=(2, 6)))[:, ::-1]
    features = np.stack([np.ones_like(g), g], axis=-1)
    weights, centres, scales = learning_curves._regression(features, np.array([0.3, 0.7]), curve)

    def density(point, values):
        x = features[point, : len(values)]
        shape: Any = (np.eye(len(values)) + 9 * x @ x.T) * 1e-5
        return stats.multivariate_t(x @ [1.0, -1.0], shape, df=2).logpdf(values)

    assert np.all(weights > 0), "both points rise"
    expected = np.log(0.7 / 0.3) + density(1, curve) - density(0, curve)
    assert np.log(weights[1] / weights[0]) == pytest.approx(expected)
    for point in range(2):
        ratio = density(point, np.append(curve, final)) - density(point, curve)
        assert stats.t.logpdf(final, 2 + 5, centres[point], scales[point]) == pytest.approx(ratio)


@pytest.fixture(scope="module")
def real_curves():
    if not LOGS.exists():
        pytest.skip("the logs of NAS-Bench-NLP are not in ../shared/data")
    return load_loss_curves(LOGS)


def test_real_curves_are_predicted_and_the_probabilities_hold(real_curves):
    """Every ninth of the curves on which no constant was chosen; the whole is `jdarts.bench.learning_curves`."""
    assert len(real_curves) == 343 and min(curve.validation.min() for curve in real_curves) == pytest.approx(
        4.5676, abs=1e-4
    )
    complete = [curve for curve in real_curves if len(curve.validation) == 50]
    judged = complete[1::9]
    for seen in (12, 25):
        found = judge(judged, seen)
        assert np.median(found.errors) < 0.6 * np.median(found.naive)
        assert 0.35 < found.coverage(0.5) < 0.72 and found.coverage(0.9) > 0.8
    share, loss = stopping(judged, np.arange(len(judged)))
    assert share < 0.6 and loss < 0.02


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_pruner_ends_trials_that_will_not_become_the_best(direction):
    sign = 1 if direction == "maximize" else -1
    study = optuna.create_study(direction=direction, pruner=pruner_by_name("learning_curve"))

    def run(limit):
        trial = study.ask()
        score = 0.0
        for epoch in range(1, 21):
            score = sign * (limit - 30 * epoch**-0.9)
            trial.report(score, epoch)
            if trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                return epoch
        study.tell(trial, score)
        return 20

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    epochs = [run(limit) for limit in (80, 70, 90, 85)]
    assert epochs[0] == epochs[2] == 20 and 8 <= epochs[1] < 13 and 8 <= epochs[3] < 16
    optuna.logging.set_verbosity(before)


def test_a_pruner_without_a_whole_curve_waits():
    study = optuna.create_study(direction="maximize", pruner=LearningCurvePruner(0.9, warmup=4, final=9))
    trial = study.ask()
    for epoch in (1, 2, 4, 5, 6):
        trial.report(0.0, epoch)
    assert not trial.should_prune(), "no complete trial"
    study.add_trial(optuna.trial.create_trial(value=5.0))
    assert not trial.should_prune(), "a gap"
    trial.report(0.0, 3)
    assert trial.should_prune()


def write_logs(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("log.json", content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps({"train_losses": [1.0]}), "val_losses must be a list of numbers"),
        ('{"train_losses": [1.0], "test_losses": [1.0], "val_losses": "[1, 2]"}', "different lengths"),
        ("{", "cannot read"),
    ],
)
def test_damaged_logs_are_told(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        load_loss_curves(write_logs(tmp_path / "logs.zip", content))


def test_losses_may_be_texts_and_end_where_a_training_diverged(tmp_path):
    text = {name: "[3.0, 2.5, 2.25]" for name in ("train_losses", "val_losses", "test_losses")}
    (found,) = load_loss_curves(write_logs(tmp_path / "logs.zip", json.dumps(text)))
    assert found.validation.tolist() == [3.0, 2.5, 2.25]
    assert load_loss_curves(write_logs(tmp_path / "nan.zip", json.dumps(text | {"val_losses": "[1.0, nan, 2]"}))) == []
    (cut,) = load_loss_curves(
        write_logs(tmp_path / "cut.zip", json.dumps(text | {"val_losses": [2.0, 1.0, float("inf")]}))
    )
    assert cut.train.tolist() == [3.0, 2.5] and cut.validation.tolist() == [2.0, 1.0]
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(UserError, match="cannot read"):
        load_loss_curves(tmp_path / "text")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: extrapolate([1, 2, 3], 9), "give at least 4 finite scores"),
        (lambda: extrapolate([1, 2, 3, np.nan], 9), "give at least 4 finite scores"),
        (lambda: extrapolate([1, 2, 3, 4], 4), "epoch 4 cannot be predicted from 4 epochs"),
        (lambda: LearningCurvePruner(2.0), "threshold is 2.0"),
        (lambda: LearningCurvePruner(warmup=3), "warmup is 3; use a whole number of at least 4"),
    ],
)
def test_what_cannot_be_is_told(make, message):
    with pytest.raises(UserError, match=message):
        make()
