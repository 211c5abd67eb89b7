"""A search as a study of Optuna: proposals of a strategy, scores of an estimator, a storage that others can join."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from jdarts.errors import Diverged, UserError
from jdarts.estimation import ACCURACY, Budget, Criterion, PerformanceEstimator, ReportingEstimator, Score
from jdarts.genotypes import excerpt
from jdarts.spaces.decisions import Choices, DecisionSpace
from jdarts.strategies.parameters import Parameters
from jdarts.strategies.places import Places
from jdarts.strategies.storage import awaited, open_storage, shown, told
from jdarts.strategies.strategy import Strategy, at_least

RunTrial = Callable[[Trial], "tuple[float, ...]"]
"""Runs a trial: the values of its objectives. Raises `optuna.TrialPruned` for one without."""

_WAIT = 1.0
"""Seconds between two looks at the trials of other workers."""
_RUNNING = (TrialState.RUNNING,)
_PATIENCE = 3
"""The number of such looks after which a worker tells for what it waits."""


def run_study(
    space: DecisionSpace,
    strategy: BaseSampler,
    estimator: PerformanceEstimator,
    *,
    trials: int,
    objectives: Sequence[Criterion] = (ACCURACY,),
    storage: BaseStorage | str | Path | None = None,
    budget: Budget | None = None,
) -> Study:
    """Search until the study has that many trials, those of other workers and of earlier calls included.

    Args:
      space: a space of decisions.
      strategy: see `by_name`; any sampler of Optuna.
      estimator: scores architectures.
      trials: see `optimize`.
      objectives: one, or several for strategies such as `nsga2`.
      storage: None keeps the study in memory; a path is a journal file, which processes and hosts can share; a URL such
        as `postgresql://…` is a database.
      budget: what each estimate may cost.

    The trials are those of `evaluation`. An exception of the estimator ends the search, with its trial marked as
    failed; a later call continues.

    Raises `UserError` for a storage that cannot be opened or has a study of another space or of other objectives.
    """
    at_least("trials", trials, 1)
    if isinstance(strategy, Strategy):
        strategy.check_objectives(len(objectives))
    study = open_study(space, strategy, objectives=objectives, storage=storage)
    optimize(study, evaluation(space, estimator, objectives, budget or {}), trials)
    return study


def evaluation(
    space: DecisionSpace, estimator: PerformanceEstimator, objectives: Sequence[Criterion], budget: Budget
) -> RunTrial:
    """The function that estimates the architecture of a trial.

    Every trial has the parameters of its decisions and the attribute `score`: values, cost in seconds (or null) and the
    text of the architecture. Choices that describe no architecture are pruned, and so are trainings that diverge, with
    the reason as the attribute `reason`. With one objective, the intermediate scores of a `ReportingEstimator` go to
    the pruner of the study.
    """
    parameters = Parameters(space)

    def evaluate(trial: Trial) -> tuple[float, ...]:
        found = parameters.suggest(trial)
        if found is None or not space.is_valid(found):
            raise optuna.TrialPruned("the choices describe no architecture")
        architecture = space.decode(found)
        score = _estimate(trial, estimator, architecture, objectives, budget)
        text = text_of(architecture)
        trial.set_user_attr("score", {"values": dict(score.values), "cost": score.cost, "architecture": text})
        return tuple(objective(score) for objective in objectives)

    return evaluate


def text_of(architecture: Any) -> str:
    """The text of an architecture, that of `to_text` if it has this method."""
    return architecture.to_text() if hasattr(architecture, "to_text") else str(architecture)


def optimize(
    study: Study,
    evaluate: RunTrial,
    trials: int,
    after: Callable[[Study], None] = lambda study: None,
    *,
    stopped: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda text: None,
) -> None:
    """Run trials until the study has exactly that many, those of other workers included.

    Args:
      study: its sampler proposes the parameters.
      evaluate: runs a trial.
      trials: the number of evaluated trials, pruned ones included.
      after: called after each trial of this process, and every second while other workers run the last trials.
      stopped: True if no further trial shall begin.
      tell: receives a line when this worker waits for others.

    A worker that finds nothing to do waits for the trials of the others, and repeats those that are lost. If two
    workers begin the last trial at the same time, one of the two trials fails, with the reason as the attribute
    `reason`. A trial that other workers have given up, for instance while this computer was asleep, is dropped.
    """
    places, given_up = Places(study, trials), []

    def run(trial: Trial) -> tuple[float, ...]:
        if not places.has(trial.number):
            trial.set_user_attr("reason", f"other workers have begun the last of the {trials} trials")
            raise _Surplus
        try:
            return evaluate(trial)
        except UpdateFinishedTrialError:
            given_up.append(trial.number)
            raise

    def pause(study: Study, trial: FrozenTrial) -> None:
        after(study)
        if stopped() or not places.free():
            study.stop()

    while _await_work(study, places, after, stopped, tell):
        try:
            with quiet():
                study.optimize(run, callbacks=[pause], catch=(_Surplus,))
        except ValueError:  # Optuna's, when it cannot complete the trial
            if not given_up:
                raise
            given_up.clear()


def _await_work(
    study: Study,
    places: Places,
    after: Callable[[Study], None],
    stopped: Callable[[], bool],
    tell: Callable[[str], None],
) -> bool:
    """True when a trial can begin, as soon as one is lost at the latest; False when none is left to begin."""
    looks = 0
    while not stopped() and not places.full():
        if places.free():
            return True
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            optuna.storages.fail_stale_trials(study)
        if places.free():
            return True
        looks += 1
        if looks == _PATIENCE:
            running = study._storage.get_all_trials(study._study_id, deepcopy=False, states=_RUNNING)
            tell(awaited(running))
        time.sleep(_WAIT)
        after(study)
    return False


class _Surplus(Exception):
    """The study has enough trials without this one."""


def _estimate(
    trial: Trial, estimator: PerformanceEstimator, architecture: Any, objectives: Sequence[Criterion], budget: Budget
) -> Score:
    def report(epoch: int, score: Score) -> None:
        trial.report(objectives[0](score), epoch)
        if trial.should_prune():
            raise optuna.TrialPruned(f"pruned after epoch {epoch}")

    prunes = len(objectives) == 1 and not isinstance(trial.study.pruner, optuna.pruners.NopPruner)
    try:
        if prunes and isinstance(estimator, ReportingEstimator):
            return estimator.reporting(architecture, budget, report)
        return estimator(architecture, budget)
    except Diverged as error:
        trial.set_user_attr("reason", str(error))
        raise optuna.TrialPruned(str(error)) from None


def open_study(
    space: DecisionSpace | str,
    strategy: BaseSampler | None = None,
    *,
    objectives: Sequence[Criterion] = (ACCURACY,),
    storage: BaseStorage | str | Path | None = None,
    name: str = "jdarts",
    pruner: BasePruner | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Study:
    """The study in a storage, which is made if there is none.

    Args:
      space: the space, or the name of what else is searched.
      strategy, objectives, storage: as in `run_study`.
      name: of the study in its storage.
      pruner: decides whether a trial is worth going on with; None for none.
      identity: facts that a study of an earlier call must share.

    Raises `UserError` as `run_study` does.
    """
    if not objectives:
        raise UserError("there is no objective; give at least one, such as criterion('accuracy')")
    directions = [StudyDirection.MAXIMIZE if o.maximize else StudyDirection.MINIMIZE for o in objectives]
    about = {
        "space": space if isinstance(space, str) else space.name,
        "objectives": [objective.name for objective in objectives],
        **(identity or {}),
    }
    opened = open_storage(storage)
    with quiet(), told(storage):
        study = optuna.create_study(
            storage=opened,
            sampler=strategy,
            pruner=pruner or optuna.pruners.NopPruner(),
            study_name=name,
            load_if_exists=True,
            directions=directions,
        )
        known = study.user_attrs.get("jdarts")
        if known is None and not study.get_trials(deepcopy=False):
            study.set_user_attr("jdarts", about)
            with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
                study.set_metric_names(about["objectives"])  # for Optuna's figures and its dashboard
        elif known != about or study.directions != directions:
            raise UserError(
                f"the study {name!r} in {shown(storage)} is of another search ({_difference(known, about)}); give what "
                "that search was given, or use another storage"
            )
    return study


def _difference(known: Any, about: Mapping[str, Any]) -> str:
    if not isinstance(known, Mapping):
        return "not one of jdarts"
    facts = [name for name in about if name != "configuration" and known.get(name) != about[name]]
    words = [f"{name}: {excerpt(known.get(name))} (stored) != {excerpt(about[name])} (given)" for name in facts]
    return "; ".join(words) or "another configuration, strategy, estimator, budget or pruner"


def choices_of(space: DecisionSpace, trial: FrozenTrial) -> Choices:
    """The choices of a trial; raises `UserError` for a trial of another space."""
    choices = Parameters(space).choices(trial.params)
    if choices is None:
        raise UserError(f"trial {trial.number} has no choices of space {space.name}: {excerpt(trial.params, 120)}")
    return choices


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's line for every trial, which also looks for the best trial each time.

    Its warning of a failed trial contains a traceback; the exception itself is raised.
    """
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, logging.ERROR))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
