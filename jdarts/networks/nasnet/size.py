"""Parameters and multiply–accumulates of NASNet-type networks."""

from jdarts.genotypes.blocks import BlockGenotype
from jdarts.genotypes.published_networks import NetworkSize
from jdarts.networks.counting import Count, ModuleCount
from jdarts.networks.nasnet.network import NasnetNetwork, check_nasnet
from jdarts.ops.network_size import module_sizes


def network_of(genotype: BlockGenotype, size: NetworkSize, *, auxiliary: bool = False) -> NasnetNetwork:
    """The network of `genotype` with these sizes."""
    return NasnetNetwork(
        genotype,
        channels=size.channels,
        cells=size.cells,
        classes=size.classes,
        stem=size.stem,
        stem_multiplier=size.stem_multiplier,
        auxiliary=auxiliary,
    )


def count_nasnet(genotype: BlockGenotype, size: NetworkSize, *, auxiliary: bool = False) -> Count:
    """Size of a NASNet-type network, module by module, by the rules of `jdarts.networks.counting`.

    Nothing is computed: the program of the network is traced. Raises `UserError` like `check_nasnet`.

    Example::

        published = networks()["NASNET_A_MOBILE"]
        count_nasnet(published.genotype, published.size).parameters    # 5289978
    """
    height, width = size.image_sides
    check_nasnet(
        genotype,
        channels=size.channels,
        cells=size.cells,
        image_size=(height, width),
        auxiliary=auxiliary,
        stem=size.stem,
    )
    sizes = module_sizes(network_of(genotype, size, auxiliary=auxiliary), (height, width, 3), train=auxiliary)
    return Count(tuple(ModuleCount(name, *pair) for name, pair in sizes.items()))
