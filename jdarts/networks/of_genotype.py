"""The network that trains an architecture: cells of several kinds, ENAS macro, mobile networks."""

from typing import Any

from jdarts.errors import UserError
from jdarts.genotypes import BlockGenotype, Genotype, MacroArchitecture, MobileArchitecture, OneShotGenotype
from jdarts.genotypes.macro import MacroNetwork, mobile_of
from jdarts.genotypes.published_networks import NetworkSize
from jdarts.genotypes.random_wiring import RandomlyWired
from jdarts.genotypes.recurrent import refuse_recurrent
from jdarts.networks.counting import Count, count_darts_cnn, count_nasbench201
from jdarts.networks.derived import DerivedNetwork, StemName, check_derived
from jdarts.networks.enas.macro import EnasMacroNetwork, check_enas_macro
from jdarts.networks.enas.micro import EnasMicroNetwork, check_enas_micro
from jdarts.networks.enas.size import count_enas_macro, count_enas_micro
from jdarts.networks.image_sizes import sides_of
from jdarts.networks.mobile.network import MobileNetwork
from jdarts.networks.mobile.size import check_mobile, count_mobile
from jdarts.networks.nasbench201 import DerivedNetwork201, check_stages
from jdarts.networks.nasnet.network import NasnetNetwork, check_nasnet
from jdarts.networks.nasnet.size import count_nasnet
from jdarts.networks.one_shot.network import OneShotNetwork, check_one_shot, count_one_shot
from jdarts.networks.wired.network import RandomlyWiredNetwork
from jdarts.networks.wired.size import check_wired, count_wired

TrainedOnImages = Genotype | MobileArchitecture | MacroNetwork
"""The architectures of which jdarts trains networks of images."""


_STEM_MULTIPLIER: dict[StemName, int] = {"cifar": 3, "imagenet": 1}
"""Of networks of blocks, as in the releases of NASNet."""


def derived_network(
    genotype: TrainedOnImages,
    *,
    channels: int,
    cells: int,
    classes: int,
    auxiliary: bool = False,
    width_multiplier: float = 1.0,
    stem: StemName = "cifar",
) -> Any:
    """A Flax module `(images, train, drop_path) -> (logits, auxiliary logits or None)`.

    `cells` counts all cells, for NAS-Bench-201 those of a stage, for networks of blocks the normal cells. ENAS macro
    networks have the layers of their architecture, randomly wired ones the stages of theirs: `cells` has no effect on
    them. Mobile networks have a stem, widths and layers of their own: `channels`, `cells` and `stem` have no effect on
    them, and `width_multiplier` has no effect on the others. Networks of ENAS, NAS-Bench-201 and One-Shot have the
    stem for CIFAR alone. `module.clone(axis_name=…, remat=…)` splits the batch over an axis, or computes activations
    again.
    """
    mobile = _mobile(genotype, width_multiplier)
    if mobile is not None:
        check_mobile(image_size=1, auxiliary=auxiliary)
        return MobileNetwork(mobile, classes)
    assert isinstance(genotype, Genotype)
    refuse_recurrent(genotype)
    if isinstance(genotype, RandomlyWired):
        return RandomlyWiredNetwork(genotype, channels, classes, stem)
    if isinstance(genotype, MacroArchitecture):
        return EnasMacroNetwork(genotype, channels, classes, release_compat=False)
    if isinstance(genotype, OneShotGenotype):
        return OneShotNetwork(genotype, channels, cells, classes)
    if isinstance(genotype, BlockGenotype) and genotype.family == "enas":
        return EnasMicroNetwork(genotype, channels, cells, classes, auxiliary=auxiliary)
    if isinstance(genotype, BlockGenotype):
        return NasnetNetwork(genotype, channels, cells, classes, stem, _STEM_MULTIPLIER[stem], auxiliary=auxiliary)
    if genotype.reduce is None:
        return DerivedNetwork201(channels, cells, classes, genotype=genotype)
    return DerivedNetwork(
        genotype,
        channels=channels,
        cells=cells,
        classes=classes,
        auxiliary=auxiliary,
        stem=stem,
        auxiliary_second_norm=stem == "cifar",
    )


def check_network(
    genotype: TrainedOnImages,
    *,
    channels: int,
    cells: int,
    image_size: int | tuple[int, int],
    auxiliary: bool = False,
    width_multiplier: float = 1.0,
    stem: StemName = "cifar",
) -> None:
    """Raise `UserError` unless `derived_network` can be built and run on such images."""
    if _mobile(genotype, width_multiplier) is not None:
        return check_mobile(image_size=image_size, auxiliary=auxiliary)
    assert isinstance(genotype, Genotype)
    refuse_recurrent(genotype)
    if isinstance(genotype, RandomlyWired):
        return check_wired(channels=channels, image_size=image_size, auxiliary=auxiliary)
    _check_stem(genotype, stem)
    if isinstance(genotype, MacroArchitecture):
        if auxiliary:
            raise UserError("ENAS macro networks have no auxiliary head; set train.auxiliary_weight to 0")
        return check_enas_macro(genotype, channels=channels, image_size=image_size, release_compat=False)
    sizes: dict[str, Any] = {"channels": channels, "cells": cells, "image_size": image_size, "auxiliary": auxiliary}
    if isinstance(genotype, OneShotGenotype):
        return check_one_shot(**sizes)
    if isinstance(genotype, BlockGenotype):
        if genotype.family == "enas":
            return check_enas_micro(genotype, **sizes)
        return check_nasnet(genotype, stem=stem, **sizes)
    if genotype.reduce is not None:
        return check_derived(genotype, stem=stem, **sizes)
    height, width = sides_of(image_size)
    if auxiliary:
        raise UserError("NAS-Bench-201 networks have no auxiliary head; set train.auxiliary_weight to 0")
    check_stages(height, width)


def count_network(
    genotype: TrainedOnImages,
    *,
    channels: int,
    cells: int,
    classes: int,
    image_size: int | tuple[int, int],
    width_multiplier: float = 1.0,
    stem: StemName = "cifar",
) -> Count:
    """Parameters and multiply–accumulates of `derived_network`, the auxiliary head excluded."""
    mobile = _mobile(genotype, width_multiplier)
    if mobile is not None:
        return count_mobile(mobile, classes=classes, image_size=image_size)
    assert isinstance(genotype, Genotype)
    if isinstance(genotype, RandomlyWired):
        return count_wired(genotype, channels=channels, classes=classes, image_size=image_size, stem=stem)
    if isinstance(genotype, MacroArchitecture):
        sides = sides_of(image_size)
        return count_enas_macro(genotype, channels=channels, classes=classes, image_size=sides, release_compat=False)
    if isinstance(genotype, BlockGenotype):
        size = NetworkSize(channels, cells, classes, image_size, stem, _STEM_MULTIPLIER[stem])
        return count_blocks(genotype, size)
    sizes: dict[str, Any] = {"channels": channels, "cells": cells, "classes": classes, "image_size": image_size}
    if isinstance(genotype, OneShotGenotype):
        return count_one_shot(genotype, **sizes)
    if genotype.reduce is not None:
        return count_darts_cnn(genotype, stem=stem, **sizes)
    return count_nasbench201(genotype, channels=channels, cells_per_stage=cells, classes=classes, image_size=image_size)


def _check_stem(genotype: Genotype, stem: StemName) -> None:
    """Raise `UserError` for the ImageNet stem of a network that has only that for CIFAR."""
    families = {
        "ENAS macro": isinstance(genotype, MacroArchitecture),
        "ENAS": isinstance(genotype, BlockGenotype) and genotype.family == "enas",
        "One-Shot": isinstance(genotype, OneShotGenotype),
        "NAS-Bench-201": type(genotype) is Genotype and genotype.reduce is None,
    }
    for family, found in families.items():
        if found and stem != "cifar":
            raise UserError(f"stem is {stem!r}, but {family} networks have only that for CIFAR; use train.stem cifar")


def count_blocks(genotype: BlockGenotype, size: NetworkSize, *, auxiliary: bool = False) -> Count:
    """Parameters and multiply–accumulates of the network of a genotype of blocks; its program is traced, not run."""
    if genotype.family != "enas":
        return count_nasnet(genotype, size, auxiliary=auxiliary)
    if size.stem != "cifar":
        raise UserError("ENAS networks have no ImageNet form")
    return count_enas_micro(genotype, size, auxiliary=auxiliary)


def _mobile(architecture: TrainedOnImages, width_multiplier: float) -> MobileArchitecture | None:
    """The mobile network of an architecture, with its widths multiplied; None for a genotype of cells."""
    mobile = mobile_of(architecture)
    return None if mobile is None else mobile.scaled(width_multiplier)
