"""DARTS on CIFAR-10 (Liu et al. 2019, arXiv:1806.09055, §3 and figure 3): four searches, the best, random cells.

The genotype of every looked-at epoch is trained briefly; its error against the epoch is the progress of the search. The
best of the four final genotypes, by the validation accuracy of these short trainings, is trained in full. Random cells
go the same way. The test images take no part in any choice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jdarts import spaces
from jdarts.analysis.figures import COLOURS, figure
from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig, TrainConfig
from jdarts.report.outcomes import COST_HEAD, cost_cells
from jdarts.report.records import Spent, cost_of
from jdarts.reproduce.experiment import Findings, Reproduction, Scale, Setting, Sheet
from jdarts.reproduce.published import PublishedTable, published
from jdarts.reproduce.runs import (
    SearchedRun,
    TrainedRun,
    beside,
    mean_of,
    search,
    shown,
    theirs,
    train,
    train_briefly,
)

PLAIN: dict[str, Any] = {"auxiliary_weight": 0.0, "drop_path": 0.0, "cutout": 0}
FAST_SGD = SGDConfig(learning_rate=0.05, learning_rate_min=0.0)


@dataclass(frozen=True)
class CellsScale:
    """The sizes of one scale.

    Attributes:
      search: of the searches. brief, full: of the short and the final trainings.
      seeds: number of searches. every: epochs between two genotypes that are looked at.
      random: number of random cells. finals: full trainings of the best cell.
    """

    search: Experiment
    brief: TrainConfig
    full: TrainConfig
    seeds: int
    every: int
    random: int
    finals: int


def scale_of(scale: Scale, path: str) -> CellsScale:
    """The sizes of a scale; images from `path`."""
    cifar = DataConfig(source="cifar10", path=path)
    if scale == "full":
        config = Experiment(name="darts_cifar10", data=cifar)
        brief = TrainConfig(epochs=100, channels=16, cells=8, auxiliary_weight=0.0, val_fraction=0.5)
        return CellsScale(config, brief, TrainConfig(), seeds=4, every=5, random=24, finals=10)
    if scale == "cpu":
        small = Experiment(
            name="darts_cifar10",
            data=replace(cifar, limit=4000, shrink=2, crop_padding=2),
            space=SpaceConfig(name="darts_cnn", channels=8, cells=5),
            search=SearchConfig(epochs=10, batch_size=64, alpha_optimizer=AdamConfig(learning_rate=3e-3)),
        )
        sizes = {"batch_size": 64, "channels": 8, "cells": 5, "optimizer": FAST_SGD, **PLAIN}
        brief = TrainConfig(epochs=5, val_fraction=0.25, **sizes)
        full = replace(brief, epochs=10, channels=16, val_fraction=0.0)
        return CellsScale(small, brief, full, seeds=4, every=5, random=6, finals=1)
    tiny = Experiment(
        name="darts_cifar10",
        data=DataConfig(source="digits", limit=64, crop_padding=1, flip=False),
        space=SpaceConfig(name="robust_s2", channels=2, cells=1),
        search=SearchConfig(epochs=2, batch_size=16, hypergradient="first_order"),
    )
    brief = TrainConfig(epochs=1, batch_size=16, channels=2, cells=1, val_fraction=0.25, **PLAIN)
    return CellsScale(tiny, brief, replace(brief, val_fraction=0.0), seeds=2, every=2, random=1, finals=1)


def run(setting: Setting) -> Findings:
    """The experiment."""
    sizes = scale_of(setting.scale, setting.data)
    found = search(setting, "searches", sizes.search, setting.seeds or sizes.seeds)
    looked_at = {
        member["seed"]: _progress(setting, sizes, found, index)
        for index, member in enumerate(found.members)
        if member["genotype"] is not None
    }
    space = spaces.get(sizes.search.space.name)
    random = {
        genotype: train_briefly(setting, _brief(sizes), genotype)
        for genotype in (space.random_genotype(seed).to_text() for seed in range(sizes.random))
    }
    last = {genotype: run for points in looked_at.values() for genotype, run in [list(points.values())[-1]]}
    finals = {
        kind: _finals(setting, sizes, kind, max(candidates, key=lambda g: validation(candidates[g])))
        for kind, candidates in (("found", last), ("random", random))
    }
    counted = {kind: [run.result for run in runs] for kind, runs in finals.items()}
    curves = {
        seed: {epoch: 100 * (1 - validation(run)) for epoch, (_, run) in points.items()}
        for seed, points in looked_at.items()
    }
    baseline = [100 * (1 - validation(run)) for run in random.values()]
    return Findings(
        [_results(setting, counted), _chosen(curves, baseline), _costs(found, looked_at, random, finals)],
        {"search_progress": progress_figure(curves, baseline), "cost_and_error": cost_figure(published("cifar10"))},
        {"finals": counted, "progress": curves, "random": baseline},
    )


def validation(run: TrainedRun) -> float:
    """The validation accuracy after the last epoch, a fraction."""
    return run.epochs[-1]["val_accuracy"]


def _brief(sizes: CellsScale) -> Experiment:
    return replace(sizes.search, train=sizes.brief)


def _progress(setting: Setting, sizes: CellsScale, found: SearchedRun, index: int) -> dict[int, tuple[str, TrainedRun]]:
    """The genotype and its short training by epoch: some epochs at equal distances, and the last one."""
    records = found.epochs(index)
    chosen = [r for r in records if r["epoch"] % sizes.every == 0 or r is records[-1]]
    return {r["epoch"]: (r["genotype"], train_briefly(setting, _brief(sizes), r["genotype"])) for r in chosen}


def _finals(setting: Setting, sizes: CellsScale, kind: str, genotype: str) -> list[TrainedRun]:
    """The full trainings of a cell, each with a seed of its own."""
    config = replace(sizes.search, train=sizes.full)
    return [
        train(setting, f"final-{kind}-{seed}", replace(config, name=f"final-{kind}-{seed}", seed=seed), genotype)
        for seed in range(sizes.finals)
    ]


def _results(setting: Setting, counted: Mapping[str, Sequence[Mapping[str, float]]]) -> Sheet:
    table = published("cifar10")
    rows = [["cell", "test error, %", "published", "difference", "parameters, M", "published"]]
    for kind, method in (("found", "DARTS, second order"), ("random", "random")):
        ours = mean_of([100 * (1 - result["test_accuracy"]) for result in counted[kind]])
        size = mean_of([result["parameters"] / 1e6 for result in counted[kind]])
        error, parameters = (table.number(method, column) for column in ("test error, %", "parameters, M"))
        rows.append([kind, shown(ours), theirs(error), beside(ours, error), shown(size, 3), theirs(parameters)])
    return Sheet("Test error of the best cell", rows, f"{len(counted['found'])} full trainings of each cell.")


def _chosen(curves: Mapping[int, Mapping[int, float]], baseline: Sequence[float]) -> Sheet:
    rows = [["search", "validation error of its last genotype after a short training, %"]]
    rows += [[f"seed {seed}", f"{list(points.values())[-1]:.2f}"] for seed, points in curves.items()]
    rows.append([f"random cells, {len(baseline)}", f"{shown(mean_of(baseline))}, best {min(baseline):.2f}"])
    return Sheet("Choice among the searches", rows)


def _costs(found: SearchedRun, looked_at: Mapping, random: Mapping[str, TrainedRun], finals: Mapping) -> Sheet:
    brief = {run.folder: run for points in looked_at.values() for _, run in points.values()}
    brief |= {run.folder: run for run in random.values()}
    rows = [["part", "runs", *COST_HEAD], ["searches", str(len(found.members)), *cost_cells(found.cost)]]
    rows.append(["short trainings", str(len(brief)), *cost_cells(total(list(brief.values())))])
    ended = [run for runs in finals.values() for run in runs]
    rows.append(["full trainings", str(len(ended)), *cost_cells(total(ended))])
    return Sheet("Cost", rows)


def total(runs: Sequence[TrainedRun]) -> Spent:
    """The cost of several trainings."""
    return cost_of([record for run in runs for record in run.epochs])


def progress_figure(curves: Mapping[int, Mapping[int, float]], baseline: Sequence[float]) -> Figure:
    """The error of each epoch's genotype after a short training, a line a search; the random cells as a band.

    Args:
      curves: errors in % by epoch, by seed.
      baseline: errors in % of the random cells.
    """
    fig, (axis,) = figure(1, width=6.4, height=4.4)
    for number, (seed, points) in enumerate(curves.items()):
        axis.plot(list(points), list(points.values()), "o-", color=COLOURS[number % 8], lw=2, label=f"seed {seed}")
    axis.axhline(float(np.mean(baseline)), color="#5b6675", ls="--", label="random cells, mean")
    axis.axhline(min(baseline), color="#5b6675", ls=":", label="random cells, best")
    axis.set(xlabel="epoch of the search", ylabel="validation error, %")
    axis.legend(frameon=False, fontsize=10)
    return fig


def cost_figure(table: PublishedTable) -> Figure:
    """The published test error against the published cost of the search; open marks are recalled numbers.

    Rows without a cost are left out.
    """
    fig, (axis, names) = figure(2, width=5.6, height=5.8)
    shown_rows = [row for row in table.rows if row.numbers[0] is not None and row.numbers[2] is not None]
    for number, row in enumerate(shown_rows, start=1):
        error, cost = row.numbers[0], row.numbers[2]
        assert error is not None and cost is not None
        face = "white" if error.recalled or cost.recalled else COLOURS[0]
        axis.errorbar(cost.mean, error.mean, error.std or 0.0, fmt="o", ms=5, color=COLOURS[0], mfc=face, lw=1)
        axis.annotate(str(number), (cost.mean, error.mean), (5, 3), textcoords="offset points", fontsize=9)
    axis.set_xscale("log")
    axis.set(xlabel=table.columns[2], ylabel=table.columns[0])
    names.axis("off")
    listed = "\n".join(f"{number}  {row.method}" for number, row in enumerate(shown_rows, start=1))
    names.text(0, 1, listed, va="top", fontsize=9)
    return fig


REPRODUCTION = Reproduction(
    name="darts_cifar10",
    summary="DARTS on CIFAR-10: four searches, progress by short trainings, the best cell, random cells (table 1)",
    tables=tuple(map(published, ("cifar10", "cifar100", "darts_minus", "drop_nas"))),
    inputs={"smoke": (), "cpu": ("data",), "full": ("data",)},
    costs={
        "smoke": "under a minute of a CPU core",
        "cpu": "about an hour of two CPU cores",
        "full": "four searches of 19,500 second-order steps, 68 trainings of 100 epochs, 20 of 600; weeks of one GPU",
    },
    differences={
        "smoke": "two searches of 2 epochs in first order on 64 digits in the space S2, 1 cell, trainings of 1 epoch",
        "cpu": "2,000 + 2,000 images of 16x16; 8 channels, 5 cells, 10 epochs, alphas at 3e-3; genotypes of epochs 5 "
        "and 10 and 6 random cells trained for 5 epochs; the best for 10 epochs at 16 channels",
        "full": "as published; the genotypes of every fifth epoch are trained at 16 channels and 8 cells, on half of "
        "the training images, the other half chooses",
    },
    run=run,
)
