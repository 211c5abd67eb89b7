"""The trials of `jdarts tune`: searches, or trainings of one genotype, with the values that a sampler proposes."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

import optuna
from optuna.trial import Trial

from jdarts.config import DataConfig, Experiment
from jdarts.errors import Diverged, Interrupted, UserError
from jdarts.estimation import FromScratch, Score, children_of, measure_of
from jdarts.estimation.children import Child, ChildTask
from jdarts.genotypes import Architecture, Genotype
from jdarts.methods import configured
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import Reporter, SilentReporter
from jdarts.search import SearchRun, run_search
from jdarts.search.members import numbers_of_search
from jdarts.search.single_loop import compile_with_numbers, run_single_loop, trace_with_numbers
from jdarts.staging import NOT_A_NUMBER_YET
from jdarts.strategies.study import RunTrial, text_of
from jdarts.strategies.tuning import Varied, suggest, with_values_of

_REFUSED = (*NOT_A_NUMBER_YET, UserError, TypeError, ValueError)
"""Errors of code that needs the value of an argument: JAX's, and those of checks that cannot look into it."""
Built = TypeVar("Built")
Measured = tuple[float, str]
"""The validation result (`jdarts.estimation.measure_of`), and the text of the architecture."""


def tuned(config: Experiment, varied: Sequence[Varied], measure: Callable[[Trial, Experiment], Measured]) -> RunTrial:
    """The function that runs a trial: `measure` with the values of the trial in `config`.

    Values that are not allowed together and trainings that diverge are pruned, with the reason as the attribute
    `reason`. An interrupted trial is put in the queue again.
    """

    def run(trial: Trial) -> tuple[float]:
        started = time.monotonic()
        try:
            measured, architecture = measure(trial, with_values_of(config, suggest(trial, varied)))
        except (UserError, Diverged) as error:
            trial.set_user_attr("reason", str(error))
            raise optuna.TrialPruned(str(error)) from None
        except Interrupted:
            trial.study.enqueue_trial(trial.params)
            raise
        cost = time.monotonic() - started
        values = {measure_of(config).name: measured}
        trial.set_user_attr("score", {"values": values, "cost": cost, "architecture": architecture})
        return (measured,)

    return run


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


class Shared(Generic[Built]):
    """What trials compute with, built once for all trials that differ only in the seed and in real numbers.

    Args:
      base: the configuration without the values of a trial.
      varied: the names of the fields that trials vary.
      numbers: the names of real numbers that a compiled step may take as arguments.
      build: `(configuration, names) -> what trials compute with`. It takes the named numbers as arguments, and raises
        `NOT_A_NUMBER_YET` if the value of one decides how the step is built.
      traces: raises the same, but compiles nothing.
    """

    def __init__(
        self,
        base: Experiment,
        varied: Sequence[str],
        numbers: Sequence[str],
        build: Callable[[Experiment, Sequence[str]], Built],
        traces: Callable[[Experiment, Sequence[str]], Any],
    ):
        self._base, self._build, self._traces = base, build, traces
        self.names = [name for name in varied if name in numbers]
        self._last: tuple[Experiment, Built] | None = None

    def of(self, params: Mapping[str, Any]) -> Built:
        """That of a trial with these parameters; `names` are then the numbers that it takes as arguments."""
        others = {name: value for name, value in params.items() if name not in self.names}
        fixed = replace(with_values_of(self._base, others), seed=self._base.seed)
        if self._last is None or self._last[0] != fixed:
            self._last = None  # so that its memory is free
            try:
                self._last = fixed, self._build(fixed, self.names)
            except _REFUSED:
                if not self.names:
                    raise
                kept = [name for name in self.names if self._is_argument(fixed, name)]
                self.names = kept if len(kept) < len(self.names) else []
                return self.of(params)
        return self._last[1]

    def _is_argument(self, config: Experiment, name: str) -> bool:
        try:
            self._traces(config, [name])
        except _REFUSED:
            return False
        return True


def measure_search(
    make: Callable[[Experiment, RunFolder], SearchRun], run: RunFolder, base: Experiment, varied: Sequence[Varied]
) -> Callable[[Trial, Experiment], Measured]:
    """The validation result of the supernet after the last epoch of a search.

    `make` builds the search of a configuration, checked; `base` and `varied` are what trials vary. Trials that differ
    in real numbers or in the seed share one compiled step. The records of trial 7 are in `trials/0007` of the run
    folder; checkpoints are not kept.
    """
    trials, names = run.subfolder("trials"), [each.name for each in varied]

    def build(config: Experiment, numbers: Sequence[str]) -> tuple[SearchRun, Any]:
        search = make(config, trials)
        return search, None if search.method.driver else compile_with_numbers(search, numbers)

    numbers = numbers_of_search(base, options="search.method" not in names)
    shared = Shared(base, names, numbers, build, lambda config, given: trace_with_numbers(make(config, trials), given))

    def found(trial: Trial, config: Experiment, folder: RunFolder, reporter: Reporter) -> Genotype:
        template, compiled = shared.of(trial.params)
        search = replace(template, config=config, folder=folder, method=configured(config.search), reporter=reporter)
        if compiled is None:
            return run_search(search)[0]
        values = {name: float(trial.params[name]) for name in shared.names}
        return run_single_loop(search, compiled=compiled(search, values)).genotype

    def measure(trial: Trial, config: Experiment) -> Measured:
        folder = trials.subfolder(f"{trial.number:04}")
        curve = _Curve(trial, children_of(config.data.source))
        try:
            genotype = found(trial, config, folder, curve)
        finally:
            shutil.rmtree(folder.checkpoints_dir, ignore_errors=True)
        if curve.measured is None:
            raise UserError(
                f"method {config.search.method} reports no validation {measure_of(config).name}; tune another one"
            )
        return curve.measured, text_of(genotype)

    return measure


def measure_training(
    genotype: Architecture, base: Experiment, varied: Sequence[Varied]
) -> Callable[[Trial, Experiment], Measured]:
    """The validation result of a genotype after training from scratch (`FromScratch`).

    `base` and `varied` are what trials vary. Trials that differ in real numbers or in the seed share one compiled step.
    """
    loaded: dict[DataConfig, Any] = {}

    def data_of(config: Experiment) -> Any:
        if config.data not in loaded:
            loaded.clear()
            loaded[config.data] = children_of(config.data.source).load(config.data)
        return loaded[config.data]

    def build(config: Experiment, numbers: Sequence[str]) -> Callable[[Experiment], Child]:
        estimator = FromScratch(config, data_of(config))
        estimator.check(genotype, {})
        return estimator.task.children(genotype, estimator.at({}), numbers)

    numbers = children_of(base.data.source).numbers()
    shared = Shared(base, [each.name for each in varied], numbers, build, build)

    def measure(trial: Trial, config: Experiment) -> Measured:
        value_of = measure_of(config)

        def report(epoch: int, score: Score) -> None:
            trial.report(value_of(score), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned(f"pruned after epoch {epoch}")

        prunes = not isinstance(trial.study.pruner, optuna.pruners.NopPruner)
        child = shared.of(trial.params)
        estimator = FromScratch(config, data_of(config), lambda _, fidelity: child(fidelity.config))
        return value_of(estimator.reporting(genotype, {}, report if prunes else None)), text_of(genotype)

    return measure
