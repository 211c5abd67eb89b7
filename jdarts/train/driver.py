"""Train a derived network: records, checkpoints, resume, validation for monitoring, one test at the end."""

from dataclasses import asdict, dataclass

from jdarts.config import Experiment
from jdarts.data import Dataset
from jdarts.data.streamed_training import StreamedDataset
from jdarts.networks.counting import Count
from jdarts.networks.of_genotype import TrainedOnImages, count_network
from jdarts.runs.folder import RunFolder
from jdarts.runs.loop import Loop, LoopSettings, run_loop
from jdarts.runs.reporter import Reporter
from jdarts.train.placing import place_training
from jdarts.train.step import METRICS, TrainingSplit
from jdarts.train.trained import save_trained
from jdarts.train.training import PlacedTraining, evaluate


@dataclass(frozen=True)
class TrainResult:
    """A trained network: its test accuracy (a fraction, evaluated once), size, and cost (auxiliary head excluded).

    `test_top5_accuracy` is the share of test images whose class has one of the five largest logits; None with at most
    five classes.
    """

    test_accuracy: float
    test_loss: float
    parameters: int
    macs: int
    test_top5_accuracy: float | None = None


def run_training(
    config: Experiment,
    genotype: TrainedOnImages,
    data: Dataset | StreamedDataset,
    run: RunFolder,
    *,
    resume: bool = False,
    reporter: Reporter,
    title: str = "train",
) -> TrainResult:
    """Train `genotype` from scratch on the devices of `config.devices` and test it once, after the last epoch.

    Writes into `run`: `metrics.jsonl` (one record an epoch, with validation figures if there is a validation split),
    checkpoints, and at the end `result.json` and the trained network (`jdarts.train.trained`). The test images are read
    once, at the very end.
    """
    settings = config.train
    split = data.for_training(settings.val_fraction)
    placement = place_training(config)
    training = PlacedTraining(config, genotype, split, placement)
    if placement.backend != "jit":
        reporter.message(placement.describe())
    state = training.init()

    def on_epoch_end(state, epoch: int) -> dict[str, float]:
        del epoch
        record = {name: float(state.sums[name]) / training.steps_per_epoch for name in METRICS}
        if split.val is not None:
            figures = evaluate(training, state, split.val, settings.batch_size)
            record |= {f"val_{name}": value for name, value in figures.items()}
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
    count = _count(config, genotype, split)
    result = TrainResult(
        figures["accuracy"], figures["loss"], count.parameters, count.macs, figures.get("top5_accuracy")
    )
    save_trained(run, config, genotype, split, state.average or (state.weights, state.batch_stats))
    run.write_json("result.json", {"genotype": genotype.to_text(), **asdict(result)})
    return result


def _count(config: Experiment, genotype: TrainedOnImages, split: TrainingSplit) -> Count:
    """The size of the trained network."""
    sides = split.image_shape[0], split.image_shape[1]
    return count_network(genotype, classes=split.num_classes, image_size=sides, **config.train.network_sizes)
