"""Mobile networks that papers published, by name: ProxylessNAS, FairNAS, MnasNet, SPOS; and MobileNetV2 beside them.

Sources: the authors' repositories (mit-han-lab/proxylessnas, xiaomi-automl/FairNAS, tensorflow/tpu mnasnet_models,
megvii-model/SinglePathOneShot), and table 2 of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381). All are for 1000
classes and images of 224 × 224 pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from jdarts.genotypes.mobile import MobileArchitecture, MobileLayer, architecture_of

PROXYLESS_STAGES = (4, 4, 4, 4, 4, 1)
FAIRNAS_STAGES = (2, 4, 4, 4, 4, 1)
MOBILE_STRIDES = (2, 2, 2, 1, 2, 1)
"""The stride of the first layer of each stage, in ProxylessNAS and FairNAS."""
SPOS_STAGES = (4, 4, 8, 4)
SPOS_WIDTHS = (64, 160, 320, 640)

# Widths of stem, fixed first layer, stages and head | kernels of the stages | expansions; 0 is a layer left out
_PROXYLESS = {
    "PROXYLESS_CPU": "40 24 32 48 88 104 216 360 1432 | 3333 3335 3003 5333 5553 5 | 6333 6333 6003 6333 6333 6",
    "PROXYLESS_GPU": "40 24 32 56 112 128 256 432 1728 | 5000 7003 7005 5035 7775 7 | 3000 3003 6003 6033 6666 6",
    "PROXYLESS_MOBILE": "32 16 32 40 80 96 192 320 1280 | 5300 7355 7555 5555 7777 7 | 3300 3333 6333 6333 6633 6",
    "PROXYLESS_MOBILE_14": "48 24 40 56 112 136 256 448 1792 | 5300 7355 7555 5555 7777 7 | 3300 3333 6333 6333 6633 6",
}
_FAIRNAS = {
    "FAIRNAS_A": (2, 0, 2, 3, 5, 0, 0, 5, 5, 1, 3, 1, 1, 3, 3, 5, 3, 5, 4),
    "FAIRNAS_B": (1, 0, 1, 0, 3, 1, 2, 0, 3, 1, 0, 3, 2, 0, 5, 4, 5, 3, 4),
    "FAIRNAS_C": (1, 0, 2, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 5, 5, 3, 3, 4),
}
SPOS_ARC = (2, 1, 0, 1, 2, 0, 2, 0, 2, 0, 2, 3, 0, 0, 0, 0, 3, 2, 3, 3)
"""The released network of SPOS, one choice for each layer: shuffle 3, 5, 7 or xception."""

# `n*layer` stands for n layers, of which only the first has the stride
_MNASNET = {
    "MNASNET_A1": (
        "conv_k3_c32_s2 1*mb_k3_c16 2*mb_k3_e6_c24_s2 3*mb_k5_e3_se0.25_c40_s2 4*mb_k3_e6_c80_s2 "
        "2*mb_k3_e6_se0.25_c112 3*mb_k5_e6_se0.25_c160_s2 1*mb_k3_e6_c320 conv_k1_c1280 dropout_0.2"
    ),
    "MNASNET_B1": (
        "conv_k3_c32_s2 1*mb_k3_c16 3*mb_k3_e3_c24_s2 3*mb_k5_e3_c40_s2 3*mb_k5_e6_c80_s2 "
        "2*mb_k3_e6_c96 4*mb_k5_e6_c192_s2 1*mb_k3_e6_c320 conv_k1_c1280 dropout_0.2"
    ),
    "MNASNET_SMALL": (
        "conv_k3_c8_s2 1*mb_k3_c8 1*mb_k3_e3_c16_s2 2*mb_k3_e6_c16_s2 4*mb_k5_e6_se0.25_c32_s2 "
        "3*mb_k3_e6_se0.25_c32 3*mb_k5_e6_se0.25_c88_s2 1*mb_k3_e6_c144 conv_k1_c1280"
    ),
}
_MOBILENET_V2 = (
    "conv_k3_c32_s2 1*mb_k3_c16 2*mb_k3_e6_c24_s2 3*mb_k3_e6_c32_s2 4*mb_k3_e6_c64_s2 3*mb_k3_e6_c96 "
    "3*mb_k3_e6_c160_s2 1*mb_k3_e6_c320 conv_k1_c1280 dropout_0.2"
)


@dataclass(frozen=True)
class PublishedMobile:
    """A published mobile network; `source` is the place of publication."""

    architecture: MobileArchitecture
    source: str


@cache
def networks() -> Mapping[str, PublishedMobile]:
    """All published mobile networks by name. `_SE` and `_SE05` are those of FairNAS with ratio 1 and 0.5 (swish)."""
    found = {name: PublishedMobile(_proxyless(row), "mit-han-lab/proxylessnas") for name, row in _PROXYLESS.items()}
    for name, choices in _FAIRNAS.items():
        for ending, squeeze in (("", 0.0), ("_SE05", 0.5), ("_SE", 1.0)):
            found[name + ending] = PublishedMobile(fairnas_network(choices, squeeze), "xiaomi-automl/FairNAS")
    for name, row in _MNASNET.items():
        found[name] = PublishedMobile(_of_row("mnasnet", row), "tensorflow/tpu, mnasnet_models")
    found["MOBILENET_V2"] = PublishedMobile(_of_row("mobilenet_v2", _MOBILENET_V2), "arXiv:1801.04381, table 2")
    found["SPOS"] = PublishedMobile(spos_network(SPOS_ARC), "megvii-model/SinglePathOneShot")
    return found


def _of_row(family: str, row: str) -> MobileArchitecture:
    return architecture_of(family, [word for part in row.split() for word in _repeated(part)])


def find(name: str) -> PublishedMobile | None:
    """The published network called `name` in upper or lower case, with `-` read as `_`; None if there is none."""
    return networks().get(name.strip().upper().replace("-", "_"))


def fairnas_layers(width: int, stride: int, squeeze: float = 0.0, activation: str = "") -> tuple[MobileLayer, ...]:
    """The six candidates of FairNAS in the order of their numbers: kernels 3, 5, 7 with expansion 3, then with 6."""
    return tuple(
        MobileLayer("mb", width, kernel, expansion, squeeze, stride, activation)
        for expansion in (3, 6)
        for kernel in (3, 5, 7)
    )


def spos_layers(width: int, stride: int) -> tuple[MobileLayer, ...]:
    """The four candidates of SPOS in the order of their numbers."""
    shuffles = tuple(MobileLayer("shuffle", width, kernel, stride=stride) for kernel in (3, 5, 7))
    return (*shuffles, MobileLayer("xception", width, stride=stride))


def stages(widths: Sequence[int], lengths: Sequence[int], strides: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """`(width, stride)` of every layer of the stages."""
    return tuple(
        (width, stride if i == 0 else 1)
        for width, length, stride in zip(widths, lengths, strides, strict=True)
        for i in range(length)
    )


FAIRNAS_LAYERS = stages((32, 40, 80, 96, 192, 320), FAIRNAS_STAGES, MOBILE_STRIDES)
"""`(width, stride)` of the 19 layers of FairNAS, and of S5 in DARTS-."""
SPOS_LAYERS = stages(SPOS_WIDTHS, SPOS_STAGES, (2, 2, 2, 2))
"""`(width, stride)` of the 20 layers of SPOS."""


def fairnas_network(choices: Sequence[int], squeeze: float = 0.0) -> MobileArchitecture:
    """The network of 19 choices of FairNAS; with squeeze-and-excitation the activation is swish, else ReLU6."""
    activation = "swish" if squeeze else ""
    middle = [
        fairnas_layers(width, stride, squeeze, activation)[choice]
        for choice, (width, stride) in zip(choices, FAIRNAS_LAYERS, strict=True)
    ]
    return mobile_network("fairnas", (32, 16), middle, 1280, activation=activation, dropout=0.2)


def spos_network(choices: Sequence[int]) -> MobileArchitecture:
    """The network of 20 choices of SPOS."""
    middle = [spos_layers(*place)[choice] for choice, place in zip(choices, SPOS_LAYERS, strict=True)]
    return mobile_network("spos", (16,), middle, 1024, dropout=0.1)


def mobile_network(
    family: str,
    first: Sequence[int],
    middle: Sequence[MobileLayer],
    head: int,
    *,
    activation: str = "",
    dropout: float = 0.0,
) -> MobileArchitecture:
    """Stem, a separable convolution (if `first` has two widths), the layers `middle`, 1 × 1 convolution to `head`."""
    stem = MobileLayer("conv", first[0], stride=2, activation=activation)
    fixed = [MobileLayer("mb", width, activation=activation) for width in first[1:]]
    end = MobileLayer("conv", head, kernel=1, activation=activation)
    return MobileArchitecture(family, (stem, *fixed, *middle, end), dropout)


def _proxyless(row: str) -> MobileArchitecture:
    widths, kernels, expansions = (field.split() for field in row.split(" | "))
    stem, first, *inner, head = map(int, widths)
    middle = []
    digits = zip("".join(kernels), "".join(expansions), strict=True)
    places = stages(inner, PROXYLESS_STAGES, MOBILE_STRIDES)
    for (kernel, expansion), (width, stride) in zip(digits, places, strict=True):
        if kernel == "0":
            middle.append(MobileLayer("identity", width))
        else:
            middle.append(MobileLayer("mb", width, int(kernel), int(expansion), stride=stride))
    return mobile_network("proxyless", (stem, first), middle, head)


def _repeated(part: str) -> list[str]:
    number, star, word = part.partition("*")
    return [word] + [word.removesuffix("_s2")] * (int(number) - 1) if star else [part]
