"""Train a derived network: records, checkpoints, resume, validation for monitoring, one test at the end."""

from collections.abc import Callable
from typing import Any

from jdarts.config import Experiment
from jdarts.data import Dataset
from jdarts.data.streamed_training import StreamedDataset
from jdarts.data.targets import TargetDataset
from jdarts.networks.of_genotype import TrainedOnImages
from jdarts.runs.folder import RunFolder
from jdarts.runs.loop import Loop, LoopSettings, run_loop
from jdarts.runs.reporter import Reporter
from jdarts.train.best import keep_best
from jdarts.train.placing import place_training
from jdarts.train.results import TaskResult, TrainResult
from jdarts.train.step import TrainState
from jdarts.train.trained import load, save_trained, started_from
from jdarts.train.training import PlacedTraining, evaluate


def run_training(
    config: Experiment,
    genotype: TrainedOnImages,
    data: Dataset | StreamedDataset | TargetDataset,
    run: RunFolder,
    *,
    resume: bool = False,
    reporter: Reporter,
    title: str = "train",
) -> TrainResult | TaskResult:
    """Train `genotype` for `train.task` on the devices of `config.devices` and test it once, after the last epoch.

    The start is random, or the trained network of `train.start`. Writes into `run`: `metrics.jsonl` (one record an
    epoch, with validation figures if there is a validation split), checkpoints, in `best` the network of the best epoch
    by validation, and at the end `result.json` and the trained network (`jdarts.train.trained`). The test images are
    read once, at the very end.
    """
    settings = config.train
    split = data.for_training(settings.val_fraction)
    placement = place_training(config)
    training = PlacedTraining(config, genotype, split, placement)
    if placement.backend != "jit":
        reporter.message(placement.describe())
    state = training.init(_start(config, split, run, reporter, resume=resume))
    task = training.pure.task

    def save(folder: RunFolder, state: TrainState) -> None:
        save_trained(folder, config, genotype, split, state.average or (state.weights, state.batch_stats))

    def on_epoch_end(state, epoch: int) -> dict[str, float]:
        del epoch
        record = {name: float(state.sums[name]) / training.steps_per_epoch for name in training.pure.metrics}
        if split.val is not None:
            figures = evaluate(training, state, split.val, settings.batch_size)
            record |= {f"val_{name}": value for name, value in figures.items()}
            keep_best(run, record, f"val_{task.score}", falls=task.falls, save=lambda folder: save(folder, state))
        return record

    optimizer = settings.optimizer
    loop = Loop(
        title,
        training.step,
        LoopSettings(
            epochs=settings.epochs,
            steps_per_epoch=training.steps_per_epoch,
            checkpoint_every=settings.checkpoint_every,
            checkpoint_every_steps=settings.checkpoint_every_steps,
            keep_checkpoints=settings.keep_checkpoints,
        ),
        on_epoch_end,
        suspects=f"train.optimizer.learning_rate {optimizer.learning_rate}, gradient_clip {optimizer.gradient_clip}",
        images=training.steps_per_epoch * settings.batch_size,
    )
    state = run_loop(loop, state, run, reporter=reporter, resume=resume)
    figures = evaluate(training, state, split.test, settings.batch_size)
    size = task.count(genotype, split.num_classes, settings.network_sizes, split.image_shape)
    result = task.result(figures, *size)
    save(run, state)
    run.write_json("result.json", {"genotype": genotype.to_text(), **result.record()})
    return result


def _start(
    config: Experiment, split: Any, run: RunFolder, reporter: Reporter, *, resume: bool
) -> Callable[[TrainState], TrainState]:
    """The function that puts the network of `train.start` into a state; a checkpoint would replace its result."""
    if not config.train.start or (resume and any(run.checkpoints_dir.glob("[0-9]*"))):
        return lambda state: state
    return started_from(load(config.train.start), config, split, reporter.message)
