"""ImageNet in the mobile setting: sizes of published networks, direct searches, and trainings by the papers' recipe."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig, TrainConfig
from jdarts.genotypes import BlockGenotype, parse_architecture, published_networks
from jdarts.genotypes.macro import mobile_of
from jdarts.networks.families import count_blocks
from jdarts.networks.of_genotype import count_network
from jdarts.report.outcomes import COST_HEAD, cost_cells
from jdarts.reproduce.experiment import Findings, Reproduction, Scale, Setting, Sheet
from jdarts.reproduce.published import Number, published
from jdarts.reproduce.runs import TrainedRun, beside, mean_of, search, shown, theirs, train

NETWORKS = {
    "DARTS_V2": "DARTS, second order",
    "PDARTS": "P-DARTS",
    "PC_DARTS_image": "PC-DARTS",
    "NASNET_A_MOBILE": "NASNet-A",
    "PNASNET5_MOBILE": "PNAS",
    "AMOEBANET_A_MOBILE": "AmoebaNet-A",
    "AMOEBANET_C_MOBILE": "AmoebaNet-C",
    "MNASNET_A1": "MnasNet-A1",
    "SPOS": "SPOS",
    "FAIRNAS_A": "FairNAS-A",
    "FAIRNAS_B": "FairNAS-B",
    "FAIRNAS_C": "FairNAS-C",
    "PROXYLESS_MOBILE": "ProxylessNAS mobile",
    "PROXYLESS_GPU": "ProxylessNAS GPU",
    "PROXYLESS_CPU": "ProxylessNAS CPU",
}
"""Published networks and their rows."""
MOBILE_SETTING = {"channels": 48, "cells": 14, "stem": "imagenet"}


@dataclass(frozen=True)
class LargeScale:
    """The sizes of one scale: the searches and trainings, trained cells, relaxations of the direct searches, seeds."""

    config: Experiment
    trained: tuple[str, ...]
    relaxations: tuple[str, ...]
    seeds: int


def recipe(**changes) -> TrainConfig:
    """The training of P-DARTS and PC-DARTS (`configs/imagenet_mobile.py`), with changes."""
    published = {
        "epochs": 250,
        "batch_size": 1024,
        **MOBILE_SETTING,
        "optimizer": SGDConfig(learning_rate=0.5, learning_rate_min=0.0, weight_decay=3e-5),
        "schedule": "linear",
        "warmup_epochs": 5,
        "auxiliary_weight": 0.4,
        "drop_path": 0.0,
        "cutout": 0,
        "label_smoothing": 0.1,
    }
    return TrainConfig(**{**published, **changes})


def scale_of(scale: Scale, path: str) -> LargeScale:
    """The sizes of a scale; images from `path`."""
    search_config = SearchConfig(
        method="single_darts",
        epochs=50,
        batch_size=360,
        weight_optimizer=SGDConfig(learning_rate=0.025, learning_rate_min=0.0),
        alpha_optimizer=AdamConfig(weight_decay=0.0),
    )
    streamed = DataConfig(
        source="stream:folder",
        path=path,
        image_size=224,
        resize=256,
        crop_padding=0,
        train_fraction=0.975,
        val_fraction=0.025,
    )
    space, relaxations = SpaceConfig(stem="imagenet"), ("sigmoid_star", "softmax", "sigmoid")
    if scale == "full":
        config = Experiment(
            data=streamed,
            space=space,
            search=search_config,
            train=recipe(color_jitter=0.4, hue_jitter=0.2, checkpoint_every_steps=500, activations="bfloat16"),
        )
        return LargeScale(config, ("DARTS_V2", "PDARTS", "PC_DARTS_image"), relaxations, 3)
    small = {"auxiliary_weight": 0.0, "batch_size": 32, "warmup_epochs": 1}
    if scale == "cpu":
        config = Experiment(
            data=replace(streamed, image_size=96, resize=110, train_fraction=0.5, val_fraction=0.5),
            space=replace(space, channels=8, cells=5),
            search=replace(search_config, epochs=8, batch_size=16),
            train=recipe(epochs=12, channels=16, cells=5, optimizer=SGDConfig(0.05, 0.0, weight_decay=3e-5), **small),
        )
        return LargeScale(config, ("DARTS_V2", "PC_DARTS_image"), relaxations[:1], 1)
    config = Experiment(
        data=DataConfig(source="synthetic:64x64x3:4:48", crop_padding=0),
        space=replace(space, name="robust_s2", channels=2, cells=1),
        search=replace(search_config, epochs=1, batch_size=8),
        train=recipe(epochs=6, channels=2, cells=1, **{**small, "batch_size": 8}),
    )
    return LargeScale(config, (), relaxations[:1], 1)


def run(setting: Setting) -> Findings:
    """The experiment."""
    sizes = scale_of(setting.scale, setting.data)
    seeds, trained, costs = setting.seeds or sizes.seeds, {}, [["part", *COST_HEAD]]
    for relaxation in sizes.relaxations:
        name = f"search-{relaxation}"
        options = (f"weights={relaxation}",)
        config = replace(sizes.config, name=name, search=replace(sizes.config.search, method_options=options))
        found = search(setting, name, config, seeds)
        costs.append([name, *cost_cells(found.cost)])
        trained[relaxation] = [
            _trained(setting, sizes, f"train-{relaxation}-{i}", genotype) for i, genotype in enumerate(found.genotypes)
        ]
    for cell in sizes.trained:
        trained[cell] = [_trained(setting, sizes, f"train-{cell}", cell)]
    for runs in trained.values():
        costs += [[run.folder.name, *cost_cells(run.cost)] for run in runs]
    values = {name: [run.result for run in runs] for name, runs in trained.items()}
    counted = [name for name in NETWORKS if setting.scale != "smoke" or published_networks.find(name) is None]
    sheets = [_accuracies(trained), published_sizes(counted), Sheet("Cost", costs)]
    return Findings(sheets, values={"trained": values})


def _trained(setting: Setting, sizes: LargeScale, name: str, genotype: str) -> TrainedRun:
    data = replace(sizes.config.data, train_fraction=0.5, val_fraction=0.5)  # a training uses all training images
    return train(setting, name, replace(sizes.config, name=name, data=data), genotype)


def _accuracies(trained: dict[str, list[TrainedRun]]) -> Sheet:
    rows = [["cell", "top-1, %: ours vs published", "difference", "top-5, %: ours vs published"]]
    for name, runs in trained.items():
        first, fifth = _published_accuracies(name)
        ours = mean_of([100 * run.result["test_accuracy"] for run in runs])
        fives = [run.result["test_top5_accuracy"] for run in runs if run.result["test_top5_accuracy"] is not None]
        top5 = mean_of([100 * value for value in fives])
        rows.append(
            [name, f"{shown(ours)} vs {theirs(first)}", beside(ours, first), f"{shown(top5)} vs {theirs(fifth)}"]
        )
    return Sheet("Accuracy of trained networks", rows, "softmax, sigmoid, sigmoid_star: found by Single-DARTS here.")


def _published_accuracies(name: str) -> tuple[Number | None, Number | None]:
    if name in NETWORKS:
        row = published("imagenet")[NETWORKS[name]]
        return row.numbers[0], row.numbers[1]
    seeds = [number.mean for number in published("single_darts_imagenet")[name].numbers if number is not None]
    mean = mean_of(seeds)
    return mean and replace(mean, text=shown(mean)), None


def published_sizes(names: Sequence[str]) -> Sheet:
    """Parameters and multiply–adds of published networks as jdarts counts them, beside the published ones."""
    rows = [["network", "parameters, M: ours vs published", "multiply-adds, M: ours vs published"]]
    for name in names:
        count, there = _count(name), published("imagenet")[NETWORKS[name]].numbers
        sizes = (Number(count.parameters / 1e6), Number(count.macs / 1e6))
        rows.append([name, *(f"{shown(ours)} vs {theirs(size)}" for ours, size in zip(sizes, there[2:], strict=True))])
    return Sheet("Sizes of published networks", rows, "Multiply-adds of convolutions and linear layers only.")


def _count(name: str):
    network = published_networks.find(name)
    if network is not None:
        assert isinstance(network.genotype, BlockGenotype)
        return count_blocks(network.genotype, network.size)
    genotype = parse_architecture(name)
    sizes = {"channels": 48, "cells": 14, "classes": 1000, "image_size": (224, 224)}
    if mobile_of(genotype) is not None:
        return count_network(genotype, **sizes)
    return count_network(genotype, stem="imagenet", **sizes)


REPRODUCTION = Reproduction(
    name="imagenet",
    summary="ImageNet, mobile setting: direct searches by Single-DARTS, trainings, sizes of published networks",
    tables=tuple(map(published, ("imagenet", "single_darts_imagenet", "proxyless", "proxyless_devices", "coco"))),
    inputs={"smoke": (), "cpu": ("data",), "full": ("data",)},
    costs={
        "smoke": "under a minute of a CPU core",
        "cpu": "about half an hour of two CPU cores for 1,000 images",
        "full": "9 searches, 28 hours of four GPUs each (2080 Ti); 12 trainings of 312,750 steps",
    },
    differences={
        "smoke": "made-up images of 64x64, the space S2, one cell of 2 channels; no networks of blocks are counted",
        "cpu": "a folder of few classes, images of 96x96, 5 cells, 8 and 16 channels, 8 and 12 epochs",
        "full": "as published; the alphas' learning rate 3e-4 and the weights' decay 3e-4 are assumed, all trainings "
        "by the recipe of P-DARTS",
    },
    run=run,
)
