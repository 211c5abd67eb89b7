"""A search on text that compiles in a second: 2 nodes, 4 units, 7 words."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig
from jdarts.config.language import LanguageSearchConfig, LanguageTrainConfig
from jdarts.data.text import TextData
from jdarts.genotypes.recurrent import ACTIVATIONS
from jdarts.search.search import Search, make_search
from jdarts.spaces.recurrent import DartsRecurrentSpace

SPACE = DartsRecurrentSpace("tiny_rnn", 2, ACTIVATIONS, "nodes")
BATCH, BPTT, UNITS, WORDS = 4, 6, 4, 7
SGD = SGDConfig(learning_rate=0.5, learning_rate_min=0.5, momentum=0.0, weight_decay=1e-2, gradient_clip=0.05)
CONFIG = Experiment(
    search=SearchConfig(epochs=2, batch_size=BATCH, weight_optimizer=SGD, alpha_init_scale=0.5),
    language_search=LanguageSearchConfig(units=UNITS, bptt=BPTT, slowness=0.3),
)
TRAIN_CONFIG = Experiment(
    name="toy",
    data=DataConfig(source="text", path="text"),
    space=SpaceConfig(name=SPACE.name),
    language_train=LanguageTrainConfig(epochs=3, units=UNITS, batch_size=8, bptt=BPTT, val_batch_size=2),
)
"""Of trainings; with `write_text` also of the command line."""
NO_DROPOUT = dict.fromkeys(CONFIG.language_search.dropouts(), 0.0)


def text(train: int = 130, valid: int = 70) -> TextData:
    rng = np.random.default_rng(0)
    parts: Any = {
        name: rng.integers(0, WORDS, size).astype(np.int32)
        for name, size in (("train", train), ("valid", valid), ("test", 40))
    }
    return TextData(name="text", vocabulary=tuple("abcdefg"), **parts)


def search(method: str = "darts", dropout: bool = True, **settings: Any) -> Search:
    language = CONFIG.language_search if dropout else replace(CONFIG.language_search, **NO_DROPOUT)
    config = replace(CONFIG, language_search=language, search=replace(CONFIG.search, method=method, **settings))
    return make_search(config, SPACE, text())  # pyright: ignore[reportArgumentType]


def write_text(folder: Path) -> None:
    """Write `text()` as the files of `data.source text`."""
    folder.mkdir()
    data = text()
    for name in ("train", "valid", "test"):
        words = [data.vocabulary[number] for number in getattr(data, name)]
        lines = [" ".join(words[first : first + 10]) for first in range(0, len(words), 10)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
