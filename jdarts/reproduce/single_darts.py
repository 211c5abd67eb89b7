"""The ablations of Single-DARTS on NAS-Bench-201 (Hou et al. 2021, arXiv:2108.08128), found cells looked up.

Four grids: the data of the alphas, the learning rate, the relaxation, the optimiser of the alphas. DARTS is the case of
two splits. SGD of the alphas has the learning rate of the weights; the paper leaves open which of the two it varies.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jdarts.benchmarks import load_nasbench201_table
from jdarts.config import Experiment
from jdarts.config.files import with_values
from jdarts.methods.published import ALL_IMAGES, DARTS, HALVES
from jdarts.reproduce.experiment import Findings, Reproduction, Scale, Setting, Sheet
from jdarts.reproduce.nasbench201 import DATA, costs, looked_up, reduced, smallest
from jdarts.reproduce.nasbench201 import scale_of as benchmark_scale
from jdarts.reproduce.published import Number, published
from jdarts.reproduce.runs import SearchedRun, beside, search, shown, theirs


@dataclass(frozen=True)
class AblationCase:
    """A search of the ablations: data of the alphas, relaxation, optimiser of the alphas, learning rate."""

    batches: str
    weights: str
    optimiser: str = "sgd"
    rate: float = 0.005

    @property
    def name(self) -> str:
        """The folder of its searches."""
        return f"{self.batches}-{self.weights}-{self.optimiser}-{self.rate:g}"

    def config(self, base: Experiment, scale: Scale) -> Experiment:
        """The configuration, on top of the sizes of `base`."""
        values = {
            "name": self.name,
            "search.method": "single_darts",
            "search.method_options": (f"batches={self.batches}", f"weights={self.weights}"),
            "search.weight_optimizer.learning_rate": self.rate,
            "search.weight_optimizer.learning_rate_min": 0.0,
            "search.alpha_optimizer.kind": self.optimiser,
        }
        if self.optimiser == "sgd":
            values |= {"search.alpha_optimizer.learning_rate": self.rate, "search.alpha_optimizer.momentum": 0.9}
        if scale == "full":
            values = {**DARTS, "space.cells": 5, **values, **(HALVES if self.batches == "two_splits" else ALL_IMAGES)}
        return with_values(base, values)


def _darts(**changes) -> AblationCase:
    return AblationCase("two_splits", **{"weights": "softmax", **changes})


def _single(**changes) -> AblationCase:
    return AblationCase("same", **{"weights": "sigmoid", **changes})


RATES = (0.001, 0.005, 0.025)
GRIDS: Mapping[str, Mapping[str, AblationCase]] = {
    "single_darts_batches": {
        batches: AblationCase(batches, "softmax") for batches in ("two_splits", "same_split", "same")
    },
    "single_darts_rates": {
        **{f"DARTS, {rate}": _darts(rate=rate) for rate in RATES},
        **{f"Single-DARTS, {rate}": _single(rate=rate) for rate in RATES},
    },
    "single_darts_activations": {
        **{f"DARTS, {name}": _darts(weights=name) for name in ("softmax", "sigmoid")},
        **{f"Single-DARTS, {name}": _single(weights=name) for name in ("softmax", "sigmoid", "sigmoid_star")},
    },
    "single_darts_optimisers": {
        **{f"DARTS, {name}": _darts(optimiser=name) for name in ("sgd", "adam")},
        **{f"Single-DARTS, {name}": _single(optimiser=name) for name in ("sgd", "adam")},
    },
}
"""The rows of the published tables."""
SMOKE = {"single_darts_optimisers": ("Single-DARTS, sgd", "Single-DARTS, adam")}


def grids_of(scale: Scale) -> Mapping[str, Mapping[str, AblationCase]]:
    """The rows that run at a scale."""
    if scale != "smoke":
        return GRIDS
    return {name: {row: GRIDS[name][row] for row in rows} for name, rows in SMOKE.items()}


def run(setting: Setting) -> Findings:
    """The experiment."""
    base = {"smoke": smallest, "cpu": lambda: reduced(setting.data)}.get(
        setting.scale, lambda: benchmark_scale("full", setting.data).base
    )()
    grids = grids_of(setting.scale)
    seeds = setting.seeds or {"smoke": 2, "cpu": 3, "full": 5}[setting.scale]
    cases = dict.fromkeys(case for rows in grids.values() for case in rows.values())
    found = {case: search(setting, case.name, case.config(base, setting.scale), seeds) for case in cases}
    by_name = {case.name: run for case, run in found.items()}
    cells = {name: run.genotypes for name, run in by_name.items()}
    if not setting.table:
        rows = [["search", "found cells"], *([name, " ".join(found)] for name, found in cells.items())]
        return Findings([Sheet("Found cells", rows, "Without --table nothing can be looked up."), costs(by_name)])
    table = load_nasbench201_table(setting.table)
    ours = {case: looked_up(table, run) for case, run in found.items()}
    sheets = [_grid(name, rows, ours, found) for name, rows in grids.items()]
    means = {case.name: {d: n and n.mean for d, n in numbers.items()} for case, numbers in ours.items()}
    return Findings([*sheets, costs(by_name)], values={"cells": cells, "test": means})


def _grid(
    name: str,
    rows: Mapping[str, AblationCase],
    ours: Mapping[AblationCase, Mapping[str, Number | None]],
    found: Mapping[AblationCase, SearchedRun],
) -> Sheet:
    """One ablation beside the published one."""
    table = published(name)
    shared = {data: column for data, column in DATA.items() if column in table.columns}
    head = ["row", *(f"{column}: ours vs published" for column in shared.values()), "difference, CIFAR-10", "seeds"]
    lines = [head]
    for row, case in rows.items():
        there = {data: table.number(row, column) for data, column in shared.items()}
        cells = [f"{shown(ours[case][data])} vs {theirs(there[data])}" for data in shared]
        lines.append([row, *cells, beside(ours[case]["c10"], there["c10"]), _alive(found[case].members)])
    return Sheet(table.title, lines)


def _alive(members: Iterable[Mapping]) -> str:
    """The number of searches, and how many of them did not diverge."""
    states = [member["genotype"] is not None for member in members]
    return f"{sum(states)} of {len(states)}"


REPRODUCTION = Reproduction(
    name="single_darts",
    summary="the ablations of Single-DARTS on NAS-Bench-201: batches, learning rate, relaxation, optimiser of alphas",
    tables=tuple(published(name) for name in (*GRIDS, "single_darts_imagenet")),
    inputs={"smoke": (), "cpu": ("data", "table"), "full": ("data", "table")},
    costs={
        "smoke": "under a minute of a CPU core",
        "cpu": "about three hours of two CPU cores for three seeds of 12 searches",
        "full": "60 searches of 50 epochs, each about 3 GPU-hours",
    },
    differences={
        "smoke": "two searches, 2 epochs on 64 digits, 4 channels",
        "cpu": "8 channels, 1 cell a stage, 2,000 + 2,000 images of 16x16, 25 epochs; Adam of the alphas at 0.01, SGD "
        "at the rate of the weights, momentum 0.9; single-level searches use half of the images, too",
        "full": "the paper's text; its weight decays and the rate of Adam (here 3e-4) are lost",
    },
    run=run,
    optional=("table",),
)
