"""All strategies: every space, resuming, several workers, histories out of order, and what they cannot serve."""

import datetime
import threading
from functools import partial

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from support.lopsided import lopsided

from jdarts import spaces, strategies
from jdarts.errors import UserError
from jdarts.strategies import RegularizedEvolution, by_name, simulate
from jdarts.strategies.history import Evaluation, StudyHistory
from jdarts.strategies.parameters import Parameters

SMALL = {
    "random": {},
    "regularized_evolution": {"population": 5, "sample": 3, "mutation": "nasnet"},
    "genetic": {"population": 6, "parents": 2},
    "reinforce": {"hidden": None, "learning_rate": 0.3},
    "ppo": {"hidden": None, "learning_rate": 0.3, "batch": 4},
    "pnas": {"keep": 4, "members": 2, "hidden": 4, "embedding": 4, "steps": 10},
}
OWN = pytest.mark.parametrize("name", SMALL)
MIXED = {"optimizer": CategoricalDistribution(["adam", "sgd"]), "depth": IntDistribution(2, 8, step=3)}


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def score(choices):
    return float(np.sin(np.arange(1, len(choices) + 1) * (1 + np.array(choices))).sum())


def objective(trial, space):
    values = {d.name: trial.suggest_categorical(d.name, range(d.options)) for d in space.decisions}
    return score(tuple(values.values()))


def params(study):
    return [trial.params for trial in study.get_trials(deepcopy=False)]


@OWN
@pytest.mark.parametrize("space", ["darts_cnn", "robust_s1", "nasbench201", "nasbench_macro", "mnasnet", "mobile_s5"])
def test_every_strategy_proposes_architectures_of_every_space(name, space):
    space = spaces.get_decisions(space)
    evaluations = simulate(by_name(name, space, seed=1, **SMALL[name]), score, 14)
    assert all(space.decode(evaluation.choices) for evaluation in evaluations)
    assert len({evaluation.choices for evaluation in evaluations}) > 3


@OWN
def test_choices_that_no_edge_has_are_not_proposed(name):
    space = lopsided()
    evaluations = simulate(by_name(name, space, **SMALL[name]), score, 30)
    assert all(space.is_valid(evaluation.choices) for evaluation in evaluations)


@OWN
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_fresh_sampler_continues_as_the_old_one_would(name, direction):
    """Trial by trial; the simulation without Optuna proposes the same, too."""
    space = spaces.nasbench201
    whole = optuna.create_study(direction=direction, sampler=by_name(name, space, seed=3, **SMALL[name]))
    whole.optimize(partial(objective, space=space), n_trials=26)
    storage = optuna.storages.InMemoryStorage()
    for trials in (9, 1, 16):
        sampler = by_name(name, space, seed=3, **SMALL[name])
        part = optuna.create_study(
            direction=direction, storage=storage, study_name="s", load_if_exists=True, sampler=sampler
        )
        part.optimize(partial(objective, space=space), n_trials=trials)
    assert params(part) == params(whole)
    sign = 1.0 if direction == "maximize" else -1.0
    simulated = simulate(by_name(name, space, seed=3, **SMALL[name]), lambda choices: sign * score(choices), 26)
    assert [tuple(trial.values()) for trial in params(whole)] == [evaluation.choices for evaluation in simulated]
    other = simulate(by_name(name, space, seed=4, **SMALL[name]), score, 26)
    assert [e.choices for e in other] != [e.choices for e in simulated]


@OWN
def test_workers_share_a_journal(name, tmp_path):
    """Two workers take turns, each with a sampler and a storage of its own that are replaced on the way."""
    space = spaces.nasbench201

    def worker():
        backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
        return optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            sampler=by_name(name, space, seed=3, **SMALL[name]),
            study_name="s",
            load_if_exists=True,
            direction="maximize",
        )

    first = worker()
    for trials in (5, 4, 3):
        second = worker()
        first.optimize(partial(objective, space=space), n_trials=trials)
        second.optimize(partial(objective, space=space), n_trials=trials)
    alone = simulate(by_name(name, space, seed=3, **SMALL[name]), score, 24)
    assert [tuple(trial.values()) for trial in params(first)] == [evaluation.choices for evaluation in alone]


def test_threads_share_a_sampler():
    space = spaces.nasbench201
    study = optuna.create_study(direction="maximize", sampler=by_name("regularized_evolution", space, population=3))
    study.optimize(partial(objective, space=space), n_trials=40, n_jobs=4)
    assert len(study.trials) == 40 and all(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert threading.active_count() < 40


def finished(number, second, value, state=TrialState.COMPLETE):
    trial = create_trial(state=state, value=value, params={"a": number}, distributions={"a": IntDistribution(0, 9)})
    trial.datetime_complete = datetime.datetime(2024, 1, 1, 0, 0, second)
    return trial


def test_history_is_in_the_order_of_completion():
    """Also where a trial of another host turns up late with an earlier time; failed trials and NaN do not count."""
    study = optuna.create_study(direction="minimize")
    history = StudyHistory(study, Parameters(RegularizedEvolution({"a": IntDistribution(0, 9)}).space))
    study.add_trial(finished(0, 10, 1.0))
    study.add_trial(finished(1, 30, 2.0))
    study.add_trial(finished(2, 5, None, TrialState.FAIL))
    asked = study.ask({"a": IntDistribution(0, 9)})
    history.update()
    assert history.evaluations == [Evaluation(0, (0,), -1.0), Evaluation(1, (1,), -2.0)] and history.revision == 0
    assert history.running == [(asked.params["a"],)]
    study.add_trial(finished(4, 20, 3.0))
    study.add_trial(finished(5, 40, float("inf")))
    history.update()
    assert [e.number for e in history.evaluations] == [0, 4, 1] and history.revision == 1
    study.tell(asked, 0.5)  # now, after the others
    history.update()
    history.update()
    assert [e.number for e in history.evaluations] == [0, 4, 1, 3] and history.revision == 1
    assert history.running == []


def test_what_a_controller_learned_is_derived_again_if_the_order_changes():
    space, settings = {"a": IntDistribution(0, 9)}, {"hidden": None, "learning_rate": 0.1}
    study = optuna.create_study(direction="maximize")
    old, new = (by_name("reinforce", strategies.ParameterSpace(space), **settings) for _ in range(2))
    history = StudyHistory(study, old.parameters)
    for number, second in enumerate((10, 30, 20, 40)):
        study.add_trial(finished(number, second, float(number)))
        history.update()
        old.learned(history)
    again = StudyHistory(study, new.parameters)
    again.update()
    np.testing.assert_array_equal(old.learned(history).params, new.learned(again).params)


@pytest.mark.parametrize("name", ["regularized_evolution", "reinforce", "genetic"])
def test_any_objective_of_optuna_can_be_searched(name):
    """Categorical values and whole numbers of a user's own objective; other parameters are drawn at random."""
    sampler = by_name(
        name, strategies.ParameterSpace(MIXED), **SMALL[name] | ({"population": 2} if name == "genetic" else {})
    )
    study = optuna.create_study(direction="minimize", sampler=sampler)

    def loss(trial):
        depth, rate = trial.suggest_int("depth", 2, 8, step=3), trial.suggest_float("rate", 0.1, 0.2)
        return depth + rate + (trial.suggest_categorical("optimizer", ["adam", "sgd"]) == "sgd")

    study.optimize(loss, n_trials=6)
    assert {trial.params["depth"] for trial in study.trials} <= {2, 5, 8}
    assert len({trial.params["rate"] for trial in study.trials}) == 6


@pytest.mark.parametrize("name", ["nsga2", "tpe", "grid"])
def test_samplers_of_optuna_work_in_any_space(name):
    space = spaces.nasbench_macro
    study = optuna.create_study(direction="maximize", sampler=by_name(name, space, seed=0))
    study.optimize(partial(objective, space=space), n_trials=12)
    assert all(space.decode(tuple(trial.values())) for trial in params(study))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: by_name("regularised_evolution", spaces.nasbench201), "did you mean 'regularized_evolution'"),
        (lambda: by_name("ppo", spaces.nasbench201, clipp=0.1), "unknown option of strategy ppo 'clipp'; did you mean"),
        (lambda: by_name("ppo", spaces.nasbench201, clip=-0.1), "clip is -0.1"),
        (lambda: by_name("tpe", spaces.nasbench201, gammma=3), "unknown option of strategy tpe"),
        (lambda: by_name("nsga2", spaces.nasbench201, population_size=1), "strategy nsga2: "),
        (lambda: by_name("grid", spaces.darts_cnn), "a grid over space darts_cnn has .* points"),
        (lambda: RegularizedEvolution({"rate": FloatDistribution(0, 1)}), "parameter rate is a FloatDistribution"),
        (lambda: RegularizedEvolution({"one": IntDistribution(3, 3)}), "decision one has 1 options"),
        (lambda: RegularizedEvolution({}), "there are no parameters"),
    ],
)
def test_what_cannot_be_is_told(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_one_objective_is_needed():
    sampler = by_name("regularized_evolution", spaces.nasbench201)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    with pytest.raises(UserError, match="optimises one objective; the study has 2: use nsga2"):
        study.ask(sampler.parameters.distributions)


def test_the_gaussian_process_needs_pytorch(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="gp needs PyTorch"):
        by_name("gp", spaces.nasbench201)
