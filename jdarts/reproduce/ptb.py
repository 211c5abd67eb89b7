"""DARTS on Penn Treebank (Liu et al. 2019, arXiv:1806.09055, table 2): searches, their cells, random cells."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jdarts import spaces
from jdarts.config import (
    AdamConfig,
    DataConfig,
    Experiment,
    LanguageSearchConfig,
    LanguageTrainConfig,
    SearchConfig,
    SGDConfig,
    SpaceConfig,
)
from jdarts.report.outcomes import COST_HEAD, cost_cells
from jdarts.reproduce.experiment import Findings, Reproduction, Scale, Setting, Sheet
from jdarts.reproduce.published import Number, published
from jdarts.reproduce.runs import TrainedRun, beside, mean_of, search, shown, theirs, train

ORDERS = {"DARTS, second order": "unrolled", "DARTS, first order": "first_order"}
CELLS = {"DARTS_RNN": "DARTS, second order", "ENAS_RNN": "ENAS"}
"""Published cells that are trained, too, and their rows."""
WORDS, LINES, LENGTH = 12, {"train": 40, "valid": 12, "test": 12}, 9


@dataclass(frozen=True)
class TextScale:
    """The sizes of one scale: search and training, seeds of the searches, and the number of random cells."""

    config: Experiment
    seeds: int
    random: int
    cells: tuple[str, ...]


def scale_of(scale: Scale, path: str) -> TextScale:
    """The sizes of a scale; the text from `path`."""
    rate = {"full": 20.0, "cpu": 5.0, "smoke": 1.0}[scale]
    weights = SGDConfig(rate, rate, momentum=0.0, weight_decay=5e-7, gradient_clip=0.25)
    alphas = AdamConfig(3e-3 if scale == "full" else 1e-2, b1=0.9, b2=0.999, weight_decay=1e-3)
    space, data = SpaceConfig(name="darts_rnn"), DataConfig(source="ptb", path=path)
    if scale == "full":
        found = SearchConfig(epochs=50, batch_size=256, weight_optimizer=weights, alpha_optimizer=alphas)
        return TextScale(Experiment(data=data, space=space, search=found), 4, 8, tuple(CELLS))
    none: dict[str, Any] = dict.fromkeys(LanguageSearchConfig().dropouts(), 0.0)
    units, batch = (64, 10) if scale == "cpu" else (4, 4)
    lasting = {"epochs": 1, "batch_size": batch, "units": units, "slowness": 0.0, "bptt": 35 if scale == "cpu" else 6}
    found = SearchConfig(epochs=1, batch_size=batch, weight_optimizer=weights, alpha_optimizer=alphas)
    small = Experiment(
        data=replace(data, limit=54_000) if scale == "cpu" else DataConfig(source="text", path=path),
        space=space,
        search=found,
        language_search=LanguageSearchConfig(units=units, bptt=lasting["bptt"], **none),
        language_train=LanguageTrainConfig(**lasting, val_batch_size=batch, test_batch_size=batch, **none),
    )
    if scale == "cpu":
        return TextScale(small, 3, 3, tuple(CELLS))
    return TextScale(small, 1, 0, ())


def write_text(folder: Path) -> Path:
    """Write a small text, in which a word is mostly followed by the next one of a fixed order, into `folder`."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for part, lines in LINES.items():
        word, written = 0, []
        for _ in range(lines):
            line = []
            for _ in range(LENGTH):
                word = (word + 1) % WORDS if rng.random() < 0.8 else int(rng.integers(WORDS))
                line.append(f"w{word}")
            written.append(" ".join(line))
        (folder / f"{part}.txt").write_text("\n".join(written) + "\n")
    return folder


def run(setting: Setting) -> Findings:
    """The experiment."""
    path = str(write_text(setting.folder / "text")) if setting.scale == "smoke" else setting.data
    sizes = scale_of(setting.scale, path)
    orders = {} if setting.scale == "smoke" else dict(ORDERS)
    orders = orders or {"DARTS, first order": "first_order"}
    searched = {}
    for row, order in orders.items():
        name = f"search-{order}"
        config = replace(sizes.config, name=name, search=replace(sizes.config.search, hypergradient=order))
        searched[row] = search(setting, name, config, setting.seeds or sizes.seeds)
    trained: dict[str, list[TrainedRun]] = {
        row: [_trained(setting, sizes, f"{row_name(row)}-{i}", cell) for i, cell in enumerate(run.genotypes)]
        for row, run in searched.items()
    }
    for cell in sizes.cells:
        trained[cell] = [_trained(setting, sizes, cell, cell)]
    random = [spaces.LANGUAGE["darts_rnn"].random_genotype(seed).to_text() for seed in range(sizes.random)]
    if random:
        trained["random"] = [_trained(setting, sizes, f"random-{i}", cell) for i, cell in enumerate(random)]
    costs = [["part", *COST_HEAD], *([f"search, {row}", *cost_cells(run.cost)] for row, run in searched.items())]
    costs += [[f"training, {run.folder.name}", *cost_cells(run.cost)] for runs in trained.values() for run in runs]
    values = {row: [run.result for run in runs] for row, runs in trained.items()}
    return Findings([_compared(trained), Sheet("Cost", costs)], values={"trained": values})


def _trained(setting: Setting, sizes: TextScale, name: str, cell: str) -> TrainedRun:
    return train(setting, f"train-{name}", replace(sizes.config, name=f"train-{name}"), cell)


def row_name(row: str) -> str:
    """A row of the table as part of a name of a folder."""
    return "_".join("".join(c if c.isalnum() else " " for c in row).lower().split())


def _compared(trained: Mapping[str, list[TrainedRun]]) -> Sheet:
    table = published("ptb")
    rows = [["cell", "validation perplexity: ours vs published", "test: ours vs published", "difference", "cells"]]
    for row, runs in trained.items():
        there = table[CELLS.get(row, row)].numbers
        ours: dict[str, Number | None] = {
            part: mean_of([run.result[f"{part}_perplexity"] for run in runs]) for part in ("val", "test")
        }
        cells = [f"{shown(ours[part])} vs {theirs(there[i])}" for part, i in (("val", 1), ("test", 2))]
        rows.append([row, *cells, beside(ours["test"], there[2]), str(len(runs))])
    note = "Each search gives one cell, trained once; published: the best of four searches by short training."
    return Sheet("Perplexity of trained cells", rows, note)


REPRODUCTION = Reproduction(
    name="ptb",
    summary="DARTS on Penn Treebank: searches in both orders, their cells, published cells and random cells (table 2)",
    tables=(published("ptb"), published("wikitext2")),
    inputs={"smoke": (), "cpu": ("data",), "full": ("data",)},
    costs={
        "smoke": "under a minute of a CPU core",
        "cpu": "about two hours of two CPU cores",
        "full": "4 searches in each order, a GPU-day each in second order; 18 trainings, 3 GPU-days each",
    },
    differences={
        "smoke": "one order, one seed, no random cell, 4 units, a made-up text of 360 words",
        "cpu": "the first 54,000 words, 64 units, no dropout, one epoch",
        "full": "as published; every found cell is trained in full, none is chosen by a short training",
    },
    run=run,
)
