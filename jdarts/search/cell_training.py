"""The training of a cell from scratch inside a search, for drivers that compare trained cells: on images or on text."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jdarts import train
from jdarts.data.text import TextData
from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.search.search_run import SearchRun
from jdarts.train.language import run_language_training


@dataclass(frozen=True)
class CellTraining:
    """A way to train a cell and to validate it.

    Attributes:
      measure: the name of the validation result.
      sign: 1 if a larger result is better, −1 if a smaller one is.
      train: `(run, genotype, title)` to the result. It writes into `run.folder` and resumes if `run.resume`.
    """

    measure: str
    sign: int
    train: Callable[[SearchRun, Genotype, str], float]


def cell_training(data: Any) -> CellTraining:
    """The training on `data`."""
    return TEXT if isinstance(data, TextData) else IMAGES


def _on_images(run: SearchRun, genotype: Genotype, title: str) -> float:
    """The validation accuracy after the last epoch of a training with `config.train`."""
    if run.config.train.val_fraction <= 0:
        raise UserError("random_search compares cells on validation images; set train.val_fraction, e.g. 0.1")
    shared = {"resume": run.resume, "reporter": run.reporter, "title": title}
    train.run_training(run.config, genotype, run.dataset, run.folder, **shared)
    return run.folder.records("metrics")[-1]["val_accuracy"]


def _on_text(run: SearchRun, genotype: Genotype, title: str) -> float:
    """The lowest validation perplexity of a training with `config.language_train`."""
    assert isinstance(run.data, TextData)
    shared: dict[str, Any] = {"resume": run.resume, "reporter": run.reporter, "title": title}
    return run_language_training(run.config, genotype, run.data, run.folder, **shared).val_perplexity


IMAGES = CellTraining("val_accuracy", 1, _on_images)
TEXT = CellTraining("val_perplexity", -1, _on_text)
