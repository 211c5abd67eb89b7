"""Estimates by training language models with recurrent cells."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax

from jdarts.config import DataConfig, Experiment
from jdarts.config.files import numbers_of
from jdarts.config.swept import with_values
from jdarts.data.text import TextData, load_text
from jdarts.errors import UserError
from jdarts.estimation.children import Fidelity, check_trained, kept_of, whole
from jdarts.estimation.estimator import Budget
from jdarts.genotypes import excerpt
from jdarts.genotypes.recurrent import RecurrentGenotype
from jdarts.losses import perplexity
from jdarts.networks.recurrent.size import count_language_model
from jdarts.train.language import (
    LanguageTraining,
    LanguageTrainState,
    check_language_training,
    evaluate,
    language_model,
    make_language_trainings,
)
from jdarts.train.language.step import LanguageStep, language_step

TEXT_FIDELITIES = {
    "epochs": "epochs of training, in place of language_train.epochs",
    "data": "share of the words of the training text, above 0 to 1: the first ones",
    "units": "size of the hidden state and of the word vectors, in place of language_train.units",
}
"""The names of a budget; those left out are as in the configuration."""


class TextChild:
    """The training of one language model. After every epoch it reads the validation text, as `jdarts train` does."""

    def __init__(self, training: LanguageTraining, data: TextData, epochs: int, val_batch_size: int):
        self._training, self._data, self.epochs, self._val_batch_size = training, data, epochs, val_batch_size
        self.init = training.init

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch."""
        return self._training.windows.steps_per_epoch

    @property
    def examples(self) -> jax.Array:
        """The training text, `[words, batch]`."""
        return self._training.text

    def step(self, state: LanguageTrainState) -> tuple[LanguageTrainState, Mapping[str, jax.Array]]:
        """`(state after a step, metrics)`."""
        return self._training.step(state, self._training.text)

    def end_epoch(self, state: LanguageTrainState) -> LanguageTrainState:
        """The state with the validation loss of the epoch noted: best weights, and the start of averaging."""
        loss = evaluate(self._training, state.average, self._data.valid, self._val_batch_size)
        return self._training.end_epoch(state, loss)

    def measured(self, state: LanguageTrainState) -> float:
        """The lowest perplexity of the validation text after an epoch so far; infinite if none was finite."""
        loss = float(state.best.loss)
        return perplexity(loss) if math.isfinite(loss) else math.inf


@dataclass(frozen=True)
class TextChildren:
    """The task of text (`jdarts.estimation.children.ChildTask`)."""

    measure: str = "perplexity"

    @property
    def fidelities(self) -> Mapping[str, str]:
        """The names that a budget may have."""
        return TEXT_FIDELITIES

    def load(self, config: DataConfig) -> TextData:
        """The text."""
        return load_text(config)

    def check_validation(self, config: Experiment) -> None:
        """Do nothing: every text has a validation part."""

    def apply(self, config: Experiment, data: TextData, budget: Budget) -> Fidelity:
        """The configuration and the text at a budget; raises `UserError` for a wrong value."""
        sizes = {name: whole(name, budget[name]) for name in ("epochs", "units") if name in budget}
        config = replace(config, language_train=replace(config.language_train, **sizes))
        if "data" in budget:
            data = replace(data, train=data.train[: kept_of(len(data.train), budget["data"])])
        return Fidelity(config, data)

    def check(self, architecture: Any, fidelity: Fidelity) -> None:
        """Raise `UserError` unless this architecture can be trained; nothing is compiled."""
        genotype = check_trained(architecture, fidelity.config.space.name)
        if not isinstance(genotype, RecurrentGenotype):
            raise UserError(
                f"{excerpt(genotype.to_text())} is a network of images, but data.source {fidelity.data.name} is a "
                "text; use recurrent cells, as those of the spaces darts_rnn, enas_rnn and enas_lm_rnn"
            )
        check_language_training(fidelity.config, genotype, fidelity.data)

    def children(
        self, genotype: RecurrentGenotype, fidelity: Fidelity, numbers: Sequence[str] = ()
    ) -> Callable[[Experiment], TextChild]:
        """`configuration -> training of a genotype`; see `ChildTask`."""
        settings = fidelity.config.language_train
        training = make_language_trainings(fidelity.config, genotype, fidelity.data, numbers)
        return lambda config: TextChild(training(config), fidelity.data, settings.epochs, settings.val_batch_size)

    def step_at(self, genotype: RecurrentGenotype, fidelity: Fidelity, values: Mapping[str, jax.Array]) -> LanguageStep:
        """The functions of a training; see `ChildTask`."""
        return language_step(with_values(fidelity.config, values), genotype, fidelity.data)

    def numbers(self) -> list[str]:
        """The real numbers of `language_train`."""
        return numbers_of("language_train")

    def sizes(self, genotype: RecurrentGenotype, fidelity: Fidelity) -> dict[str, float]:
        """Parameters of the language model, and its multiply–accumulates for one word."""
        model = language_model(fidelity.config.language_train, genotype, len(fidelity.data.vocabulary))
        count = count_language_model(model)
        return {"parameters": count.parameters, "macs": count.macs}

    def of_search(self, record: Mapping[str, Any]) -> float | None:
        """The perplexity of the validation text by the supernet."""
        return record.get("val_perplexity")


TEXT_CHILDREN = TextChildren()
