"""Networks that papers released as a whole, by name: the genotype, and the sizes of the network.

A line of the tables is one cell, `ops | inputs | used`, in the encoding of the release: block b applies ops 2b and
2b+1 to inputs 2b and 2b+1. Input 0 is the output of the cell before, 1 that of the cell before that, 2+b that of block
b. `used` has a 1 for every node that is not a part of the output. Sources: tensorflow/models (slim/nets/nasnet) and
tensorflow/tpu (amoeba_net). ENAS is in `jdarts.genotypes.enas`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from jdarts.genotypes.blocks import BlockCell, BlockGenotype, Family
from jdarts.genotypes.enas import released_macro, released_micro
from jdarts.genotypes.genotype import Genotype

_CODES = {
    "none": "skip_connect",
    "avg3": "avg_pool_3x3",
    "max3": "max_pool_3x3",
    "sep3": "sep_conv_3x3",
    "sep5": "sep_conv_5x5",
    "sep7": "sep_conv_7x7",
    "1x7": "conv_7x1_1x7",
}

_CELLS = {
    "NASNet-A normal": "sep5 sep3 sep5 sep3 avg3 none avg3 avg3 sep3 none | 0 1 1 1 0 1 1 1 0 0 | 1 0 0 0 0 0 0",
    "NASNet-A reduce": "sep5 sep7 max3 sep7 avg3 sep5 none avg3 sep3 max3 | 0 1 0 1 0 1 3 2 2 0 | 1 1 1 0 0 0 0",
    "PNASNet-5": "sep5 max3 sep7 max3 sep5 sep3 sep3 max3 sep3 none | 1 1 0 0 0 0 4 0 1 0 | 1 1 0 0 0 0 0",
    "AmoebaNet-A normal": "avg3 max3 sep3 none none avg3 sep3 sep5 avg3 sep3 | 0 0 1 1 0 1 0 2 5 0 | 1 0 1 0 0 1 0",
    "AmoebaNet-A reduce": "sep3 avg3 max3 sep7 max3 max3 sep3 1x7 avg3 sep7 | 1 0 0 2 1 0 4 0 1 0 | 1 1 0 0 0 0 0",
    "AmoebaNet-C normal": "avg3 sep3 none sep3 avg3 sep3 none sep3 avg3 sep3 | 0 0 0 0 2 1 0 1 3 0 | 1 0 0 1 0 0 0",
    "AmoebaNet-C reduce": "max3 max3 sep7 sep3 sep7 max3 sep5 sep5 max3 sep3 | 0 0 2 0 0 1 4 4 1 1 | 0 1 0 0 0 0 0",
}


@dataclass(frozen=True)
class NetworkSize:
    """The sizes of a released network.

    Attributes:
      channels: F, those of a block in the first cells.
      cells: the number of normal cells; reduction cells that a family inserts are not counted. For ENAS macro, layers.
      classes: outputs of the classifier.
      image_size: height and width of the images in pixels, or the side of square ones.
      stem: "cifar", one convolution to F · stem_multiplier channels; or "imagenet", one of stride 2 to
        32 · stem_multiplier channels, and two reduction cells.
      stem_multiplier: see `stem`.
    """

    channels: int
    cells: int
    classes: int = 1000
    image_size: int | tuple[int, int] = 224
    stem: Literal["cifar", "imagenet"] = "imagenet"
    stem_multiplier: int = 1

    @property
    def image_sides(self) -> tuple[int, int]:
        """Height and width of the images."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size


CIFAR = NetworkSize(32, 18, classes=10, image_size=32, stem="cifar", stem_multiplier=3)
"""The CIFAR network of NASNet-A."""
IMAGENET = NetworkSize(44, 12)
"""The mobile network of NASNet-A."""


@dataclass(frozen=True)
class PublishedNetwork:
    """A released network: its genotype, sizes and the place of publication."""

    genotype: Genotype
    size: NetworkSize
    source: str


def _cifar(channels: int, cells: int) -> NetworkSize:
    return replace(CIFAR, channels=channels, cells=cells)


def _large(channels: int, cells: int) -> NetworkSize:
    return NetworkSize(channels, cells, image_size=331, stem_multiplier=3)


@cache
def networks() -> Mapping[str, PublishedNetwork]:
    """All released networks by name."""
    slim, tpu = "tensorflow/models, slim/nets/nasnet", "tensorflow/tpu, amoeba_net"
    nasnet = _genotype("NASNet-A normal", "NASNet-A reduce", "nasnet")
    amoebanet_a = _genotype("AmoebaNet-A normal", "AmoebaNet-A reduce", "amoebanet")
    amoebanet_c = _genotype("AmoebaNet-C normal", "AmoebaNet-C reduce", "amoebanet")
    nasnet_skip = _genotype("NASNet-A normal", "NASNet-A reduce", "nasnet", skip=True)
    pnasnet = _genotype("PNASNet-5", "PNASNet-5", "pnasnet", skip=True)
    return {
        "NASNET_A_MOBILE": PublishedNetwork(nasnet, IMAGENET, slim),
        "NASNET_A_LARGE": PublishedNetwork(nasnet_skip, _large(168, 18), slim),
        "NASNET_A_CIFAR": PublishedNetwork(nasnet, CIFAR, slim),
        "PNASNET5_MOBILE": PublishedNetwork(pnasnet, NetworkSize(54, 9), slim),
        "PNASNET5_LARGE": PublishedNetwork(pnasnet, _large(216, 12), slim),
        "PNASNET5_CIFAR": PublishedNetwork(pnasnet, _cifar(48, 9), "Liu et al. 2018, table 1"),
        "AMOEBANET_A_MOBILE": PublishedNetwork(amoebanet_a, NetworkSize(50, 12), tpu),
        "AMOEBANET_A_CIFAR": PublishedNetwork(amoebanet_a, _cifar(36, 18), tpu),
        "AMOEBANET_C_MOBILE": PublishedNetwork(amoebanet_c, NetworkSize(50, 12), tpu),
        "ENAS_MICRO": PublishedNetwork(released_micro(), _cifar(36, 15), "melodyguan/enas, cifar10_micro_final"),
        "ENAS_MACRO": PublishedNetwork(released_macro(), _cifar(96, 24), "melodyguan/enas, cifar10_macro_final"),
    }


def find(name: str) -> PublishedNetwork | None:
    """The released network called `name` in upper or lower case, with `-` read as `_`; None if there is none."""
    return networks().get(name.strip().upper().replace("-", "_"))


def _genotype(normal: str, reduce: str, family: Family, *, skip: bool = False) -> BlockGenotype:
    return BlockGenotype(_cell(_CELLS[normal]), _cell(_CELLS[reduce]), family, skip)


def _cell(row: str) -> BlockCell:
    ops, inputs, used = (field.split() for field in row.split(" | "))
    node = lambda index: 1 - index if index < 2 else index  # noqa: E731  jdarts counts the cell before as 1
    edges = [(_CODES[op], node(int(index))) for op, index in zip(ops, inputs, strict=True)]
    output = tuple(sorted(node(index) for index, flag in enumerate(used) if flag == "0"))
    return BlockCell(tuple(zip(edges[::2], edges[1::2], strict=True)), output)
