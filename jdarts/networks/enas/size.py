"""Parameters and multiply–accumulates of ENAS networks, by the rules of `jdarts.networks.counting`."""

from jdarts.genotypes.blocks import BlockGenotype
from jdarts.genotypes.enas import MacroArchitecture
from jdarts.genotypes.published_networks import NetworkSize
from jdarts.networks.counting import Count, ModuleCount
from jdarts.networks.enas.macro import EnasMacroNetwork, check_enas_macro
from jdarts.networks.enas.micro import EnasMicroNetwork, check_enas_micro
from jdarts.ops.network_size import module_sizes


def count_enas_micro(genotype: BlockGenotype, size: NetworkSize, *, auxiliary: bool = False) -> Count:
    """Size of an `EnasMicroNetwork`; `size` has the stem "cifar". Raises `UserError` like `check_enas_micro`."""
    sides = size.image_sides
    check_enas_micro(genotype, channels=size.channels, cells=size.cells, image_size=sides, auxiliary=auxiliary)
    network = EnasMicroNetwork(genotype, size.channels, size.cells, size.classes, auxiliary)
    sizes = module_sizes(network, (*sides, 3), train=auxiliary)
    return Count(tuple(ModuleCount(name, *pair) for name, pair in sizes.items()))


def count_enas_macro(
    architecture: MacroArchitecture,
    *,
    channels: int = 96,
    classes: int = 10,
    image_size: tuple[int, int] = (32, 32),
    release_compat: bool = True,
) -> Count:
    """Size of an `EnasMacroNetwork`. Raises `UserError` like `check_enas_macro`."""
    check_enas_macro(architecture, channels=channels, image_size=image_size, release_compat=release_compat)
    sizes = module_sizes(EnasMacroNetwork(architecture, channels, classes, release_compat), (*image_size, 3))
    return Count(tuple(ModuleCount(name, *pair) for name, pair in sizes.items()))
