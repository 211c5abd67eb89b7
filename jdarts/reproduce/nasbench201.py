"""Search methods and strategies on NAS-Bench-201 (Dong & Yang 2020, arXiv:2001.00326), found cells looked up."""

from collections.abc import Mapping
from dataclasses import dataclass

from jdarts.bench.table_searches import EVALUATIONS, search_table
from jdarts.benchmarks import NASBench201Table, load_nasbench201_table
from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig
from jdarts.config.files import with_values
from jdarts.methods import build
from jdarts.methods.published import NESTEROV, fitting
from jdarts.report.outcomes import COST_HEAD, cost_cells
from jdarts.reproduce.experiment import Findings, Reproduction, Scale, Setting, Sheet
from jdarts.reproduce.published import Number, published
from jdarts.reproduce.runs import SearchedRun, beside, mean_of, search, shown, theirs

METHODS: Mapping[str, tuple[str, str | None]] = {
    "DARTS, first order": ("darts", "first_order"),
    "DARTS, second order": ("darts", "unrolled"),
    "DARTS-": ("darts_minus", None),
    "Single-DARTS": ("single_darts", None),
    "PC-DARTS": ("pc_darts", None),
    "GDAS": ("gdas", None),
    "SETN": ("setn", None),
    "RSPS": ("rsps", None),
    "ENAS": ("enas", None),
    "SNAS": ("snas", None),
    "DrNAS": ("drnas", None),
    "β-DARTS": ("beta_darts", None),
}
"""Rows of the published tables: method and hypergradient."""
SMOKE = ("DARTS, first order",)
LATE = {"pc_darts": ("alpha_start=8",)}
"""Options at reduced length: the published warm-up of PC-DARTS would be more than half of the search."""
STRATEGIES = {
    "random": "random search",
    "regularized_evolution": "regularised evolution",
    "reinforce": "REINFORCE",
}
DATA = {"c10": "CIFAR-10 test, %", "c100": "CIFAR-100 test, %", "in16": "ImageNet16-120 test, %"}


@dataclass(frozen=True)
class BenchmarkScale:
    """The sizes of one scale: the search, the rows of `METHODS`, seeds, and runs of each strategy by table."""

    base: Experiment
    methods: tuple[str, ...]
    seeds: int
    strategy_runs: int


def scale_of(scale: Scale, path: str) -> BenchmarkScale:
    """The sizes of a scale; images from `path`."""
    if scale == "smoke":
        return BenchmarkScale(smallest(), SMOKE, seeds=2, strategy_runs=2)
    small = scale == "cpu"
    base = (
        reduced(path)
        if small
        else Experiment(
            data=DataConfig(source="cifar10", path=path), space=SpaceConfig(name="nasbench201", channels=16, cells=5)
        )
    )
    return BenchmarkScale(base, tuple(METHODS), seeds=3, strategy_runs=100 if small else 500)


def smallest() -> Experiment:
    """A search of seconds on digits."""
    return Experiment(
        data=DataConfig(source="digits", limit=64, crop_padding=1, flip=False),
        space=SpaceConfig(name="nasbench201", channels=4, cells=1),
        search=SearchConfig(epochs=2, batch_size=16, alpha_optimizer=AdamConfig(learning_rate=1e-2)),
    )


def reduced(path: str) -> Experiment:
    """The searches of README's table: real CIFAR-10 at the size of two CPU cores."""
    return Experiment(
        data=DataConfig(source="cifar10", path=path, limit=4000, shrink=2, crop_padding=2),
        space=SpaceConfig(name="nasbench201", channels=8, cells=1),
        search=SearchConfig(
            epochs=25,
            batch_size=32,
            weight_optimizer=SGDConfig(nesterov=True, weight_decay=5e-4),
            alpha_optimizer=AdamConfig(learning_rate=1e-2),
        ),
    )


def config_of(base: Experiment, scale: Scale, row: str) -> Experiment:
    """The search of a row: at full scale with the published settings of its method."""
    method, hypergradient = METHODS[row]
    chosen = {"name": row_name(row), "search.method": method, "search.hypergradient": hypergradient}
    if scale == "cpu" and method in LATE:
        chosen["search.method_options"] = LATE[method]
    if scale == "full":
        entry = fitting(build(method).published, "nasbench201")
        chosen |= dict(NESTEROV if entry is None else entry.settings)
    return with_values(base, chosen)


def row_name(row: str) -> str:
    """A row of the tables as the name of a folder."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in row.replace("β", "beta")).lower()


def run(setting: Setting) -> Findings:
    """The experiment."""
    sizes = scale_of(setting.scale, setting.data)
    seeds = setting.seeds or sizes.seeds
    found = {
        row: search(setting, row_name(row), config_of(sizes.base, setting.scale, row), seeds) for row in sizes.methods
    }
    sheets = [costs(found)]
    if not setting.table:
        rows = [["method", "found cells"], *([row, " ".join(run.genotypes)] for row, run in found.items())]
        note = "Without --table nothing can be looked up."
        return Findings([Sheet("Found cells", rows, note), *sheets], values={"cells": _cells(found)})
    table = load_nasbench201_table(setting.table)
    ours = {row: looked_up(table, run) for row, run in found.items()}
    sheets = [_compared(ours), *sheets, _strategies(table, sizes.strategy_runs)]
    values = {"cells": _cells(found), "test": {row: _plain(numbers) for row, numbers in ours.items()}}
    return Findings(sheets, values=values)


def looked_up(table: NASBench201Table, found: SearchedRun) -> dict[str, Number | None]:
    """Mean and standard deviation over seeds of the test accuracies in % of the found cells, by data set."""
    entries = [table.query(genotype) for genotype in found.genotypes]
    return {data: mean_of([entry[f"{data}_test_200"] for entry in entries]) for data in DATA}


def costs(found: Mapping[str, SearchedRun]) -> Sheet:
    """The cost of the searches."""
    rows = [["search", "seeds", *COST_HEAD]]
    rows += [[row, str(len(run.members)), *cost_cells(run.cost)] for row, run in found.items()]
    return Sheet("Cost of the searches, all seeds together", rows)


def _cells(found: Mapping[str, SearchedRun]) -> dict[str, list[str]]:
    return {row: run.genotypes for row, run in found.items()}


def _plain(numbers: Mapping[str, Number | None]) -> dict[str, float | None]:
    return {data: None if number is None else number.mean for data, number in numbers.items()}


def _compared(ours: Mapping[str, Mapping[str, Number | None]]) -> Sheet:
    """Accuracies here beside those of protocol B; rows that it lacks are compared with A or C."""
    rows = [["method", *(f"{name}: ours | published" for name in DATA.values()), "difference, CIFAR-10", "protocol"]]
    for row, numbers in ours.items():
        name = next(t for t in ("nasbench201_b", "nasbench201_a", "nasbench201_c") if _has(t, row))
        there = {data: published(name).number(row, column) for data, column in DATA.items()}
        cells = [f"{shown(numbers[data])} vs {theirs(there[data])}" for data in DATA]
        rows.append([row, *cells, beside(numbers["c10"], there["c10"]), name[-1].upper()])
    rows[0] = [head.replace(" | ", " vs ") for head in rows[0]]
    return Sheet("Test accuracy of the found cells, by the table", rows)


def _has(table: str, row: str) -> bool:
    return any(each.method == row for each in published(table).rows)


def _strategies(table: NASBench201Table, runs: int) -> Sheet:
    rows = [["strategy", *(f"{name}: ours vs published" for name in DATA.values()), "difference, CIFAR-10"]]
    for strategy, row in STRATEGIES.items():
        result = search_table(table, strategy, runs=runs, evaluations=EVALUATIONS)
        numbers = {data: mean_of(values.tolist()) for data, values in result.test.items()}
        there = {data: published("nasbench201_a").number(row, column) for data, column in DATA.items()}
        cells = [f"{shown(numbers[data])} vs {theirs(there[data])}" for data in DATA]
        rows.append([row, *cells, beside(numbers["c10"], there["c10"])])
    note = f"{runs} runs of {EVALUATIONS} evaluations; published: a budget of 12,000 simulated seconds."
    return Sheet("Strategies by table", rows, note)


REPRODUCTION = Reproduction(
    name="nasbench201",
    summary="search methods and strategies on NAS-Bench-201, the found cells looked up",
    tables=tuple(published(f"nasbench201_{name}") for name in ("a", "b", "c", "pt")),
    inputs={"smoke": (), "cpu": ("data", "table"), "full": ("data", "table")},
    costs={
        "smoke": "under a minute of a CPU core",
        "cpu": "about three hours of two CPU cores for three seeds of twelve searches",
        "full": "3 GPU-hours for a DARTS search of one seed, five times as much for GDAS, SETN, RSPS and ENAS",
    },
    differences={
        "smoke": "one method, 2 epochs on 64 digits, 4 channels",
        "cpu": "8 channels, 1 cell a stage, 2,000 + 2,000 images of 16x16, 25 epochs, alphas at 0.01",
        "full": "the settings of each paper on this benchmark; accuracies after 200 epochs",
    },
    run=run,
    optional=("table",),
)
