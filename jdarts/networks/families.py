"""The families of networks that train an architecture: for each one the network, its checks and its size.

A family of your own kind of architecture is one more class here, and a line in `family_of`.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from jdarts.errors import UserError
from jdarts.genotypes import BlockGenotype, Genotype, MacroArchitecture, OneShotGenotype
from jdarts.genotypes.macro import mobile_of
from jdarts.genotypes.published_networks import NetworkSize
from jdarts.genotypes.random_wiring import RandomlyWired
from jdarts.genotypes.recurrent import refuse_recurrent
from jdarts.genotypes.stacked import STAGES, StackedGenotype, cells_in_order
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

STEM_MULTIPLIER: dict[StemName, int] = {"cifar": 3, "imagenet": 1}
"""Of networks of blocks, as in the releases of NASNet."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of a network; which of them act depends on the family (`jdarts.networks.of_genotype`)."""

    channels: int
    cells: int
    classes: int = 10
    image_size: int | tuple[int, int] = 32
    auxiliary: bool = False
    width_multiplier: float = 1.0
    stem: StemName = "cifar"

    def of(self, *names: str) -> dict[str, Any]:
        """Some of the sizes by name."""
        return {name: getattr(self, name) for name in names}


class NetworkFamily(Protocol):
    """A family of architectures and their networks."""

    def network(self, genotype: Any, sizes: Sizes, /) -> Any:
        """A Flax module `(images, train, drop_path) -> (logits, auxiliary logits or None)`."""
        ...

    def check(self, genotype: Any, sizes: Sizes, /) -> None:
        """Raise `UserError` unless `network` can be built and run on such images."""
        ...

    def count(self, genotype: Any, sizes: Sizes, /) -> Count:
        """Parameters and multiply–accumulates of `network`, the auxiliary head excluded."""
        ...


def family_of(genotype: Any) -> NetworkFamily:
    """The family of an architecture; raises `UserError` for a recurrent cell, which has no network of images."""
    if mobile_of(genotype) is not None:
        return Mobile()
    assert isinstance(genotype, Genotype)
    refuse_recurrent(genotype)
    if isinstance(genotype, RandomlyWired):
        return Wired()
    if isinstance(genotype, MacroArchitecture):
        return EnasMacro()
    if isinstance(genotype, OneShotGenotype):
        return OneShotCells()
    if isinstance(genotype, BlockGenotype):
        return EnasMicro() if genotype.family == "enas" else Blocks()
    return DartsCells() if genotype.reduce is not None else NASBench201Cells()


class DartsCells:
    """Normal and reduction cells, or a cell for every position."""

    def network(self, genotype: Genotype, sizes: Sizes) -> Any:
        """A `DerivedNetwork`."""
        names = ("channels", "cells", "classes", "auxiliary", "stem")
        return DerivedNetwork(genotype, **sizes.of(*names), auxiliary_second_norm=sizes.stem == "cifar")

    def check(self, genotype: Genotype, sizes: Sizes) -> None:
        """As `check_derived`."""
        if isinstance(genotype, StackedGenotype):
            cells_in_order(genotype, sizes.cells, "train.cells")
        check_derived(genotype, **sizes.of("channels", "cells", "image_size", "auxiliary", "stem"))

    def count(self, genotype: Genotype, sizes: Sizes) -> Count:
        """As `count_darts_cnn`."""
        return count_darts_cnn(genotype, **sizes.of("channels", "cells", "classes", "image_size", "stem"))


class NASBench201Cells:
    """Cells of NAS-Bench-201; `cells` are those of a stage."""

    def network(self, genotype: Genotype, sizes: Sizes) -> Any:
        """A `DerivedNetwork201`."""
        return DerivedNetwork201(sizes.channels, sizes.cells, sizes.classes, genotype=genotype)

    def check(self, genotype: Genotype, sizes: Sizes) -> None:
        """The stem, the number of cells, and images that can be halved twice."""
        _only_for_cifar(sizes, "NAS-Bench-201")
        if isinstance(genotype, StackedGenotype):
            cells_in_order(genotype, STAGES * sizes.cells, "train.cells")
        height, width = sides_of(sizes.image_size)
        _without_head(sizes, "NAS-Bench-201 networks")
        check_stages(height, width)

    def count(self, genotype: Genotype, sizes: Sizes) -> Count:
        """As `count_nasbench201`."""
        return count_nasbench201(genotype, cells_per_stage=sizes.cells, **sizes.of("channels", "classes", "image_size"))


class Blocks:
    """Cells of blocks: NASNet, AmoebaNet and PNASNet; `cells` are the normal cells."""

    def network(self, genotype: BlockGenotype, sizes: Sizes) -> Any:
        """A `NasnetNetwork`."""
        multiplier = STEM_MULTIPLIER[sizes.stem]
        return NasnetNetwork(
            genotype,
            sizes.channels,
            sizes.cells,
            sizes.classes,
            sizes.stem,
            multiplier,
            auxiliary=sizes.auxiliary,
        )

    def check(self, genotype: BlockGenotype, sizes: Sizes) -> None:
        """As `check_nasnet`."""
        check_nasnet(genotype, **sizes.of("channels", "cells", "image_size", "auxiliary", "stem"))

    def count(self, genotype: BlockGenotype, sizes: Sizes) -> Count:
        """As `count_nasnet`."""
        return count_blocks(genotype, _network_size(sizes))


class EnasMicro:
    """Cells of blocks as ENAS has them."""

    def network(self, genotype: BlockGenotype, sizes: Sizes) -> Any:
        """An `EnasMicroNetwork`."""
        return EnasMicroNetwork(genotype, sizes.channels, sizes.cells, sizes.classes, auxiliary=sizes.auxiliary)

    def check(self, genotype: BlockGenotype, sizes: Sizes) -> None:
        """As `check_enas_micro`."""
        _only_for_cifar(sizes, "ENAS")
        check_enas_micro(genotype, **sizes.of("channels", "cells", "image_size", "auxiliary"))

    def count(self, genotype: BlockGenotype, sizes: Sizes) -> Count:
        """As `count_enas_micro`."""
        return count_blocks(genotype, _network_size(sizes))


class EnasMacro:
    """Whole networks of ENAS, with the layers of their architecture; `cells` has no effect."""

    def network(self, genotype: MacroArchitecture, sizes: Sizes) -> Any:
        """An `EnasMacroNetwork`, without the quirks of the release."""
        return EnasMacroNetwork(genotype, sizes.channels, sizes.classes, release_compat=False)

    def check(self, genotype: MacroArchitecture, sizes: Sizes) -> None:
        """As `check_enas_macro`."""
        _only_for_cifar(sizes, "ENAS macro")
        _without_head(sizes, "ENAS macro networks")
        check_enas_macro(genotype, **sizes.of("channels", "image_size"), release_compat=False)

    def count(self, genotype: MacroArchitecture, sizes: Sizes) -> Count:
        """As `count_enas_macro`."""
        sides = sides_of(sizes.image_size)
        return count_enas_macro(genotype, **sizes.of("channels", "classes"), image_size=sides, release_compat=False)


class OneShotCells:
    """Cells of One-Shot (Bender et al. 2018)."""

    def network(self, genotype: OneShotGenotype, sizes: Sizes) -> Any:
        """A `OneShotNetwork`."""
        return OneShotNetwork(genotype, sizes.channels, sizes.cells, sizes.classes)

    def check(self, genotype: OneShotGenotype, sizes: Sizes) -> None:
        """As `check_one_shot`."""
        del genotype
        _only_for_cifar(sizes, "One-Shot")
        check_one_shot(**sizes.of("channels", "cells", "image_size", "auxiliary"))

    def count(self, genotype: OneShotGenotype, sizes: Sizes) -> Count:
        """As `count_one_shot`."""
        return count_one_shot(genotype, **sizes.of("channels", "cells", "classes", "image_size"))


class Wired:
    """Randomly wired networks, with the stages of their architecture; `cells` has no effect."""

    def network(self, genotype: RandomlyWired, sizes: Sizes) -> Any:
        """A `RandomlyWiredNetwork`."""
        return RandomlyWiredNetwork(genotype, sizes.channels, sizes.classes, sizes.stem)

    def check(self, genotype: RandomlyWired, sizes: Sizes) -> None:
        """As `check_wired`."""
        del genotype
        check_wired(**sizes.of("channels", "image_size", "auxiliary"))

    def count(self, genotype: RandomlyWired, sizes: Sizes) -> Count:
        """As `count_wired`."""
        return count_wired(genotype, **sizes.of("channels", "classes", "image_size", "stem"))


class Mobile:
    """Chains of mobile layers: `width_multiplier` acts; `channels`, `cells` and `stem` have no effect."""

    def network(self, genotype: Any, sizes: Sizes) -> Any:
        """A `MobileNetwork`."""
        check_mobile(image_size=1, auxiliary=sizes.auxiliary)
        return MobileNetwork(_scaled(genotype, sizes), sizes.classes)

    def check(self, genotype: Any, sizes: Sizes) -> None:
        """As `check_mobile`; the widths must remain whole."""
        _scaled(genotype, sizes)
        check_mobile(**sizes.of("image_size", "auxiliary"))

    def count(self, genotype: Any, sizes: Sizes) -> Count:
        """As `count_mobile`."""
        return count_mobile(_scaled(genotype, sizes), **sizes.of("classes", "image_size"))


def count_blocks(genotype: BlockGenotype, size: NetworkSize, *, auxiliary: bool = False) -> Count:
    """Parameters and multiply–accumulates of the network of a genotype of blocks; its program is traced, not run."""
    if genotype.family != "enas":
        return count_nasnet(genotype, size, auxiliary=auxiliary)
    if size.stem != "cifar":
        raise UserError("ENAS networks have no ImageNet form")
    return count_enas_micro(genotype, size, auxiliary=auxiliary)


def _network_size(sizes: Sizes) -> NetworkSize:
    multiplier = STEM_MULTIPLIER[sizes.stem]
    return NetworkSize(sizes.channels, sizes.cells, sizes.classes, sizes.image_size, sizes.stem, multiplier)


def _scaled(genotype: Any, sizes: Sizes) -> Any:
    mobile = mobile_of(genotype)
    assert mobile is not None
    return mobile.scaled(sizes.width_multiplier)


def _only_for_cifar(sizes: Sizes, family: str) -> None:
    if sizes.stem != "cifar":
        raise UserError(f"stem is {sizes.stem!r}, but {family} networks have only that for CIFAR; use train.stem cifar")


def _without_head(sizes: Sizes, networks: str) -> None:
    if sizes.auxiliary:
        raise UserError(f"{networks} have no auxiliary head; set train.auxiliary_weight to 0")
