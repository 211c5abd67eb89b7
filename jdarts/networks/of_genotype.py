"""The network that trains an architecture, its checks and its size, of any family (`jdarts.networks.families`)."""

from typing import Any

from jdarts.genotypes import Genotype, MobileArchitecture
from jdarts.genotypes.macro import MacroNetwork
from jdarts.networks.counting import Count
from jdarts.networks.derived import StemName
from jdarts.networks.families import Sizes, family_of

TrainedOnImages = Genotype | MobileArchitecture | MacroNetwork
"""The architectures of which jdarts trains networks of images."""


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
    sizes = Sizes(channels, cells, classes, auxiliary=auxiliary, width_multiplier=width_multiplier, stem=stem)
    return family_of(genotype).network(genotype, sizes)


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
    where = {"image_size": image_size, "auxiliary": auxiliary}
    sizes = Sizes(channels, cells, width_multiplier=width_multiplier, stem=stem, **where)
    family_of(genotype).check(genotype, sizes)


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
    sizes = Sizes(channels, cells, classes, image_size, width_multiplier=width_multiplier, stem=stem)
    return family_of(genotype).count(genotype, sizes)
