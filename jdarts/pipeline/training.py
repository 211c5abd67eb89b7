"""The tasks for which a genotype is trained: text, by the source of the data, or a task of images (`train.task`)."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jdarts.config import DataConfig, Experiment
from jdarts.data import steps_per_epoch
from jdarts.data.streamed_training import StreamedDataset
from jdarts.data.text import is_text, load_text
from jdarts.errors import UserError
from jdarts.genotypes import Architecture
from jdarts.genotypes.recurrent import RecurrentGenotype
from jdarts.train import check_augmentation, place_training, run_training
from jdarts.train.language import LanguageTrainResult, check_language_training, recurrent_cell, run_language_training
from jdarts.train.tasks import TASKS


@dataclass(frozen=True)
class TrainingTask:
    """The parts of a training that depend on its task.

    Attributes:
      accept: `(genotype, source)`; raises `UserError` for a genotype of the other task.
      load: the data of a configuration.
      check: `(config, genotype, data)`; raises `UserError` for sizes that do not fit.
      train: a function with the arguments of `jdarts.train.run_training`.
      describe: a result in one line.
      score: the field of a result by which cells are compared.
      shown: a score in words; `spread`, its standard deviation.
    """

    accept: Callable[[Architecture, str], Any]
    load: Callable[[DataConfig], Any]
    check: Callable[[Experiment, Any, Any], Any]
    train: Callable[..., Any]
    describe: Callable[[Any], str]
    score: str
    shown: Callable[[float], str]
    spread: Callable[[float], str]


def training_task(config: Experiment) -> TrainingTask:
    """The task of `data.source` and `train.task`."""
    if not is_text(config.data.source):
        return replace(IMAGES, load=TASKS[config.train.task].load)
    if config.train.task != "classification":
        raise UserError(f"train.task is {config.train.task}, but data.source {config.data.source} is a text")
    return TEXT


def check_image_training(config: Experiment, genotype: Architecture, data: Any) -> None:
    """Raise `UserError` unless the images fill a batch that the devices can share and the network can read them."""
    placement, task = place_training(config), TASKS[config.train.task]
    task.check(config.train)
    if config.train.frozen and not config.train.start:
        frozen = ", ".join(config.train.frozen)
        raise UserError(f"train.frozen is {frozen}, but the start is random; give a trained network: --from RUN")
    steps_per_epoch(len(data.for_training(config.train.val_fraction).train), config.train.batch_size)
    task.check_network(genotype, config.train, (data.image_shape[0], data.image_shape[1]))
    check_augmentation(config.train, streamed=isinstance(data, StreamedDataset), channels=data.image_shape[-1])
    pairs = bool(config.train.mixup or config.train.cutmix)
    if pairs and config.train.batch_size // (placement.data * config.train.microbatches) % 2:
        raise UserError(
            f"train.batch_size is {config.train.batch_size} on {placement.data} device(s); mixup and cutmix mix pairs, "
            "so each needs an even number of images"
        )


def _accept_for_images(genotype: Architecture, source: str) -> None:
    if isinstance(genotype, RecurrentGenotype):
        raise UserError(
            f"the genotype is a recurrent cell, but data.source {source} has images; give a genotype of convolutional "
            "cells, or a text: --data.source ptb, wikitext2 or text"
        )


def _describe_text(result: LanguageTrainResult) -> str:
    return (
        f"test perplexity {result.test_perplexity:.2f} (evaluated once, after the last epoch, with the weights of the "
        f"lowest validation perplexity, {result.val_perplexity:.2f}), {result.parameters:,} parameters, "
        f"{result.macs:,} MACs for one word"
    )


IMAGES = TrainingTask(
    _accept_for_images,
    TASKS["classification"].load,
    check_image_training,
    run_training,
    lambda result: result.describe(),
    "test_accuracy",
    "{:.2%}".format,
    lambda spread: f"{100 * spread:.2f}",
)
TEXT = TrainingTask(
    recurrent_cell,
    load_text,
    check_language_training,
    run_language_training,
    _describe_text,
    "test_perplexity",
    "{:.2f}".format,
    "{:.2f}".format,
)


def comparison(task: TrainingTask, results: Mapping[str, Any], kinds: Mapping[str, Sequence[str]]) -> str:
    """A row for each trained cell, and the mean and standard deviation of each kind with several cells."""
    width = max(len("random cells, mean"), *(len(f"{name} cell") for name in results))
    head = task.score.replace("_", " ")
    rows = [f"{'':{width}}  {head:>15}  parameters        MACs"]
    for kind, names in kinds.items():
        trained = [results[name] for name in names]
        for name, r in zip(names, trained, strict=True):
            score = task.shown(getattr(r, task.score))
            rows.append(f"{f'{name} cell':{width}}  {score:>15}  {r.parameters:>10,}  {r.macs:>10,}")
        if len(names) > 1:
            scores = [getattr(r, task.score) for r in trained]
            score = f"{task.shown(statistics.mean(scores))} ± {task.spread(statistics.stdev(scores))}"
            parameters, macs = (statistics.mean(getattr(r, size) for r in trained) for size in ("parameters", "macs"))
            rows.append(
                f"{f'{kind} cells, mean':{width}}  {score:>15}  {parameters:>10,.0f}  {macs:>10,.0f}"
                f"  (± standard deviation of {len(names)})"
            )
    return "\n".join(rows)
