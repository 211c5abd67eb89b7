"""The trials of `jdarts tune`: searches, or trainings of one genotype, with the values that a sampler proposes."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import Trial

from jdarts.config import DataConfig, Experiment
from jdarts.data import Dataset, load
from jdarts.errors import Diverged, Interrupted, UserError
from jdarts.estimation import FromScratch, Score
from jdarts.genotypes import Architecture
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.search import SearchRun, run_search
from jdarts.strategies.study import RunTrial, text_of
from jdarts.strategies.tuning import Varied, suggest, with_values_of

Measured = tuple[float, str]
"""The validation accuracy in percent, and the text of the architecture."""


def tuned(config: Experiment, varied: Sequence[Varied], measure: Callable[[Trial, Experiment], Measured]) -> RunTrial:
    """The function that runs a trial: `measure` with the values of the trial in `config`.

    Values that are not allowed together and trainings that diverge are pruned, with the reason as the attribute
    `reason`. An interrupted trial is put in the queue again.
    """

    def run(trial: Trial) -> tuple[float]:
        started = time.monotonic()
        try:
            accuracy, architecture = measure(trial, with_values_of(config, suggest(trial, varied)))
        except (UserError, Diverged) as error:
            trial.set_user_attr("reason", str(error))
            raise optuna.TrialPruned(str(error)) from None
        except Interrupted:
            trial.study.enqueue_trial(trial.params)
            raise
        cost = time.monotonic() - started
        trial.set_user_attr("score", {"values": {"accuracy": accuracy}, "cost": cost, "architecture": architecture})
        return (accuracy,)

    return run


class _Curve(SilentReporter):
    """Keeps the last record of a search, and gives its validation accuracy to the pruner."""

    def __init__(self, trial: Trial):
        super().__init__()
        self.record: Mapping[str, float] = {}
        self._trial, self._epochs = trial, 0

    def phase(self, title: str, epochs: int, steps_per_epoch: int, start_step: int = 0) -> None:
        """Stores the number of epochs."""
        self._epochs = epochs

    def epoch(self, epoch: int, record: Mapping[str, float]) -> None:
        """Raises `optuna.TrialPruned` if the pruner says so, except after the last epoch."""
        self.record = record
        if isinstance(self._trial.study.pruner, optuna.pruners.NopPruner) or "val_accuracy" not in record:
            return
        if epoch < self._epochs:
            self._trial.report(100 * record["val_accuracy"], epoch)
            if self._trial.should_prune():
                raise optuna.TrialPruned(f"pruned after epoch {epoch}")


def measure_search(make: Callable[[Experiment, RunFolder], SearchRun], run: RunFolder) -> Callable[..., Measured]:
    """The validation accuracy of the supernet after the last epoch of a search.

    `make` builds the search of a configuration, checked. The records of trial 7 are in `trials/0007` of the run folder;
    checkpoints are not kept.
    """

    def measure(trial: Trial, config: Experiment) -> Measured:
        folder = run.subfolder("trials").subfolder(f"{trial.number:04}")
        curve = _Curve(trial)
        search = make(config, folder)
        try:
            genotype, _ = run_search(replace(search, reporter=curve))
        finally:
            shutil.rmtree(folder.checkpoints_dir, ignore_errors=True)
        accuracy = curve.record.get("val_accuracy")
        if accuracy is None:
            raise UserError(f"method {search.method.name} reports no validation accuracy; tune another one")
        return 100 * accuracy, text_of(genotype)

    return measure


def measure_training(genotype: Architecture) -> Callable[..., Measured]:
    """The validation accuracy of a genotype after training from scratch (`FromScratch`)."""
    loaded: dict[DataConfig, Dataset] = {}

    def measure(trial: Trial, config: Experiment) -> Measured:
        if config.data not in loaded:
            loaded.clear()
            loaded[config.data] = load(config.data)

        def report(epoch: int, score: Score) -> None:
            trial.report(score["accuracy"], epoch)
            if trial.should_prune():
                raise optuna.TrialPruned(f"pruned after epoch {epoch}")

        prunes = not isinstance(trial.study.pruner, optuna.pruners.NopPruner)
        estimator: Any = FromScratch(config, loaded[config.data])
        return estimator.reporting(genotype, {}, report if prunes else None)["accuracy"], text_of(genotype)

    return measure
