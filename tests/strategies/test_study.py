"""Searches as studies: strategies with estimators, storages, resuming, invalid choices, failures, other studies."""

import json
import sys
import threading
import time
import warnings

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from support.lopsided import lopsided
from support.strategy_names import every_strategy

from jdarts import spaces
from jdarts.errors import Diverged, UserError
from jdarts.estimation import Score, criterion, mnasnet_product
from jdarts.strategies import ParameterSpace, by_name, choices_of, open_study, run_study
from jdarts.strategies import storage as storages
from jdarts.strategies.parameters import Parameters
from jdarts.strategies.places import Places
from jdarts.strategies.study import evaluation, optimize

SPACE = spaces.nasbench_macro


def estimator(network, budget):
    """More digits are better and slower."""
    digits = sum(map(int, network.to_text()))
    return Score({"accuracy": float(digits) + budget.get("epochs", 0), "latency": 1.0 + digits}, cost=2.0)


@pytest.mark.parametrize("name", every_strategy())
def test_every_strategy_searches(name):
    settings = {"hidden": None} if name in ("reinforce", "ppo") else {"steps": 10} if name == "pnas" else {}
    study = run_study(SPACE, by_name(name, SPACE, seed=0, **settings), estimator, trials=12)
    assert len(study.trials) == 12
    best = study.best_trial
    network = SPACE.decode(choices_of(SPACE, best))
    assert best.user_attrs["score"] == {
        "values": dict(estimator(network, {}).values),
        "cost": 2.0,
        "architecture": network.to_text(),
    }
    assert best.value == sum(map(int, network.to_text()))


def test_a_journal_continues_in_another_process_and_is_not_taken_for_another_search(tmp_path):
    path = tmp_path / "run" / "journal"

    def search(trials, **settings):
        return run_study(SPACE, by_name("random", SPACE), estimator, trials=trials, storage=path, **settings)

    assert len(search(3).trials) == 3
    study = search(5, budget={"epochs": 100})
    assert len(study.trials) == 5 and [trial.value > 99 for trial in study.trials] == [False] * 3 + [True] * 2
    assert len(search(5).trials) == 5, "nothing is missing"
    assert all(json.loads(line) for line in path.read_text().splitlines()), "text, and nothing pickled"
    with pytest.raises(UserError, match=r"'jdarts' in .*journal is of another search \(space: 'nasbench_macro'"):
        run_study(spaces.mnasnet, by_name("random", spaces.mnasnet), estimator, trials=5, storage=path)
    with pytest.raises(UserError, match="use another storage"):
        search(5, objectives=[criterion("latency")])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot open the storage"):
        run_study(SPACE, by_name("random", SPACE), estimator, trials=5, storage=tmp_path / "file" / "journal")
    with pytest.raises(UserError, match=r"cannot open the storage nosuch://…@host/db"):
        open_study(SPACE, storage="nosuch://user:secret@host/db")


def test_several_workers_stop_together(tmp_path):
    """Two threads with storages of their own. If both begin the last trial, one of the two trials fails."""
    studies = []

    def work():
        strategy = by_name("regularized_evolution", SPACE, seed=1, population=4, sample=2)
        studies.append(run_study(SPACE, strategy, estimator, trials=30, storage=tmp_path / "journal"))

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    trials = studies[0].trials
    states = [trial.state for trial in trials]
    assert states.count(TrialState.COMPLETE) == 30 and states.count(TrialState.FAIL) == len(trials) - 30 <= 1
    assert all(
        "have begun the last" in trial.user_attrs["reason"] for trial in trials if trial.state == TrialState.FAIL
    )
    assert [trial.number for trial in trials] == list(range(len(trials)))


@pytest.mark.parametrize("kind", ["journal", pytest.param("sqlite", marks=pytest.mark.slow)])
@pytest.mark.parametrize("signs", [0, 1])
def test_a_lost_trial_is_found_and_retried_once(kind, signs, tmp_path, monkeypatch):
    """A trial that is asked for and never finished is that of a killed worker; some die before the first heartbeat."""
    storage = f"sqlite:///{tmp_path}/db" if kind == "sqlite" else tmp_path / "journal"
    silence, wait = (1, 2.1) if kind == "sqlite" else (0.1, 0.2)  # databases count whole seconds
    strategy = by_name("random", SPACE)

    def lose():
        """Begin a trial, give its signs of life, and never finish."""
        study = open_study(SPACE, strategy, storage=storage)
        with warnings.catch_warnings(action="ignore"):
            trial = study.ask(Parameters(SPACE).distributions)
        for _ in range(signs):
            study._storage.record_heartbeat(trial._trial_id)
        return trial

    def states(trials):
        return [trial.state.name for trial in trials]

    lost = lose()
    study = open_study(SPACE, strategy, storage=storage)
    places = Places(study, 1)
    assert not places.free() and not places.full(), "it may still run"
    assert places.has(0) and not places.has(1) and Places(study, 2).free()
    monkeypatch.setattr(storages, "SILENCE", silence)
    time.sleep(wait)
    trials = run_study(SPACE, strategy, estimator, trials=2, storage=storage).trials
    assert states(trials) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert trials[1].params == lost.params, "the retry"
    assert trials[1].user_attrs["score"]["values"]["accuracy"] == trials[1].value
    for expected in (["FAIL", "WAITING"], ["FAIL", "FAIL"]):  # another trial and its retry are lost
        lose()
        time.sleep(wait)
        study = open_study(SPACE, strategy, storage=storage)
        with warnings.catch_warnings(action="ignore"):
            optuna.storages.fail_stale_trials(study)
        assert states(study.trials)[3:] == expected


def test_a_journal_lists_what_optuna_lists(tmp_path):
    """After trials of every state, some of them changed between two listings by another process."""
    path = tmp_path / "journal"
    study = open_study(SPACE, by_name("random", SPACE), storage=path)
    ours, optunas = study._storage, JournalStorage(JournalFileBackend(str(path)))
    for state in (TrialState.COMPLETE, TrialState.RUNNING, TrialState.PRUNED, TrialState.WAITING, TrialState.FAIL):
        for storage in (ours, optunas):
            waiting = optuna.trial.create_trial(state=TrialState.WAITING)
            trial = storage.create_new_trial(study._study_id, waiting if state == TrialState.WAITING else None)
            if state.is_finished():
                assert len(ours.get_all_trials(study._study_id, deepcopy=False, states=(TrialState.RUNNING,))) > 0
                storage.set_trial_user_attr(trial, "seen", True)
                storage.set_trial_state_values(trial, state, [1.0] if state == TrialState.COMPLETE else None)
        for states in (None, (state,), (TrialState.RUNNING, TrialState.WAITING), TrialState):
            for deepcopy in (False, True):
                listed = ours.get_all_trials(study._study_id, deepcopy, states)
                assert listed == optunas.get_all_trials(study._study_id, deepcopy, states)
    with pytest.raises(KeyError):
        ours.get_all_trials(study._study_id + 1)


@pytest.mark.parametrize("kind", ["memory", "journal"])
def test_a_trial_costs_the_same_after_many_others(kind, tmp_path, monkeypatch):
    """Counted in lines of Python; lists of all trials that are made in Python would double them here."""
    monkeypatch.setattr("os.fsync", lambda file: None)  # the disk is not what is counted
    strategy = by_name("regularized_evolution", SPACE, seed=0, population=10, sample=3)
    study = open_study(SPACE, strategy, storage=None if kind == "memory" else tmp_path / "journal")
    evaluate = evaluation(SPACE, estimator, [criterion("accuracy")], {})

    def lines(trials):
        count = 0

        def trace(frame, event, argument):
            nonlocal count
            count += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            optimize(study, evaluate, trials)
        finally:
            sys.settrace(before)
        return count

    optimize(study, evaluate, 20)
    early = lines(40)
    optimize(study, evaluate, 300)
    assert lines(320) < 1.1 * early


def test_a_trial_that_others_have_given_up_is_dropped(tmp_path):
    storage = tmp_path / "journal"

    def slow(network, budget):
        other = open_study(SPACE, storage=storage)
        if other.trials[-1].number == 1:
            other._storage.set_trial_state_values(other.trials[1]._trial_id, TrialState.FAIL)
        return estimator(network, budget)

    study = run_study(SPACE, by_name("random", SPACE), slow, trials=3, storage=storage)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def test_a_diverged_estimate_is_pruned():
    def diverging(network, budget):
        raise Diverged("the loss is not finite")

    study = run_study(SPACE, by_name("random", SPACE), diverging, trials=2)
    assert [(t.state.name, t.user_attrs["reason"]) for t in study.trials] == [("PRUNED", "the loss is not finite")] * 2


def test_pruners_see_the_intermediate_scores():
    class Curve:
        """Three epochs; an architecture's accuracy is its trial's rank from the start."""

        def __call__(self, network, budget):
            return self.reporting(network, budget, lambda epoch, score: None)

        def reporting(self, network, budget, report):
            digits = sum(map(int, network.to_text()))
            for epoch in (1, 2):
                report(epoch, Score({"accuracy": digits + epoch}))
            return Score({"accuracy": digits + 3.0})

    pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    study = open_study(SPACE, by_name("random", SPACE), pruner=pruner)
    optimize(study, evaluation(SPACE, Curve(), [criterion("accuracy")], {}), 20)
    pruned = [t for t in study.trials if t.state == TrialState.PRUNED]
    complete = [t for t in study.trials if t.state == TrialState.COMPLETE]
    assert len(pruned) > 3 and len(complete) > 3 and all(list(t.intermediate_values) == [1] for t in pruned)
    assert max(t.intermediate_values[1] for t in pruned) < study.best_value - 2


def test_choices_that_are_no_architecture_are_pruned():
    """Samplers of Optuna do not know that an edge lacks an op."""
    space = lopsided()
    study = run_study(space, by_name("tpe", space), lambda g, budget: Score({"accuracy": 1.0}), trials=20)
    states = [trial.state for trial in study.trials]
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED} and len(states) == 20


def test_a_failing_estimate_ends_the_search_and_a_later_one_continues(tmp_path, capfd):
    calls = []

    def failing(network, budget):
        calls.append(network)
        if len(calls) == 3:
            raise UserError("the table has no such network")
        return estimator(network, budget)

    def search():
        return run_study(SPACE, by_name("random", SPACE), failing, trials=4, storage=tmp_path / "journal")

    with pytest.raises(UserError, match="no such network"):
        search()
    assert "Traceback" not in "".join(capfd.readouterr())
    states = [trial.state.name for trial in search().trials]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def test_several_objectives_and_products():
    two = [criterion("accuracy"), criterion("latency")]
    study = run_study(SPACE, by_name("nsga2", SPACE, seed=0, population_size=8), estimator, trials=24, objectives=two)
    assert len(study.best_trials) >= len({trial.values[0] for trial in study.best_trials}) > 3
    assert len(run_study(SPACE, by_name("random", SPACE), estimator, trials=3, objectives=two).best_trials) > 0
    with pytest.raises(UserError, match="Reinforce optimises one objective; the study has 2: use nsga2"):
        run_study(SPACE, by_name("reinforce", SPACE), estimator, trials=1, objectives=two)
    product = mnasnet_product(5.0)
    study = run_study(SPACE, by_name("random", SPACE), estimator, trials=5, objectives=[product])
    for trial in study.trials:
        digits = trial.user_attrs["score"]["values"]["accuracy"]
        assert trial.value == pytest.approx(digits * ((1 + digits) / 5) ** -0.07)


def test_parameters_of_any_kind_are_searched():
    space = ParameterSpace({"kind": CategoricalDistribution(["a", "b"]), "depth": IntDistribution(2, 8, step=3)})

    def depth_plus_kind(choices, budget):
        return Score({"accuracy": float(sum(choices))})

    study = run_study(space, by_name("genetic", space, population=2), depth_plus_kind, trials=6)
    assert study.best_params == {"kind": "b", "depth": 8} and study.best_value == 3


def test_mistakes_are_told():
    with pytest.raises(UserError, match="trials is 0"):
        run_study(SPACE, by_name("random", SPACE), estimator, trials=0)
    with pytest.raises(UserError, match="there is no objective"):
        run_study(SPACE, by_name("random", SPACE), estimator, trials=1, objectives=[])
    study = run_study(SPACE, by_name("random", SPACE), estimator, trials=1)
    with pytest.raises(UserError, match="trial 0 has no choices of space mnasnet"):
        choices_of(spaces.mnasnet, study.trials[0])
