"""DARTS on Penn Treebank and its transfer to WikiText-2 (Liu et al. 2019, arXiv:1806.09055, tables 2 and 4).

Searches in both orders; training of the found cells, of published and random cells, and of an LSTM with as many
parameters, by one protocol; training of the cells of the second-order searches and of those others on WikiText-2.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from jdarts.data.text import load_text
from jdarts.networks.recurrent import LSTM
from jdarts.pipeline import open_run
from jdarts.report.outcomes import COST_HEAD, cost_cells
from jdarts.report.records import cost_of
from jdarts.reproduce.experiment import Findings, Reproduction, Scale, Setting, Sheet
from jdarts.reproduce.published import Number, PublishedTable, published
from jdarts.reproduce.runs import TrainedRun, beside, finished, holds, mean_of, search, shown, theirs, train
from jdarts.runs.kinds import Kind
from jdarts.train.language import train_language_model

FIRST, SECOND = "DARTS, first order", "DARTS, second order"
ORDERS = {SECOND: "unrolled", FIRST: "first_order"}
CELLS = {"DARTS_RNN": SECOND, "ENAS_RNN": "ENAS"}
"""Published cells that are trained, too, and their rows."""
WORDS, LINES, LENGTH = 12, {"train": 40, "valid": 12, "test": 12}, 9


@dataclass(frozen=True)
class TextScale:
    """The sizes of one scale: search, training and transfer, seeds of the searches, and the number of random cells."""

    search: Experiment
    training: Experiment
    transfer: Experiment
    seeds: int
    random: int
    cells: tuple[str, ...]


def scale_of(scale: Scale, path: str, transfer: str = "") -> TextScale:
    """The sizes of a scale; the texts from `path` and, of the transfer, from `transfer`."""
    rate = {"full": 20.0, "cpu": 5.0, "smoke": 1.0}[scale]
    weights = SGDConfig(rate, rate, momentum=0.0, weight_decay=5e-7, gradient_clip=0.25)
    alphas = AdamConfig(3e-3 if scale == "full" else 1e-2, b1=0.9, b2=0.999, weight_decay=1e-3)
    space, data = SpaceConfig(name="darts_rnn"), DataConfig(source="ptb", path=path)
    if scale == "full":
        found = SearchConfig(epochs=50, batch_size=256, weight_optimizer=weights, alpha_optimizer=alphas)
        whole = Experiment(data=data, space=space, search=found)
        settings = LanguageTrainConfig(units=700, dropout_hidden=0.15, weight_decay=5e-7)
        other = replace(whole, data=DataConfig(source="wikitext2", path=transfer), language_train=settings)
        return TextScale(whole, whole, other, 4, 8, tuple(CELLS))
    none: dict[str, Any] = dict.fromkeys(LanguageSearchConfig().dropouts(), 0.0)
    cpu = scale == "cpu"
    units, batch, bptt = (100, 20, 35) if cpu else (4, 4, 6)
    lasting = {"epochs": 2 if cpu else 1, "batch_size": batch, "units": units, "slowness": 0.0, "bptt": bptt}
    small = Experiment(
        data=data if cpu else DataConfig(source="text", path=path),
        space=space,
        search=SearchConfig(epochs=2 if cpu else 1, batch_size=batch, weight_optimizer=weights, alpha_optimizer=alphas),
        language_search=LanguageSearchConfig(units=units, bptt=bptt, **none),
        language_train=LanguageTrainConfig(**lasting, val_batch_size=batch, test_batch_size=batch, **none),
    )
    if not cpu:
        return TextScale(small, small, replace(small, data=replace(small.data, path=transfer)), 1, 0, ())
    shorter = replace(small, data=replace(data, limit=150_000))
    one_epoch = replace(small.language_train, epochs=1)
    other = replace(small, data=DataConfig(source="wikitext2", path=transfer, limit=400_000), language_train=one_epoch)
    return TextScale(shorter, small, other, 3, 3, tuple(CELLS))


def write_text(folder: Path, seed: int) -> str:
    """Write a small text, in which a word is mostly followed by the next one of a fixed order, into `folder`."""
    rng = np.random.default_rng(seed)
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
    return str(folder)


def run(setting: Setting) -> Findings:
    """The experiment."""
    smoke = setting.scale == "smoke"
    texts = (
        [write_text(setting.folder / name, i) for i, name in enumerate(("text", "transfer"))]
        if smoke
        else (setting.data, setting.transfer)
    )
    sizes = scale_of(setting.scale, *texts)
    orders = {SECOND: "unrolled"} if smoke else ORDERS
    searched = {}
    for row, order in orders.items():
        name = f"search-{order}"
        config = replace(sizes.search, name=name, search=replace(sizes.search.search, hypergradient=order))
        searched[row] = search(setting, name, config, setting.seeds or sizes.seeds)
    cells = {row: found.genotypes for row, found in searched.items()} | {cell: [cell] for cell in sizes.cells}
    random = [spaces.LANGUAGE["darts_rnn"].random_genotype(seed).to_text() for seed in range(sizes.random)]
    cells |= {"random": random} if random else {}
    trained = _all_trained(setting, "train", sizes.training, cells)
    moved = {row: each for row, each in cells.items() if row != FIRST}
    transferred = _all_trained(setting, "transfer", sizes.transfer, moved) if texts[1] else {}
    costs = [["part", *COST_HEAD], *([f"search, {row}", *cost_cells(found.cost)] for row, found in searched.items())]
    for part, rows in (("training", trained), ("transfer", transferred)):
        costs += [
            [f"{part}, {row}, n = {len(runs)}", *cost_cells(cost_of([epoch for run in runs for epoch in run.epochs]))]
            for row, runs in rows.items()
        ]
    sheets = [_compared("Perplexity on Penn Treebank", published("ptb"), trained)]
    if transferred:
        sheets.append(_compared("Transfer to WikiText-2: perplexity", published("wikitext2"), transferred))
    values = {
        name: {row: [run.result for run in runs] for row, runs in rows.items()}
        for name, rows in (("trained", trained), ("transferred", transferred))
    }
    return Findings([*sheets, Sheet("Cost", costs)], values=values)


def _all_trained(
    setting: Setting, part: str, config: Experiment, cells: Mapping[str, Sequence[str]]
) -> dict[str, list[TrainedRun]]:
    """The trainings of all cells, by row, and of an LSTM with as many parameters as the first of them."""
    found: dict[str, list[TrainedRun]] = {}
    for row, genotypes in cells.items():
        found[row] = []
        for i, genotype in enumerate(genotypes):
            name = f"{part}-{row_name(row)}" + ("" if len(genotypes) == 1 else f"-{i}")
            found[row].append(train(setting, name, replace(config, name=name), genotype))
    size = next(run.result["parameters"] for runs in found.values() for run in runs)
    name = f"{part}-lstm"
    return found | {"LSTM": [train_lstm(setting, name, replace(config, name=name), size)]}


def train_lstm(setting: Setting, name: str, config: Experiment, parameters: int) -> TrainedRun:
    """The training of the LSTM whose number of parameters is next to `parameters`, in the folder `name`."""
    folder = setting.folder / name
    again = holds(folder, config)
    if not (folder / "result.json").is_file():
        setting.reporter.message(f"train {name}")
        data = load_text(config.data)
        units = lstm_units(parameters, len(data.vocabulary))
        dropouts = config.language_train.dropouts()
        model = LSTM(vocabulary=len(data.vocabulary), embedding=units, units=units, **dropouts)
        begun = {"resume": again, "overwrite": False, "kind": Kind.TRAINING, "reporter": setting.reporter}
        with open_run(folder, config, data, **begun) as run:
            result, _ = train_language_model(config, model, data, run, resume=again, reporter=setting.reporter)
            run.write_json("result.json", {"units": units, **asdict(result)})
    return finished(folder)


def lstm_units(parameters: int, vocabulary: int) -> int:
    """The units of an LSTM with tied word vectors of the same size, for a given number of parameters.

    It has v (u + 1) + 8 u² + 4 u parameters for u units and v words.
    """
    b, c = vocabulary + 4, vocabulary - parameters
    return max(1, round((math.sqrt(b * b - 32 * c) - b) / 16))


def row_name(row: str) -> str:
    """A row of the table as part of a name of a folder."""
    return "_".join("".join(c if c.isalnum() else " " for c in row).lower().split())


def _compared(title: str, table: PublishedTable, trained: Mapping[str, list[TrainedRun]]) -> Sheet:
    rows = [["cell", "validation perplexity: ours vs published", "test: ours vs published", "difference", "cells"]]
    nothing: tuple[Number | None, ...] = (None, None, None)
    for row, runs in trained.items():
        name = CELLS.get(row, row)
        there = next((each.numbers for each in table.rows if each.method == name), nothing)
        ours: dict[str, Number | None] = {
            part: mean_of([run.result[f"{part}_perplexity"] for run in runs]) for part in ("val", "test")
        }
        cells = [f"{shown(ours[part])} vs {theirs(there[i])}" for part, i in (("val", 1), ("test", 2))]
        rows.append([row, *cells, beside(ours["test"], there[2]), str(len(runs))])
    sizes = sorted({run.result["parameters"] for runs in trained.values() for run in runs})
    note = (
        f"Each cell is trained once; {sizes[0]:,} to {sizes[-1]:,} parameters. Published: the best of four searches by "
        "short training."
    )
    return Sheet(title, rows, note)


REPRODUCTION = Reproduction(
    name="ptb",
    summary="DARTS on text: Penn Treebank, WikiText-2; found, published and random cells, an LSTM (tables 2 and 4)",
    tables=(published("ptb"), published("wikitext2")),
    inputs={"smoke": (), "cpu": ("data",), "full": ("data",)},
    costs={
        "smoke": "under a minute of a CPU core",
        "cpu": "about two hours of two CPU cores",
        "full": "4 searches in each order, a GPU-day each in second order; 34 trainings, 3 GPU-days each",
    },
    differences={
        "smoke": "one order, one seed, no random cell, 4 units, made-up texts of 360 words",
        "cpu": "100 units, no dropout; searches read 150,000 words twice, trainings 929,589 words twice "
        "(WikiText-2: 400,000 words once)",
        "full": "as published; every found cell is trained in full, none is chosen by a short training",
    },
    run=run,
    optional=("transfer",),
)
