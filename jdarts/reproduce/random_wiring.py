"""Randomly wired networks (Xie et al. 2019, arXiv:1904.01569): generators, operations of the nodes, damage.

Figure 3: several networks of each setting of the generators, mean and standard deviation. Figure 5: the same with other
operations of the nodes, at a width with about the same multiply–adds, and Pearson's correlation over the settings
between each two operations. Figure 4: the loss of accuracy when one node or one edge of a trained network is removed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from matplotlib.figure import Figure

from jdarts.analysis.damage import damage, damage_figure
from jdarts.analysis.figures import COLOURS, figure
from jdarts.config import DataConfig, Experiment, SGDConfig, SpaceConfig, TrainConfig
from jdarts.data import load as load_images
from jdarts.genotypes import RandomlyWired
from jdarts.genotypes.random_graphs import SETTINGS
from jdarts.networks.wired.size import count_wired
from jdarts.report.outcomes import COST_HEAD, cost_cells
from jdarts.report.records import cost_of
from jdarts.reproduce.experiment import Findings, Reproduction, Scale, Setting, Sheet
from jdarts.reproduce.published import published
from jdarts.reproduce.runs import TrainedRun, mean_of, shown, theirs, train
from jdarts.runs.folder import RunFolder
from jdarts.train.trained import load as load_trained

Results = Mapping[str, Mapping[str, Sequence[float]]]
"""Test accuracies in % by operation and setting of the generator."""


@dataclass(frozen=True)
class WiringScale:
    """The sizes of one scale: the training, N, the settings, operations of the nodes, and networks of each setting."""

    config: Experiment
    nodes: int
    settings: Sequence[tuple[str, tuple[float, ...]]]
    operations: Sequence[str]
    networks: int
    damage_images: int


MAIN = ("ws", (4.0, 0.75))
"""The setting of the paper's networks."""


def scale_of(scale: Scale, path: str) -> WiringScale:
    """The sizes of a scale; images from `path`."""
    plain = {"auxiliary_weight": 0.0, "drop_path": 0.0, "cutout": 0}
    if scale == "full":
        recipe = TrainConfig(
            epochs=250,
            batch_size=1024,
            channels=78,
            stem="imagenet",
            optimizer=SGDConfig(learning_rate=0.4, learning_rate_min=0.0, weight_decay=5e-5, gradient_clip=0.0),
            schedule="cosine_by_step",
            warmup_epochs=5,
            label_smoothing=0.1,
            activations="bfloat16",
            checkpoint_every_steps=500,
            **plain,
        )
        images = DataConfig(source="stream:folder", path=path, image_size=224, resize=256, crop_padding=0)
        operations = ("separable", "conv", "max_pool", "avg_pool")
        return WiringScale(_experiment(images, recipe), 32, SETTINGS, operations, 5, 0)
    if scale == "cpu":
        images = DataConfig(source="cifar10", path=path, limit=4000, shrink=2, crop_padding=2)
        recipe = TrainConfig(epochs=30, batch_size=64, channels=8, optimizer=SGDConfig(0.05, 0.0), **plain)
        chosen = (("er", (0.2,)), ("ba", (2.0,)), ("ba", (5.0,)), ("ws", (2.0, 0.5)), MAIN)
        return WiringScale(_experiment(images, recipe), 12, chosen, ("separable", "conv"), 5, 2000)
    images = DataConfig(source="digits", limit=48, crop_padding=0, flip=False)
    recipe = TrainConfig(epochs=1, batch_size=16, channels=2, optimizer=SGDConfig(0.05, 0.0), **plain)
    return WiringScale(_experiment(images, recipe), 5, (("ba", (1.0,)), MAIN), ("separable", "avg_pool"), 1, 64)


def _experiment(images: DataConfig, recipe: TrainConfig) -> Experiment:
    return Experiment(data=images, space=SpaceConfig(name="random_wiring"), train=recipe)


def channels_of(operation: str, nodes: int, channels: int) -> int:
    """The even width at which networks of another operation have about the multiply–adds of separable ones.

    By WS(4, 0.75), seed 0, for images of 224 × 224 pixels.
    """

    def macs(operation: str, channels: int) -> int:
        return count_wired(RandomlyWired(nodes=nodes, operation=operation), channels=channels).macs

    wanted = macs("separable", channels)
    return min(range(2, 4 * channels + 2, 2), key=lambda width: abs(macs(operation, width) - wanted))


def named(generator: str, parameters: Sequence[float]) -> str:
    """A setting as in the paper: `WS(4,0.75)`."""
    return f"{generator.upper()}({','.join(f'{number:g}' for number in parameters)})"


def run(setting: Setting) -> Findings:
    """The experiment."""
    sizes, results, runs = scale_of(setting.scale, setting.data), {}, []
    networks = setting.seeds or sizes.networks
    for operation in sizes.operations:
        width = channels_of(operation, sizes.nodes, sizes.config.train.channels)
        config = replace(sizes.config, train=replace(sizes.config.train, channels=width))
        results[operation] = {}
        for generator, parameters in sizes.settings:
            wired = [RandomlyWired(generator, parameters, sizes.nodes, seed, operation) for seed in range(networks)]
            done = [_trained(setting, config, each) for each in wired]
            results[operation][named(generator, parameters)] = [100 * each.result["test_accuracy"] for each in done]
            runs += done
    figures = {"generators": generators_figure(results)}
    if sizes.damage_images:
        figures["damage"] = _damage(setting, sizes)
    sheets = [_accuracies(results), _sizes(), _correlations(results), _cost(runs)]
    return Findings(sheets, figures, {"accuracy": results})


def _trained(setting: Setting, config: Experiment, wired: RandomlyWired) -> TrainedRun:
    numbers = "-".join(f"{number:g}" for number in wired.parameters)
    name = f"{wired.operation}-{wired.generator}-{numbers}-seed-{wired.seed}"
    return train(setting, name, replace(config, name=name), wired.to_text())


def _damage(setting: Setting, sizes: WiringScale) -> Figure:
    """The damage test of the first network of WS(4, 0.75) on test images; its numbers are kept in the folder."""
    name = f"separable-{MAIN[0]}-{'-'.join(f'{number:g}' for number in MAIN[1])}-seed-0"
    images = load_images(sizes.config.data).test
    assert images is not None, "CIFAR-10 and the digits have test images"
    count = sizes.damage_images
    found = damage(load_trained(setting.folder / name), images.images[:count], images.labels[:count])
    parts = {part: found.loss(part) for part in ("node", "edge")}
    RunFolder(setting.folder).write_json("damage.json", {"whole": found.whole, **parts})
    return damage_figure(found)


def pearson(results: Results) -> dict[tuple[str, str], float]:
    """Pearson's correlation between each two operations, over the mean accuracies of the settings."""
    means = {op: [float(np.mean(values)) for values in settings.values()] for op, settings in results.items()}
    return {(a, b): _correlation(means[a], means[b]) for a, b in combinations(means, 2)}


def _correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Pearson's correlation; NaN if one side is constant."""
    a, b = np.array(x) - np.mean(x), np.array(y) - np.mean(y)
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else float("nan")


def _accuracies(results: Results) -> Sheet:
    table = published("random_wiring")
    rows = [["setting", *(f"{operation}, %" for operation in results), "published (small regime, separable)"]]
    first = next(iter(results.values()))
    for name in first:
        there = theirs(table["small, C = 78"].numbers[0]) if name == "WS(4,0.75)" else "–"
        rows.append([name, *(shown(mean_of(results[operation][name])) for operation in results), there])
    return Sheet(f"Test accuracy, {len(next(iter(first.values())))} networks of each setting", rows)


def _sizes() -> Sheet:
    rows = [["regime", "parameters, M: ours vs published", "multiply-adds, M: ours vs published"]]
    for channels, regime in ((78, "small"), (109, "regular"), (154, "regular")):
        row = published("random_wiring")[f"{regime}, C = {channels}"].numbers
        counts = [count_wired(RandomlyWired(seed=seed, regime=regime), channels=channels) for seed in range(10)]
        parameters = mean_of([count.parameters / 1e6 for count in counts])
        macs = mean_of([count.macs / 1e6 for count in counts])
        cells = [f"{shown(parameters)} vs {theirs(row[3])}", f"{shown(macs, 1)} vs {theirs(row[2])}"]
        rows.append([f"{regime}, C = {channels}", *cells])
    return Sheet("Size of networks of WS(4,0.75), 32 nodes, ten seeds", rows)


def _correlations(results: Results) -> Sheet:
    low, high = published("random_wiring_operations").rows[0].numbers
    rows = [["operations", "Pearson", "published"]]
    for (a, b), value in pearson(results).items():
        rows.append([f"{a}, {b}", f"{value:.3f}" if np.isfinite(value) else "–", f"{low} to {high}"])
    return Sheet("Correlation of mean accuracies over the settings of the generators", rows)


def _cost(runs: Sequence[TrainedRun]) -> Sheet:
    spent = cost_of([record for run in runs for record in run.epochs])
    return Sheet("Cost", [["trainings", *COST_HEAD], [str(len(runs)), *cost_cells(spent)]])


def generators_figure(results: Results) -> Figure:
    """Mean accuracy of each setting with a bar of one standard deviation, a colour for each operation."""
    fig, (axis,) = figure(1, width=max(6.0, 0.5 * len(next(iter(results.values()))) + 2), height=4.2)
    width = 0.8 / len(results)
    for number, (operation, settings) in enumerate(results.items()):
        means = [float(np.mean(values)) for values in settings.values()]
        spread = [float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for values in settings.values()]
        places = np.arange(len(means)) + (number - (len(results) - 1) / 2) * width
        axis.bar(places, means, width, yerr=spread, color=COLOURS[number], label=operation, capsize=2)
    values = [value for settings in results.values() for each in settings.values() for value in each]
    margin = max(1.0, 0.3 * (max(values) - min(values)))
    axis.set(ylabel="test accuracy, %", ylim=(max(0, min(values) - margin), min(100, max(values) + margin)))
    axis.set_xticks(range(len(next(iter(results.values())))), next(iter(results.values())), rotation=60, ha="right")
    axis.legend(frameon=False, ncols=2, fontsize=10)
    return fig


REPRODUCTION = Reproduction(
    name="random_wiring",
    summary="randomly wired networks: generators, operations of the nodes, damage (figures 3 to 5, tables 2 and 3)",
    tables=(published("random_wiring"), published("random_wiring_operations")),
    inputs={"smoke": (), "cpu": ("data",), "full": ("data",)},
    costs={
        "smoke": "under a minute of a CPU core",
        "cpu": "about an hour of a CPU core for 50 trainings",
        "full": "580 trainings on ImageNet, 250 epochs each; 145 of them are figure 3",
    },
    differences={
        "smoke": "two settings, one network of 5 nodes each, one epoch on 48 digits",
        "cpu": "five settings, five networks of 12 nodes each, C = 8, 30 epochs on 4,000 images of 16x16; one other "
        "operation, convolution",
        "full": "the settings of WS in figure 3 and the label smoothing are recalled; no damage test, whose images are "
        "streamed here",
    },
    run=run,
)
