"""Search methods in the spaces S1 to S4 of RobustDARTS (Zela et al. 2020, arXiv:1909.09656), where DARTS collapses.

Every method searches every space with several seeds; each found cell is trained once. The skip connections of the found
cells stand beside the errors: they are the sign of the collapse.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from jdarts.config import AdamConfig, Experiment, SearchConfig, SpaceConfig, TrainConfig
from jdarts.config.files import with_values
from jdarts.derivation.rules import free_edges
from jdarts.genotypes import parse
from jdarts.methods import build
from jdarts.methods.published import fitting
from jdarts.report.outcomes import COST_HEAD, cost_cells
from jdarts.report.records import cost_of
from jdarts.reproduce.darts_cifar10 import FAST_SGD, PLAIN, total
from jdarts.reproduce.darts_cifar10 import scale_of as cells_scale
from jdarts.reproduce.experiment import Findings, Reproduction, Scale, Setting, Sheet
from jdarts.reproduce.published import published
from jdarts.reproduce.runs import SearchedRun, TrainedRun, beside, mean_of, search, shown, theirs, train

METHODS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "DARTS": ("darts", ()),
    "DARTS-ES": ("darts_es", ()),
    "DARTS-ADA": ("darts_ada", ()),
    "R-DARTS (DP)": ("r_darts", ("by=dp",)),
    "R-DARTS (L2)": ("r_darts", ("by=l2",)),
    "PC-DARTS": ("pc_darts", ()),
    "SDARTS-RS": ("sdarts_rs", ()),
    "SDARTS-ADV": ("sdarts_adv", ()),
    "DARTS-": ("darts_minus", ()),
    "DARTS+PT": ("darts_pt", ()),
}
"""Rows of the published tables: method and its options."""
SHORT = {"PC-DARTS": ("alpha_start=3",)}
"""Options at reduced length: the published warm-up of PC-DARTS is longer than the search."""
SPACES = {"S1": "robust_s1", "S2": "robust_s2", "S3": "robust_s3", "S4": "robust_s4"}


@dataclass(frozen=True)
class RobustScale:
    """The sizes of one scale: the searches and trainings, rows of `METHODS`, spaces, seeds."""

    base: Experiment
    methods: tuple[str, ...]
    spaces: tuple[str, ...]
    seeds: int


def scale_of(scale: Scale, path: str) -> RobustScale:
    """The sizes of a scale; the images are those of `darts_cifar10`, from `path`."""
    images = cells_scale(scale, path).search.data
    if scale == "full":
        return RobustScale(Experiment(data=images), tuple(METHODS), tuple(SPACES), 4)
    if scale == "cpu":
        base = Experiment(
            data=images,
            space=SpaceConfig(channels=8, cells=5),
            search=SearchConfig(epochs=10, batch_size=64, alpha_optimizer=AdamConfig(learning_rate=1e-2)),
            train=TrainConfig(epochs=10, batch_size=64, channels=8, cells=5, optimizer=FAST_SGD, **PLAIN),
        )
        return RobustScale(base, ("DARTS", "PC-DARTS", "SDARTS-RS", "DARTS-"), tuple(SPACES), 2)
    tiny = Experiment(
        data=images,
        space=SpaceConfig(channels=2, cells=1),
        search=SearchConfig(epochs=1, batch_size=16),
        train=TrainConfig(epochs=1, batch_size=16, channels=2, cells=1, **PLAIN),
    )
    return RobustScale(tiny, ("DARTS-",), ("S2",), 1)


def config_of(base: Experiment, scale: Scale, row: str, space: str) -> Experiment:
    """The search of a row in a space, and the training of its cells.

    At full scale with the published settings of the method, and networks of 16 channels in S2 and S4; smaller scales
    search in first order.
    """
    method, options = METHODS[row]
    chosen = {"space.name": SPACES[space], "search.method": method, "search.method_options": options}
    if scale == "full":
        entry = fitting(build(method).published, SPACES[space])
        chosen |= {} if entry is None else dict(entry.settings)
        chosen["train.channels"] = 16 if space in ("S2", "S4") else 36
    else:
        chosen |= {"search.hypergradient": "first_order", "search.method_options": SHORT.get(row, options)}
    return with_values(base, chosen)


def run(setting: Setting) -> Findings:
    """The experiment."""
    sizes = scale_of(setting.scale, setting.data)
    seeds, found, trained = setting.seeds or sizes.seeds, {}, {}
    for row in sizes.methods:
        for space in sizes.spaces:
            name = f"{_folder(row)}-{space.lower()}"
            config = config_of(sizes.base, setting.scale, row, space)
            found[row, space] = search(setting, name, replace(config, name=name), seeds)
            trained[row, space] = [
                train(setting, f"{name}-train-{i}", replace(config, name=f"{name}-train-{i}"), genotype)
                for i, genotype in enumerate(found[row, space].genotypes)
            ]
    errors = {case: [100 * (1 - run.result["test_accuracy"]) for run in runs] for case, runs in trained.items()}
    skips = {
        case: [free_edges(parse(genotype))["skip_connections"] for genotype in run.genotypes]
        for case, run in found.items()
    }
    sheets = [_errors(sizes, errors), _skips(sizes, skips), _cost(sizes, found, trained)]
    by_row = {row: {space: errors[row, space] for space in sizes.spaces} for row in sizes.methods}
    counts = {row: {space: skips[row, space] for space in sizes.spaces} for row in sizes.methods}
    return Findings(sheets, values={"errors": by_row, "skips": counts})


def _folder(row: str) -> str:
    method, options = METHODS[row]
    return "_".join([method, *(option.partition("=")[2] for option in options)])


Case = tuple[str, str]
"""A row of `METHODS` and a space."""


def _errors(sizes: RobustScale, errors: Mapping[Case, list[float]]) -> Sheet:
    table, rows = published("robust_cifar10"), [["method", *(f"{s}, %: ours vs published" for s in sizes.spaces)]]
    rows[0] += [f"difference, {space}" for space in sizes.spaces]
    for row in sizes.methods:
        ours = {space: mean_of(errors[row, space]) for space in sizes.spaces}
        there = {space: table.number(row, f"{space}, %") for space in sizes.spaces}
        cells = [f"{shown(ours[space])} vs {theirs(there[space])}" for space in sizes.spaces]
        rows.append([row, *cells, *(beside(ours[space], there[space]) for space in sizes.spaces)])
    return Sheet("Test error on CIFAR-10, mean over the found cells", rows)


def _skips(sizes: RobustScale, skips: Mapping[Case, list[int]]) -> Sheet:
    rows = [["method", *sizes.spaces]]
    for row in sizes.methods:
        rows.append([row, *(", ".join(map(str, skips[row, space])) for space in sizes.spaces)])
    return Sheet("Skip connections among the eight edges of the normal cells, a number for each search", rows)


def _cost(sizes: RobustScale, found: Mapping[Case, SearchedRun], trained: Mapping[Case, list[TrainedRun]]) -> Sheet:
    rows = [["method", "searches", *COST_HEAD]]
    for row in sizes.methods:
        runs = [found[row, space] for space in sizes.spaces]
        records = [record for run in runs for record in run.records]
        rows.append([row, str(sum(len(run.members) for run in runs)), *cost_cells(cost_of(records))])
    ended = [run for runs in trained.values() for run in runs]
    rows.append(["trainings", str(len(ended)), *cost_cells(total(ended))])
    return Sheet("Cost of the searches of each method, and of all trainings", rows)


REPRODUCTION = Reproduction(
    name="robust_spaces",
    summary="search methods in the spaces S1 to S4, where DARTS collapses into skips and noise; the cells trained",
    tables=tuple(published(f"robust_{data}") for data in ("cifar10", "cifar100", "svhn")),
    inputs={"smoke": (), "cpu": ("data",), "full": ("data",)},
    costs={
        "smoke": "under a minute of a CPU core",
        "cpu": "an hour or two of two CPU cores (estimated) for two seeds of 16 searches, 32 trainings",
        "full": "160 searches and 160 trainings of 600 epochs on CIFAR-10; months of one GPU",
    },
    differences={
        "smoke": "one method in S2, one epoch on 64 digits, trainings of one epoch",
        "cpu": "2,000 + 2,000 images of 16x16, first order, 8 channels, 5 cells, 10 epochs, alphas at 1e-2; "
        "trainings of 10 epochs",
        "full": "the papers take the best of several searches by validation; here the mean of four is shown. Published "
        "widths of the trainings are recalled: 36 channels in S1 and S3, 16 in S2 and S4",
    },
    run=run,
)
