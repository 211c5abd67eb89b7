"""The trials of `jdarts tune`: searches, or trainings of one genotype, with the values that a sampler proposes."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import optuna
from optuna.storages._heartbeat import get_heartbeat_thread
from optuna.study import Study
from optuna.trial import Trial, TrialState

from jdarts.config import DataConfig, Experiment
from jdarts.devices.placement import place
from jdarts.errors import Diverged, Interrupted, UserError
from jdarts.estimation import FromScratch, Score, children_of, measure_of
from jdarts.estimation.children import Child, ChildTask
from jdarts.estimation.together import TrainingsTogether
from jdarts.genotypes import Architecture, Genotype
from jdarts.methods import configured
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import Reporter, SilentReporter
from jdarts.search import SearchRun, run_search
from jdarts.search.found import Found
from jdarts.search.members import Member, numbers_of_search
from jdarts.search.placed import PlacedSearch, place_search
from jdarts.search.population import MemberRecords, own_loop, search_members
from jdarts.search.single_loop import compile_with_numbers, run_single_loop, trace_with_numbers
from jdarts.strategies.places import Places
from jdarts.strategies.shared import Running, Shared
from jdarts.strategies.study import RunTrial, text_of
from jdarts.strategies.tuning import Varied, suggest, with_values_of

Measured = tuple[float, str]
"""The validation result (`jdarts.estimation.measure_of`), and the text of the architecture."""
TrialOutcome = Measured | UserError | Diverged
"""The result of a trial, or the reason why it has none."""
MeasureTogether = Callable[[Sequence[Running]], Sequence[TrialOutcome]]
"""Runs trials at the same time."""


def tuned(config: Experiment, varied: Sequence[Varied], measure: Callable[[Trial, Experiment], Measured]) -> RunTrial:
    """The function that runs a trial: `measure` with the values of the trial in `config`.

    Values that are not allowed together and trainings that diverge are pruned, with the reason as the attribute
    `reason`. An interrupted trial is put in the queue again.
    """

    def run(trial: Trial) -> tuple[float]:
        started = time.monotonic()
        try:
            measured = measure(trial, with_values_of(config, suggest(trial, varied)))
        except (UserError, Diverged) as error:
            raise _pruned(trial, error) from None
        except Interrupted:
            trial.study.enqueue_trial(trial.params)
            raise
        return _scored(trial, config, measured, time.monotonic() - started)

    return run


def tuned_together(
    config: Experiment, varied: Sequence[Varied], measure: MeasureTogether, together: int, total: int
) -> RunTrial:
    """The function that runs a trial and up to `together` − 1 further ones of its study at the same time.

    Like `tuned`; the study gets `total` trials. The trials of one call are proposed before any of them has a result.
    """

    def run(first: Trial) -> tuple[float]:
        started, study = time.monotonic(), first.study
        trials = [first, *_asked(study, together - 1, total)]
        with ExitStack() as alive:
            for trial in trials[1:]:
                heartbeat: Any = get_heartbeat_thread(trial._trial_id, study._storage)
                alive.enter_context(heartbeat)
            try:
                outcomes = _outcomes(trials, config, varied, measure)
            except BaseException as error:
                for trial in trials[1:]:
                    trial.set_user_attr("reason", f"trial {first.number}, which ran at the same time, ended: {error}")
                    study.tell(trial, state=TrialState.FAIL)
                if isinstance(error, Interrupted):
                    for trial in trials:
                        study.enqueue_trial(trial.params)
                raise
            cost = (time.monotonic() - started) / len(trials)
            for trial, outcome in zip(trials[1:], outcomes[1:], strict=True):
                try:
                    study.tell(trial, _scored(trial, config, _or_pruned(trial, outcome), cost))
                except optuna.TrialPruned:
                    study.tell(trial, state=TrialState.PRUNED)
        return _scored(first, config, _or_pruned(first, outcomes[0]), cost)

    return run


def _asked(study: Study, count: int, total: int) -> list[Trial]:
    """Up to `count` further trials of a study that gets `total` trials."""
    places, trials = Places(study, total), []
    while len(trials) < count and places.free(own=1 + len(trials)):
        trial = study.ask()
        if not places.has(trial.number):
            trial.set_user_attr("reason", f"other workers have begun the last of the {total} trials")
            study.tell(trial, state=TrialState.FAIL)
            break
        trials.append(trial)
    return trials


def _outcomes(
    trials: Sequence[Trial], config: Experiment, varied: Sequence[Varied], measure: MeasureTogether
) -> list[TrialOutcome]:
    """The outcome of every trial; those whose values are not allowed together do not run."""
    outcomes: dict[int, TrialOutcome] = {}
    allowed: list[Running] = []
    for trial in trials:
        try:
            allowed.append((trial, with_values_of(config, suggest(trial, varied))))
        except UserError as error:
            outcomes[trial.number] = error
    try:
        measured = measure(allowed) if allowed else ()
    except (UserError, Diverged) as error:  # of all of them, for instance too little memory
        measured = [error] * len(allowed)
    for (trial, _), outcome in zip(allowed, measured, strict=True):
        outcomes[trial.number] = outcome
    return [outcomes[trial.number] for trial in trials]


def _or_pruned(trial: Trial, outcome: TrialOutcome) -> Measured:
    if isinstance(outcome, Exception):
        raise _pruned(trial, outcome)
    return outcome


def _pruned(trial: Trial, error: Exception) -> optuna.TrialPruned:
    trial.set_user_attr("reason", str(error))
    return optuna.TrialPruned(str(error))


def _scored(trial: Trial, config: Experiment, measured: Measured, cost: float) -> tuple[float]:
    """The objective of a trial, whose score it receives as the attribute `score`."""
    value, architecture = measured
    score = {"values": {measure_of(config).name: value}, "cost": cost, "architecture": architecture}
    trial.set_user_attr("score", score)
    return (value,)


class _Curve(SilentReporter):
    """Keeps the validation result of the last epoch of a search, and gives that of each epoch to the pruner.

    Attributes:
      measured: the result; None before the first epoch, and if the search reports none.
    """

    def __init__(self, trial: Trial, task: ChildTask):
        super().__init__()
        self.measured: float | None = None
        self._trial, self._task, self._epochs = trial, task, 0

    def phase(self, title: str, epochs: int, steps_per_epoch: int, start_step: int = 0) -> None:
        """Stores the number of epochs."""
        self._epochs = epochs

    def epoch(self, epoch: int, record: Mapping[str, float]) -> None:
        """Raises `optuna.TrialPruned` if the pruner says so, except after the last epoch."""
        self.measured = self._task.of_search(record)
        if isinstance(self._trial.study.pruner, optuna.pruners.NopPruner) or self.measured is None:
            return
        if epoch < self._epochs:
            self._trial.report(self.measured, epoch)
            if self._trial.should_prune():
                raise optuna.TrialPruned(f"pruned after epoch {epoch}")


class TunedSearches:
    """The searches of trials. Those that differ in real numbers or in the seed share one compiled step.

    The result of a trial is the validation result of the supernet after the last epoch. The records of trial 7 are in
    `trials/0007` of the run folder; checkpoints are not kept.

    Args:
      make: builds the search of a configuration, checked.
      run: the run folder.
      base: the configuration without the values of a trial.
      varied: the fields that trials vary.
      together: the number of searches in one program (`measure_together`).
    """

    def __init__(
        self,
        make: Callable[[Experiment, RunFolder], SearchRun],
        run: RunFolder,
        base: Experiment,
        varied: Sequence[Varied],
        together: int = 1,
    ):
        self._make, self._trials, self._together = make, run.subfolder("trials"), together
        names = [each.name for each in varied]
        numbers = numbers_of_search(base, options="search.method" not in names)

        def traces(config: Experiment, given: Sequence[str]) -> None:
            trace_with_numbers(make(config, self._trials), given)

        self._single = Shared(base, names, numbers, self._compiled, traces)
        self._several = Shared(base, names, numbers, self._placed, traces)

    def measure(self, trial: Trial, config: Experiment) -> Measured:
        """The result of one trial; intermediate results go to the pruner of its study."""
        folder = self._folder(trial)
        curve = _Curve(trial, children_of(config.data.source))
        try:
            genotype = self._found(trial, config, folder, curve)
        finally:
            shutil.rmtree(folder.checkpoints_dir, ignore_errors=True)
        return _measured(curve.measured, config, genotype)

    def measure_together(self, trials: Sequence[Running]) -> list[TrialOutcome]:
        """The results of trials. Those that share a compiled step run in it at the same time."""
        outcomes: dict[int, TrialOutcome] = {}
        for (template, placed), group in self._several.groups(trials):
            if placed is None or len(group) == 1:
                found = [self._alone(trial, config) for trial, config in group]
            else:
                found = self._at_once(template, placed, group)
            outcomes |= {trial.number: outcome for (trial, _), outcome in zip(group, found, strict=True)}
        return [outcomes[trial.number] for trial, _ in trials]

    def _folder(self, trial: Trial) -> RunFolder:
        return self._trials.subfolder(f"{trial.number:04}")

    def _compiled(self, config: Experiment, numbers: Sequence[str]) -> tuple[SearchRun, Any]:
        search = self._make(config, self._trials)
        return search, None if search.method.driver else compile_with_numbers(search, numbers)

    def _placed(self, config: Experiment, numbers: Sequence[str]) -> tuple[SearchRun, PlacedSearch | None]:
        search = self._make(config, self._trials)
        if own_loop(search.method):
            return search, None
        members = [Member(config.seed, tuple((name, 0.5) for name in numbers))] * self._together
        batch, parts = config.search.batch_size, config.search.microbatches
        placement = place(config.devices, batch_size=batch, microbatches=parts, members=len(members))
        return search, place_search(config, search.space, search.search_data, placement, members)

    def _found(self, trial: Trial, config: Experiment, folder: RunFolder, reporter: Reporter) -> Genotype:
        template, compiled = self._single.of(trial.params)
        search = replace(template, config=config, folder=folder, method=configured(config.search), reporter=reporter)
        if compiled is None:
            return run_search(search)[0]
        values = {name: float(trial.params[name]) for name in self._single.names}
        return run_single_loop(search, compiled=compiled(search, values)).genotype

    def _alone(self, trial: Trial, config: Experiment) -> TrialOutcome:
        try:
            return self.measure(trial, config)
        except (UserError, Diverged) as error:
            return error

    def _at_once(self, template: SearchRun, placed: PlacedSearch, group: Sequence[Running]) -> list[TrialOutcome]:
        """The results of at most `together` trials; the program is filled up with copies of the last one."""
        numbers = self._several.names
        members = [
            Member(config.seed, tuple((name, float(trial.params[name])) for name in numbers)) for trial, config in group
        ]
        filled = [*members, *[members[-1]] * (self._together - len(members))]
        searches, folders = placed.others(filled), [self._folder(trial) for trial, _ in group]
        own = self._trials.subfolder(f"{group[0][0].number:04}-together")
        try:
            run = replace(template, folder=own)
            found = search_members(run, searches, MemberRecords.of(run, searches, members, folders))
        except Diverged as error:  # all of them
            return [error] * len(group)
        finally:
            shutil.rmtree(own.path, ignore_errors=True)
        return [self._outcome(each, config) for each, (_, config) in zip(found, group, strict=True)]

    def _outcome(self, found: Found, config: Experiment) -> TrialOutcome:
        if found.genotype is None:
            return Diverged(f"the search with seed {found.member.seed} diverged: its numbers are not finite")
        try:
            return _measured(children_of(config.data.source).of_search(found.metrics), config, found.genotype)
        except UserError as error:
            return error


def _measured(value: float | None, config: Experiment, genotype: Genotype) -> Measured:
    if value is None:
        raise UserError(
            f"method {config.search.method} reports no validation {measure_of(config).name}; tune another one"
        )
    return value, text_of(genotype)


class TunedTrainings:
    """The trainings of a genotype by trials (`FromScratch`). Those that share a compiled step differ as `Shared` says.

    Args:
      genotype: the trained genotype.
      base: the configuration without the values of a trial.
      varied: the fields that trials vary.
      together: the number of trainings in one program (`measure_together`).
    """

    def __init__(self, genotype: Architecture, base: Experiment, varied: Sequence[Varied], together: int = 1):
        self._genotype, self._together = genotype, together
        self._data: tuple[DataConfig, Any] | None = None
        names, numbers = [each.name for each in varied], children_of(base.data.source).numbers()
        self._single = Shared(base, names, numbers, self._children, self._children)
        self._several = Shared(base, names, numbers, self._at_once, self._children)

    def measure(self, trial: Trial, config: Experiment) -> Measured:
        """The result of one trial; intermediate results go to the pruner of its study."""
        value_of = measure_of(config)

        def report(epoch: int, score: Score) -> None:
            trial.report(value_of(score), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned(f"pruned after epoch {epoch}")

        prunes = not isinstance(trial.study.pruner, optuna.pruners.NopPruner)
        child = self._single.of(trial.params)
        estimator = FromScratch(config, self._load(config), lambda _, fidelity: child(fidelity.config))
        return value_of(estimator.reporting(self._genotype, {}, report if prunes else None)), text_of(self._genotype)

    def measure_together(self, trials: Sequence[Running]) -> list[TrialOutcome]:
        """The results of trials. Those that share a compiled step run in it at the same time."""
        outcomes: dict[int, TrialOutcome] = {}
        for several, group in self._several.groups(trials):
            configs = [config for _, config in group]
            filled = [*configs, *[configs[-1]] * (self._together - len(configs))]
            for (trial, _), value in zip(group, several(filled), strict=False):
                diverged = Diverged(f"the training of trial {trial.number} diverged: its numbers are not finite")
                outcomes[trial.number] = diverged if value is None else (value, text_of(self._genotype))
        return [outcomes[trial.number] for trial, _ in trials]

    def _load(self, config: Experiment) -> Any:
        if self._data is None or self._data[0] != config.data:
            self._data = None  # so that its memory is free
            self._data = config.data, children_of(config.data.source).load(config.data)
        return self._data[1]

    def _estimator(self, config: Experiment) -> FromScratch:
        estimator = FromScratch(config, self._load(config))
        estimator.check(self._genotype, {})
        return estimator

    def _children(self, config: Experiment, numbers: Sequence[str]) -> Callable[[Experiment], Child]:
        estimator = self._estimator(config)
        return estimator.task.children(self._genotype, estimator.at({}), numbers)

    def _at_once(self, config: Experiment, numbers: Sequence[str]) -> TrainingsTogether:
        estimator = self._estimator(config)
        return TrainingsTogether(estimator.task, self._genotype, estimator.at({}), numbers)
