"""The trials of `jdarts tune`: searches, or trainings of one genotype, with the values that a sampler proposes."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import Trial

from jdarts.config import DataConfig, Experiment
from jdarts.errors import Diverged, Interrupted, UserError
from jdarts.estimation import FromScratch, Score, children_of, measure_of
from jdarts.estimation.children import ChildTask
from jdarts.genotypes import Architecture
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.search import SearchRun, run_search
from jdarts.strategies.study import RunTrial, text_of
from jdarts.strategies.tuning import Varied, suggest, with_values_of

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


def measure_search(make: Callable[[Experiment, RunFolder], SearchRun], run: RunFolder) -> Callable[..., Measured]:
    """The validation result of the supernet after the last epoch of a search.

    `make` builds the search of a configuration, checked. The records of trial 7 are in `trials/0007` of the run folder;
    checkpoints are not kept.
    """

    def measure(trial: Trial, config: Experiment) -> Measured:
        folder = run.subfolder("trials").subfolder(f"{trial.number:04}")
        curve = _Curve(trial, children_of(config.data.source))
        search = make(config, folder)
        try:
            genotype, _ = run_search(replace(search, reporter=curve))
        finally:
            shutil.rmtree(folder.checkpoints_dir, ignore_errors=True)
        if curve.measured is None:
            raise UserError(
                f"method {search.method.name} reports no validation {measure_of(config).name}; tune another one"
            )
        return curve.measured, text_of(genotype)

    return measure


def measure_training(genotype: Architecture) -> Callable[..., Measured]:
    """The validation result of a genotype after training from scratch (`FromScratch`)."""
    loaded: dict[DataConfig, Any] = {}

    def measure(trial: Trial, config: Experiment) -> Measured:
        if config.data not in loaded:
            loaded.clear()
            loaded[config.data] = children_of(config.data.source).load(config.data)
        value_of = measure_of(config)

        def report(epoch: int, score: Score) -> None:
            trial.report(value_of(score), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned(f"pruned after epoch {epoch}")

        prunes = not isinstance(trial.study.pruner, optuna.pruners.NopPruner)
        estimator = FromScratch(config, loaded[config.data])
        return value_of(estimator.reporting(genotype, {}, report if prunes else None)), text_of(genotype)

    return measure
