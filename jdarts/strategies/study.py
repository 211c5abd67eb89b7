"""A search as a study of Optuna: proposals of a strategy, scores of an estimator, a storage that others can join."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from jdarts.errors import UserError
from jdarts.estimation import ACCURACY, Budget, Criterion, PerformanceEstimator
from jdarts.genotypes import excerpt
from jdarts.spaces.decisions import Choices, DecisionSpace
from jdarts.strategies.parameters import Parameters
from jdarts.strategies.strategy import Strategy, at_least

DONE = (TrialState.COMPLETE, TrialState.PRUNED)
"""The states of trials that count."""


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
      trials: the number of evaluated architectures, pruned trials included. Of several workers, each may be at one more
        when the last one is done; it counts as well.
      objectives: one, or several for strategies such as `nsga2`.
      storage: None keeps the study in memory; a path is a journal file, which processes and hosts can share; a URL such
        as `postgresql://…` is a database.
      budget: what each estimate may cost.

    Every trial has the parameters of its decisions and the attribute `score`: values, cost in seconds (or null) and the
    text of the architecture. Choices that describe no architecture are pruned. An exception of the estimator ends the
    search, with its trial marked as failed; a later call continues.

    Raises `UserError` for a storage that cannot be opened or has a study of another space or of other objectives.
    """
    at_least("trials", trials, 1)
    if isinstance(strategy, Strategy):
        strategy.check_objectives(len(objectives))
    study = open_study(space, strategy, objectives=objectives, storage=storage)
    parameters = Parameters(space)

    def evaluate(trial: Trial) -> tuple[float, ...]:
        found = parameters.suggest(trial)
        if found is None or not space.is_valid(found):
            raise optuna.TrialPruned("the choices describe no architecture")
        architecture = space.decode(found)
        score = estimator(architecture, budget or {})
        text = architecture.to_text() if hasattr(architecture, "to_text") else str(architecture)
        trial.set_user_attr("score", {"values": dict(score.values), "cost": score.cost, "architecture": text})
        return tuple(objective(score) for objective in objectives)

    def stop_at_last(study: Study, trial: FrozenTrial) -> None:
        if trial.number + 1 >= trials and _done(study) >= trials:  # numbers are counted over all workers
            study.stop()

    missing = trials - _done(study)
    if missing > 0:
        with _quiet():
            study.optimize(evaluate, callbacks=[stop_at_last])
    return study


def open_study(
    space: DecisionSpace,
    strategy: BaseSampler | None = None,
    *,
    objectives: Sequence[Criterion] = (ACCURACY,),
    storage: BaseStorage | str | Path | None = None,
    name: str = "jdarts",
) -> Study:
    """The study in a storage, which is made if there is none; arguments and errors as in `run_study`."""
    if not objectives:
        raise UserError("there is no objective; give at least one, such as criterion('accuracy')")
    directions = [StudyDirection.MAXIMIZE if o.maximize else StudyDirection.MINIMIZE for o in objectives]
    about = {"space": space.name, "objectives": [objective.name for objective in objectives]}
    with _quiet():
        opened = _opened(storage)
        study = optuna.create_study(
            storage=opened,
            sampler=strategy,
            study_name=name,
            load_if_exists=True,
            directions=directions,
        )
        known = study.user_attrs.get("jdarts")
        if known is None and not study.get_trials(deepcopy=False):
            study.set_user_attr("jdarts", about)
        elif known != about or study.directions != directions:
            raise UserError(
                f"the study {name!r} in {_shown(storage)} is of {excerpt(known, 120)}, this search of "
                f"{excerpt(about, 120)}; use another storage"
            )
    return study


def choices_of(space: DecisionSpace, trial: FrozenTrial) -> Choices:
    """The choices of a trial; raises `UserError` for a trial of another space."""
    choices = Parameters(space).choices(trial.params)
    if choices is None:
        raise UserError(f"trial {trial.number} has no choices of space {space.name}: {excerpt(trial.params, 120)}")
    return choices


def _done(study: Study) -> int:
    return sum(trial.state in DONE for trial in study.get_trials(deepcopy=False))


def _opened(storage: BaseStorage | str | Path | None) -> BaseStorage | None:
    if storage is None or isinstance(storage, BaseStorage):
        return storage
    try:
        if isinstance(storage, str) and "://" in storage:
            return optuna.storages.RDBStorage(storage)
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        backend = JournalFileBackend(str(storage))
        return optuna.storages.JournalStorage(backend)
    except Exception as error:  # drivers of databases have errors of their own
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"cannot open the storage {_shown(storage)}: {reason}") from None


def _shown(storage: Any) -> str:
    """The storage for a message, without the password of a URL."""
    text = str(storage) if isinstance(storage, str | Path) else type(storage).__name__
    head, at, tail = text.rpartition("@")
    return f"{head.partition('://')[0]}://…{at}{tail}" if at and "://" in head else text


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's line for every trial, which also looks for the best trial each time.

    Its warning of a failed trial contains a traceback; the exception itself is raised.
    """
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, logging.ERROR))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
