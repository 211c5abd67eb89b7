"""The plan of a search by trials, and what it is made of: space, sampler, estimator, objectives, pruner."""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.study import Study

from jdarts import __version__, spaces
from jdarts.config import DevicesConfig, Experiment
from jdarts.config.files import to_json
from jdarts.errors import UserError, unknown
from jdarts.estimation import (
    Criterion,
    FromScratch,
    PerformanceEstimator,
    ReportingEstimator,
    criterion,
    inherited,
)
from jdarts.estimation.costs import CostedEstimator, costs_of, with_latency, within
from jdarts.estimation.tables import table_estimator
from jdarts.latency import read_table
from jdarts.runs.kinds import PLAN
from jdarts.spaces.decisions import DecisionSpace, uniform
from jdarts.spaces.limited import LimitedSpace
from jdarts.strategies.pruners import pruner_by_name
from jdarts.strategies.registry import by_name
from jdarts.strategies.running import Task
from jdarts.strategies.storage import open_storage, shown, told
from jdarts.strategies.strategy import Strategy, at_least
from jdarts.strategies.study import evaluation, open_study, quiet

Plan = TypeVar("Plan")
JOURNAL = "journal.log"
ESTIMATORS = ("train", "table", "inherited")
SHARED_SEED = ("grid",)
"""The samplers of Optuna whose seed all processes of a study share: it is the order of the points of the grid."""
_TRIED = 300
"""Random architectures, one of which must be within the limits."""
_NOT_THE_SAME = ("trials", "storage", "jdarts")  # of one study


@dataclass(frozen=True)
class TrialPlan:
    """A search by trials, besides the configuration of its experiment.

    Attributes:
      strategy, options: as in `by_name`.
      trials: the number of evaluated architectures.
      estimator: `train` trains every architecture, `table` looks it up, `inherited` takes the weights of a supernet.
      table: the file of the table; "" is `search.benchmark_table`.
      supernet: the run folder of the search that has trained the supernet.
      objectives: values of the estimates; `jdarts.estimation.measure_of` is the usual one.
      budget: what an estimate may cost.
      pruner: the name of a pruner.
      storage: a URL or a journal file; "" is a journal in the run folder.
      limits: the largest `parameters`, `macs` and `latency` of an architecture; others are not evaluated.
      latency_table: the file of a table of latencies; "" measures a latency that an objective or a limit needs.
    """

    strategy: str
    trials: int
    options: Mapping[str, Any] = field(default_factory=dict)
    estimator: str = "train"
    table: str = ""
    supernet: str = ""
    objectives: tuple[str, ...] = ("accuracy",)
    budget: Mapping[str, float] = field(default_factory=dict)
    pruner: str = "none"
    storage: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    latency_table: str = ""

    @property
    def needs_latency(self) -> bool:
        """True if an objective or a limit is the latency, and the estimator may have to find it."""
        return bool(self.latency_table) or "latency" in (*self.objectives, *self.limits)

    def as_json(self) -> dict[str, Any]:
        """The content of `strategy.json`, with the version of jdarts and without the password of the storage."""
        return {**dataclasses.asdict(self), "storage": shown(self.storage), "jdarts": __version__}


@dataclass(frozen=True)
class Prepared:
    """The parts of a search by trials."""

    config: Experiment
    plan: TrialPlan
    space: DecisionSpace
    sampler: BaseSampler
    estimator: PerformanceEstimator
    objectives: tuple[Criterion, ...]
    pruner: BasePruner


def prepare(config: Experiment, plan: TrialPlan) -> Prepared:
    """The parts of a search, after every check that needs no compilation; raises `UserError`."""
    at_least("trials", plan.trials, 1)
    space: DecisionSpace = spaces.configured_decisions(config.space)
    for option in ("name", "space", "seed"):
        if option in plan.options:
            raise UserError(f"{option} is no option of a strategy; it is part of the configuration")
    sampler = by_name(plan.strategy, space, seed=config.seed, **plan.options)
    if len(set(plan.objectives)) < len(plan.objectives):
        raise UserError(f"the objectives {', '.join(plan.objectives)} name one twice; leave it out")
    objectives = tuple(criterion(name) for name in plan.objectives)
    if isinstance(sampler, Strategy):
        sampler.check_objectives(len(objectives))
    pruner = pruner_by_name(plan.pruner)
    estimator = _estimator(config, plan)
    if plan.limits:
        space = _limited(space, estimator, plan)
        sampler = by_name(plan.strategy, space, seed=config.seed, **plan.options)
    if not isinstance(pruner, NopPruner) and not isinstance(estimator, ReportingEstimator):
        raise UserError(
            f"pruner {plan.pruner} needs intermediate scores, which estimator {plan.estimator} does not have; use none"
        )
    if not isinstance(pruner, NopPruner) and len(objectives) > 1:
        raise UserError(f"pruner {plan.pruner} is for one objective; there are {len(objectives)}: use none")
    _try(space, estimator, plan)
    return Prepared(config, plan, space, sampler, estimator, objectives, pruner)


def _estimator(config: Experiment, plan: TrialPlan) -> PerformanceEstimator:
    if plan.estimator not in ESTIMATORS:
        raise unknown("estimator", plan.estimator, ESTIMATORS)
    for estimator, option, given in (("table", "table", plan.table), ("inherited", "supernet", plan.supernet)):
        if given and plan.estimator != estimator:
            raise UserError(
                f"the {option} {given} has no meaning for estimator {plan.estimator}; use estimator {estimator}"
            )
    if not plan.needs_latency or plan.estimator == "table":
        return _plain_estimator(config, plan)
    table = read_table(plan.latency_table) if plan.latency_table else None
    return with_latency(_plain_estimator(config, plan), table)


def _plain_estimator(config: Experiment, plan: TrialPlan) -> PerformanceEstimator:
    if plan.latency_table and plan.estimator == "table":
        raise UserError("estimator table reads all values from its own table; leave out the table of latencies")
    if plan.estimator == "table":
        return table_estimator(config.space.name, plan.table or config.search.benchmark_table)
    if plan.estimator == "inherited":
        if not plan.supernet:
            raise UserError("estimator inherited needs the weights of a finished search: --supernet RUN")
        return inherited(plan.supernet, config)
    return FromScratch.of(config)


def _limited(space: DecisionSpace, estimator: PerformanceEstimator, plan: TrialPlan) -> LimitedSpace:
    """The space within the limits; raises `UserError` if no random architecture is."""
    limited, rng = LimitedSpace(space, within(estimator, plan.limits, plan.budget)), np.random.default_rng(0)
    for _ in range(_TRIED):
        choices = uniform(space, rng)
        if limited.is_valid(choices):
            return limited
    costs = costs_of(estimator, space.decode(uniform(space, rng)), plan.budget)
    limits = ", ".join(f"{name} {limit:g} (a random one has {costs[name]:g})" for name, limit in plan.limits.items())
    raise UserError(f"none of {_TRIED} random architectures of space {space.name} is within the limits: {limits}")


def _try(space: DecisionSpace, estimator: PerformanceEstimator, plan: TrialPlan) -> None:
    """Check budget, network and objectives on a random architecture, without training it."""
    example = space.decode(uniform(space, np.random.default_rng(0)))
    if isinstance(estimator, CostedEstimator):
        estimator.check(example, plan.budget)
        values = estimator.values
    else:
        values = tuple(estimator(example, plan.budget).values)
    for name in plan.objectives:
        if name not in values:
            raise unknown("objective", name, values)


def open_planned(parts: Prepared, journal: Path, *, resume: bool = False, worker: bool = False) -> Study:
    """The study of a plan, in its storage or the journal of its run folder.

    A worker joins a study that exists; otherwise the study is new, unless `resume`. Samplers of Optuna draw random
    numbers of their own in every process. Raises `UserError` for a storage of another study.
    """
    storage = parts.plan.storage or journal
    if worker:
        refuse_missing(storage, journal, parts.config.name)
    study = open_study(
        parts.space,
        parts.sampler,
        objectives=parts.objectives,
        storage=storage,
        name=parts.config.name,
        pruner=parts.pruner,
        identity={"configuration": identity(parts.config, parts.plan.as_json())},
    )
    known = refuse_known(study, storage, resume=resume or worker)
    if (known or worker) and not isinstance(parts.sampler, Strategy) and parts.plan.strategy not in SHARED_SEED:
        seed = fresh_seed(parts.config.seed, known, worker=worker)
        study.sampler = by_name(parts.plan.strategy, parts.space, seed=seed, **parts.plan.options)
    return study


def refuse_known(study: Study, storage: str | Path, *, resume: bool) -> int:
    """The number of trials of a study; raises `UserError` if it has some and is not to be resumed."""
    known = len(study.get_trials(deepcopy=False))
    if known and not resume:
        raise UserError(
            f"the storage {shown(storage)} has a study {study.study_name!r} of {known} trials; continue it with "
            "--resume in its run folder, or choose another --name"
        )
    return known


def fresh_seed(seed: int, known: int, *, worker: bool = False) -> int:
    """The seed of a sampler of Optuna that continues after `known` trials, or joins others."""
    words = [seed, known, *((os.getpid(), time.time_ns()) if worker else ())]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def task_of(parts: Prepared, study: Study) -> Task:
    """The trials that a study lacks."""
    evaluate = evaluation(parts.space, parts.estimator, parts.objectives, parts.plan.budget)
    return Task(study, evaluate, parts.objectives, parts.plan.trials)


def refuse_missing(storage: str | Path, journal: Path, name: str) -> None:
    """Raise `UserError` unless the storage has a study of that name."""
    if storage is journal and not journal.is_file():
        raise UserError(f"{journal.parent} has no {JOURNAL}; start its search first")
    with quiet(), told(storage):
        opened = open_storage(storage)
        names = optuna.get_all_study_names(opened) if opened is not None else []
    if name not in names:
        raise UserError(f"the storage {shown(storage)} has no study {name!r}; start its search first")


def identity(config: Experiment, plan: Mapping[str, Any]) -> str:
    """A short hash of what all processes of a study share."""
    shared = {name: value for name, value in plan.items() if name not in _NOT_THE_SAME}
    text = to_json(dataclasses.replace(config, devices=DevicesConfig())) + json.dumps(shared, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_plan(run_dir: Path) -> tuple[TrialPlan, str]:
    """The plan that a run folder stores, and the version of jdarts that wrote it; raises `UserError`."""
    return read_stored(run_dir / PLAN, "jdarts search --strategy", TrialPlan)


def read_stored(file: Path, command: str, kind: Callable[..., Plan]) -> tuple[Plan, str]:
    """The plan of a file in a run folder, and the version of jdarts that wrote it; raises `UserError`."""
    if not file.is_file():
        raise UserError(f"{file.parent} is no run of {command}: it has no {file.name}")
    try:
        stored = json.loads(file.read_text())
        version = str(stored.pop("jdarts"))
        plan = kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{file} cannot be read ({error}); start the search again") from None
    return plan, version


def check_same(run_dir: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise `UserError` unless the plan that a run folder stores is the given one; the number of trials may differ."""
    stored, given = (json.loads(json.dumps(plan)) for plan in (before, now))
    different = [
        f"{name}: {stored.get(name)!r} (stored) != {given[name]!r} (given)"
        for name in given
        if name not in ("trials", "jdarts") and stored.get(name) != given[name]
    ]
    if different:
        raise UserError(f"cannot resume {run_dir} with another plan: {'; '.join(different)}; give the stored values")
