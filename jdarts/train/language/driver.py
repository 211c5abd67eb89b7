"""The run of a training on text: records, checkpoints, resume, validation after every epoch, one test at the end."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np

from jdarts.config import Experiment
from jdarts.data.text import TextData
from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.genotypes.recurrent import RecurrentGenotype
from jdarts.losses import perplexity
from jdarts.networks.recurrent.language_model import LanguageModel
from jdarts.networks.recurrent.size import count_language_model
from jdarts.runs.folder import RunFolder
from jdarts.runs.loop import Loop, LoopSettings, run_loop
from jdarts.runs.reporter import Reporter
from jdarts.train.language.averaging import PLAIN
from jdarts.train.language.step import (
    LanguageTraining,
    LanguageTrainState,
    evaluate,
    language_model,
    make_language_training,
)
from jdarts.train.language.trained import TrainedLanguageModel, save_language_model
from jdarts.train.placing import place_training


@dataclass(frozen=True)
class LanguageTrainResult:
    """A trained language model: that of the epoch with the lowest validation loss.

    Attributes:
      train_perplexities: of each epoch, with dropout, over the words of its windows.
      val_perplexity, test_perplexity: of the model; the test text is read once.
      parameters: of the model.
      macs: multiply–accumulates for one word.
    """

    train_perplexities: tuple[float, ...]
    val_perplexity: float
    test_perplexity: float
    parameters: int
    macs: int


def recurrent_cell(genotype: Any, source: str) -> RecurrentGenotype:
    """`genotype` itself; `UserError` unless it is a recurrent cell, which the text `source` needs."""
    if not isinstance(genotype, RecurrentGenotype):
        raise UserError(
            f"the genotype is a network of images, but data.source {source} is a text; give a recurrent cell, e.g. "
            "--genotype DARTS_RNN"
        )
    return genotype


def check_language_training(config: Experiment, genotype: Genotype, data: TextData) -> RecurrentGenotype:
    """The genotype, after `UserError`s about a cell for images, texts that are too short, and devices."""
    cell, settings = recurrent_cell(genotype, data.name), config.language_train
    place_training(config, "language_train")
    for part, batch, least in (
        ("train", "batch_size", settings.bptt + 1),
        ("valid", "val_batch_size", 2),
        ("test", "test_batch_size", 2),
    ):
        words, count = len(getattr(data, part)), getattr(settings, batch)
        if words // count < least:
            raise UserError(
                f"the {part} text of {data.name} has {words} words, {words // count} in each of language_train.{batch} "
                f"= {count} columns; at least {least} are needed: make {batch}"
                f"{' or bptt' if part == 'train' else ''} smaller, or give more text"
            )
    return cell


def run_language_training(
    config: Experiment,
    genotype: Genotype,
    data: TextData,
    run: RunFolder,
    *,
    resume: bool = False,
    reporter: Reporter,
    title: str = "train",
) -> LanguageTrainResult:
    """Train the language model of `genotype` from scratch and test it once, after the last epoch.

    Writes into `run`: `metrics.jsonl` (one record an epoch), checkpoints, the trained model and `result.json`. Raises
    `UserError` for a genotype of images or a text that is too short, `Diverged` after more explosions than
    `config.language_train.rollbacks`.
    """
    cell = check_language_training(config, genotype, data)
    model = language_model(config.language_train, cell, len(data.vocabulary))
    result, weights = train_language_model(config, model, data, run, resume=resume, reporter=reporter, title=title)
    params = {name: np.asarray(array) for name, array in weights.items()}
    save_language_model(run, TrainedLanguageModel(cell, data.vocabulary, params))
    run.write_json("result.json", {"genotype": cell.to_text(), **asdict(result)})
    return result


def train_language_model(
    config: Experiment,
    model: LanguageModel,
    data: TextData,
    run: RunFolder,
    *,
    resume: bool = False,
    reporter: Reporter,
    title: str = "train",
) -> tuple[LanguageTrainResult, Mapping[str, jax.Array]]:
    """Train any language model from scratch, and test the parameters of its best epoch once.

    Writes `metrics.jsonl` and checkpoints into `run`. Returns the result and those parameters.
    Raises `Diverged` like `run_language_training`.
    """
    settings = config.language_train
    placement = place_training(config, "language_train")
    training = make_language_training(config, model, data, placement)
    if placement.backend != "jit":
        reporter.message(placement.describe())
    state = training.init(jax.random.key(config.seed))
    loop = Loop(
        title,
        lambda s: training.step(s, training.text),
        LoopSettings(
            epochs=settings.epochs,
            steps_per_epoch=training.windows.steps_per_epoch,
            checkpoint_every=settings.checkpoint_every,
            checkpoint_every_steps=settings.checkpoint_every_steps,
            keep_checkpoints=settings.keep_checkpoints,
        ),
        lambda s, epoch: _record(s, evaluate(training, s.average, data.valid, settings.val_batch_size)),
        suspects=f"language_train.learning_rate {settings.learning_rate:g}, gradient_clip {settings.gradient_clip:g} "
        f"(the run returned to its best weights {settings.rollbacks} times before, language_train.rollbacks)",
        after_epoch=lambda s, record: _after_epoch(training, s, record, reporter),
    )
    state = run_loop(loop, state, run, reporter=reporter, resume=resume)
    test_loss = evaluate(training, state.best.weights, data.test, settings.test_batch_size)
    count = count_language_model(training.model)
    result = LanguageTrainResult(
        train_perplexities=tuple(record["train_perplexity"] for record in run.records("metrics")),
        val_perplexity=perplexity(float(state.best.loss)),
        test_perplexity=perplexity(test_loss),
        parameters=count.parameters,
        macs=count.macs,
    )
    return result, state.best.weights


def _record(state: LanguageTrainState, val_loss: float) -> dict[str, Any]:
    """The numbers of the last epoch."""
    words = int(state.sums["words"])
    train_loss = float(state.sums["loss"]) / words if words else math.nan
    return {
        "train_loss": train_loss,
        "val_loss": val_loss,
        "train_perplexity": perplexity(train_loss),
        "val_perplexity": perplexity(val_loss),
        "averaged": int(state.averaged_steps) != PLAIN,
        "rollbacks": int(state.sums["rollbacks"]),
    }


def _after_epoch(
    training: LanguageTraining, state: LanguageTrainState, record: Mapping[str, Any], reporter: Reporter
) -> LanguageTrainState:
    """The state after the epoch; tells the user about rollbacks and about the start of averaging."""
    epoch, times = record["epoch"], record["rollbacks"]
    if times:
        reporter.warning(
            f"epoch {epoch}: the loss exploded, and training returned to the best weights so far (times: {times})"
        )
    after = training.end_epoch(state, record["val_loss"])
    if not record["averaged"] and int(after.averaged_steps) != PLAIN:
        reporter.message(f"epoch {epoch}: the validation loss stopped falling; averaging of the weights begins")
    return after
