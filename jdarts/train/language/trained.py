"""Trained language models: the cell, the words and the weights in two files of a run folder."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import parse
from jdarts.genotypes.recurrent import RecurrentGenotype
from jdarts.networks.recurrent.model import RecurrentModel
from jdarts.runs.folder import RunFolder
from jdarts.train.trained import MODEL, WEIGHTS, trained_folder


@dataclass(frozen=True, eq=False)
class TrainedLanguageModel:
    """A trained language model; `load_language_model` reads one from a run folder.

    Attributes:
      genotype: its cell.
      words: the vocabulary, in the order of the outputs.
      params: the parameters of `module`.
    """

    genotype: RecurrentGenotype
    words: tuple[str, ...]
    params: Mapping[str, np.ndarray] = field(repr=False)

    @property
    def units(self) -> int:
        """The size of the hidden state, which is that of the word vectors."""
        return self.params["embedding_table"].shape[1]

    @property
    def module(self) -> RecurrentModel:
        """The Flax module, `(tokens [time, batch], hidden [batch, units], train) -> Outputs`."""
        words, units = len(self.words), self.units
        return RecurrentModel(genotype=self.genotype, vocabulary=words, embedding=units, units=units)

    def about(self) -> dict[str, Any]:
        """The content of `model.json`."""
        return {"genotype": self.genotype.to_text(), "units": self.units, "words": list(self.words)}


def save_language_model(run: RunFolder, model: TrainedLanguageModel) -> None:
    """Write the two files of a trained language model into a run folder."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **model.params)  # pyright: ignore[reportArgumentType]
    run.write_bytes(WEIGHTS, content.getvalue())
    run.write_json(MODEL, model.about())


def is_language_model(run: str | Path) -> bool:
    """True if the run folder holds a trained language model; `UserError` if it holds nothing trained."""
    try:
        return "words" in json.loads((trained_folder(Path(run)) / MODEL).read_text())
    except (OSError, ValueError, TypeError):
        return False


def load_language_model(run: str | Path) -> TrainedLanguageModel:
    """The trained language model of a run folder. Raises `UserError` for a folder without one, and damaged files."""
    folder = trained_folder(Path(run))
    try:
        about = json.loads((folder / MODEL).read_text())
        with np.load(folder / WEIGHTS, allow_pickle=False) as stored:
            params = {name: stored[name] for name in stored.files}
        genotype, words = parse(about["genotype"]), tuple(about["words"])
        size = params["embedding_table"].shape
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"the language model in {folder} cannot be read: {error}; train it again") from None
    if not isinstance(genotype, RecurrentGenotype) or size[0] != len(words):
        raise UserError(f"{folder / WEIGHTS} does not fit {MODEL}: {size[0]} word vectors for {len(words)} words")
    return TrainedLanguageModel(genotype, words, params)
