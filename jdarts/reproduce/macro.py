"""One-shot methods on NAS-Bench-Macro (Su et al. 2021, arXiv:2103.11922), where every network's accuracy is known.

Two questions: does the accuracy with inherited weights rank networks as training does, with and without recalibrated
batch norms; and how good is the network that a method chooses. Every block of every supernet sees the same number of
images: where a step trains one block of a layer, there are three times as many steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jdarts import spaces
from jdarts.analysis.figures import COLOURS, figure
from jdarts.analysis.ranking import kendall, spearman
from jdarts.benchmarks import ArchitectureTable, load_macro_table
from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig
from jdarts.config.files import with_values
from jdarts.estimation.inheritance import Inherited, inherited
from jdarts.reproduce.experiment import Findings, Reproduction, Scale, Setting, Sheet
from jdarts.reproduce.nasbench201 import costs
from jdarts.reproduce.published import published
from jdarts.reproduce.runs import SearchedRun, mean_of, search, shown
from jdarts.runs.folder import RunFolder
from jdarts.spaces.decisions import uniform

RECALIBRATION = 384
"""Training images for the statistics of batch norm."""
PATHS = 3
"""Blocks of a layer. A step of FairNAS trains as many paths; methods of one path a step take as many epochs."""
MODES = {"running averages": 0, "recalibrated": RECALIBRATION}


@dataclass(frozen=True)
class MacroScale:
    """The sizes of one scale.

    Attributes:
      base: the search that trains all blocks in every step. changes: of `base`, by the name of a method.
      seeds: number of seeds. networks: number of random networks whose ranking is compared.
      images: validation images that rank a network.
    """

    base: Experiment
    changes: dict[str, dict[str, Any]]
    seeds: int
    networks: int
    images: int


def scale_of(scale: Scale, path: str) -> MacroScale:
    """The sizes of a scale; images from `path`."""
    smoke, cpu = scale == "smoke", scale == "cpu"
    data = DataConfig(source="cifar10", path=path)
    if smoke:
        data = DataConfig(source="digits", limit=64, crop_padding=1, flip=False)
    elif cpu:
        size = {"limit": 4000, "train_fraction": 0.75, "val_fraction": 0.25, "shrink": 2, "crop_padding": 2}
        data = DataConfig(source="cifar10", path=path, **size)
    base = Experiment(
        data=data,
        space=SpaceConfig(name="nasbench_macro"),
        search=SearchConfig(
            epochs=1 if smoke else 8 if cpu else 40,
            batch_size=16 if smoke else 64 if cpu else 256,
            weight_optimizer=SGDConfig(learning_rate=0.05, learning_rate_min=0.0, weight_decay=4e-5),
            alpha_optimizer=AdamConfig(learning_rate=3e-4 if scale == "full" else 1e-2),
        ),
    )
    if smoke:
        evolution = ("generations=2", "population=2", "parents=1", "recalibration=1")
        return MacroScale(base, {"SPOS": changes_of(base, evolution)["SPOS"]}, 1, 6, 32)
    evolution = ("generations=5", "population=20", "recalibration=4")
    return MacroScale(base, changes_of(base, evolution), 3, 300, 576 if cpu else 9216)


def changes_of(base: Experiment, evolution: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The settings of each method, as changes of `base`; `evolution` are those of an evolutionary search."""
    epochs = PATHS * base.search.epochs
    path = {"search.epochs": epochs}
    one_shot = {**path, "search.method_options": evolution}
    warm = (f"warm_up={epochs // 3}", "alpha_every=1")
    return {
        "SPOS": {"search.method": "spos", **one_shot},
        "FairNAS": {"search.method": "fairnas", **one_shot, "search.batch_size": PATHS * base.search.batch_size},
        "DARTS, first order": {"search.method": "darts", "search.hypergradient": "first_order"},
        "GDAS": {"search.method": "gdas", **path},
        "ProxylessNAS": {"search.method": "proxyless_nas", **path, "search.method_options": warm},
    }


RANKED = ("SPOS", "FairNAS", "DARTS, first order")
"""The supernets whose inherited accuracies are compared with the truth."""


def run(setting: Setting) -> Findings:
    """The experiment."""
    sizes = scale_of(setting.scale, setting.data)
    seeds = setting.seeds or sizes.seeds
    found = {
        row: search(setting, _folder(row), with_values(sizes.base, {"name": _folder(row), **changes}), seeds)
        for row, changes in sizes.changes.items()
    }
    networks = random_networks(sizes.networks)
    scores = {
        row: [ranked(setting, found[row], seed, networks, sizes.images) for seed in range(len(found[row].members))]
        for row in RANKED
        if row in found
    }
    chosen = {row: run.genotypes for row, run in found.items()}
    values: dict[str, object] = {"chosen": chosen, "networks": networks, "inherited": scores}
    if not setting.table:
        rows = [["method", "chosen networks"], *([row, " ".join(codes)] for row, codes in chosen.items())]
        unknown = Sheet("Chosen networks", rows, "Without --table no truth is known.")
        return Findings([unknown, costs(found)], values=values)
    table = load_macro_table(setting.table)
    truth = [table.query(network)["mean_acc"] for network in networks]
    sheets = [_correlations(scores, truth), _choices(chosen, table), costs(found)]
    return Findings(sheets, {"inherited": inherited_figure(scores, truth)}, {**values, "truth": truth})


def random_networks(count: int) -> list[str]:
    """Codes of different random networks, the same in every run."""
    space, rng, found = spaces.get_decisions("nasbench_macro"), np.random.default_rng(0), {}
    while len(found) < count:
        found[space.decode(uniform(space, rng)).to_text()] = None
    return list(found)


def _folder(row: str) -> str:
    return row.partition(",")[0].lower()


def ranked(
    setting: Setting, found: SearchedRun, index: int, networks: Sequence[str], images: int
) -> dict[str, list[float]]:
    """The inherited accuracies in % of the networks on `images` validation images, by mode.

    Those in the folder are not computed again.
    """
    folder = setting.folder / "inherited"
    folder.mkdir(exist_ok=True)
    records, estimator = RunFolder(folder), None
    name = f"{found.folder.name}-{found.members[index]['name']}"
    scores: dict[str, list[float]] = {}
    for mode, recalibration in MODES.items():
        known = {r["network"]: r["accuracy"] for r in records.records(name) if r["recalibration"] == recalibration}
        for network in networks:
            if network not in known:
                estimator = estimator or _estimator(found.member_folder(index))
                batches = -(-recalibration // estimator.batch_size)
                budget = {"recalibration": min(batches, estimator.training_batches), "images": images}
                known[network] = estimator(tuple(map(int, network)), budget)["accuracy"]
                record = {"network": network, "recalibration": recalibration, "accuracy": known[network]}
                records.append(name, record)
        scores[mode] = [known[network] for network in networks]
    return scores


def _estimator(folder: Path) -> Inherited:
    found = inherited(folder)
    assert isinstance(found, Inherited)
    return found


def _correlations(scores: Mapping[str, Sequence[Mapping[str, list[float]]]], truth: Sequence[float]) -> Sheet:
    rows = [["supernet", "batch norms", "Kendall's τ", "Spearman's ρ", "seeds"]]
    for row, seeds in scores.items():
        for mode in MODES:
            taus, rhos = ([rank(one[mode], truth) for one in seeds] for rank in (kendall, spearman))
            rows.append([row, mode, shown(mean_of(taus), 3), shown(mean_of(rhos), 3), str(len(seeds))])
    return Sheet(f"Inherited accuracy against the truth, {len(truth)} random networks", rows)


def _choices(chosen: Mapping[str, Sequence[str]], table: ArchitectureTable) -> Sheet:
    rows = [["method", "true test accuracy, %", f"rank of {len(table):,}, mean", "regret, points", "networks"]]
    for row, codes in chosen.items():
        accuracies = mean_of([table.query(code)["mean_acc"] for code in codes])
        regrets, ranks = mean_of([table.regret(code) for code in codes]), [table.rank(code) for code in codes]
        rows.append([row, shown(accuracies), f"{np.mean(ranks):,.0f}", shown(regrets), " ".join(codes)])
    for name in ("best, 22212220", "median", "mean"):
        rows.append([f"all networks: {name}", str(published("macro")[name].numbers[0]), "–", "–", "–"])
    return Sheet("Chosen networks", rows)


def inherited_figure(scores: Mapping[str, Sequence[Mapping[str, list[float]]]], truth: Sequence[float]) -> Figure:
    """Inherited accuracy of the first seed against the truth, a panel for each supernet, a colour for each mode."""
    fig, axes = figure(max(1, len(scores)), width=4.6, height=4.2)
    for axis, (row, seeds) in zip(axes, scores.items(), strict=False):
        for colour, mode in zip(COLOURS, MODES, strict=False):
            axis.plot(truth, seeds[0][mode], "o", ms=4, alpha=0.6, color=colour, label=mode)
        axis.set(xlabel="true test accuracy, %", ylabel="accuracy with inherited weights, %", title=row)
    axes[0].legend(frameon=False, fontsize=10)
    return fig


REPRODUCTION = Reproduction(
    name="macro",
    summary="one-shot methods on NAS-Bench-Macro: inherited accuracy against the truth, and the chosen networks",
    tables=(published("macro"),),
    inputs={"smoke": (), "cpu": ("data", "table"), "full": ("data", "table")},
    costs={
        "smoke": "under a minute of a CPU core",
        "cpu": "about three hours of two CPU cores for three seeds of five searches",
        "full": "12 searches of 120 epochs and three of 40, about a GPU-hour each",
    },
    differences={
        "smoke": "SPOS alone, one seed, 3 epochs on 64 digits, 6 networks",
        "cpu": "3,000 + 1,000 images of 16x16; 8 epochs of DARTS, 24 of the others; alphas at 0.01, ProxylessNAS "
        "without latency",
        "full": "25,000 + 25,000 images, 40 epochs of DARTS, 120 of the others; the paper publishes the table, "
        "not these searches",
    },
    run=run,
    optional=("table",),
)
