"""Spaces of mobile networks with a choice for each layer: ProxylessNAS, FairNAS, S5 and SPOS.

Widths, strides, stem and head are fixed. Option k of layer i is the k-th of its candidates. Each has a one-shot
supernet (`jdarts.spaces.layer_choices`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jdarts.errors import UserError
from jdarts.genotypes import MobileLayer, excerpt
from jdarts.genotypes.mobile import MobileFamily
from jdarts.genotypes.published_mobile import (
    FAIRNAS_LAYERS,
    MOBILE_STRIDES,
    PROXYLESS_STAGES,
    SPOS_LAYERS,
    fairnas_layers,
    mobile_network,
    spos_layers,
    stages,
)
from jdarts.spaces.decisions import Choices, checked_choices
from jdarts.spaces.layer_choices import LayerChoices

PROXYLESS_WIDTHS = (24, 40, 80, 96, 192, 320)
"""The widths of the search; the published network for phones has 32 channels in the first stage."""

LayerCandidates = tuple[MobileLayer, ...]


@dataclass(frozen=True)
class MobileSpace(LayerChoices):
    """Mobile networks of one family that differ in their inner layers.

    Attributes:
      name: of the space.
      family: a key of `jdarts.genotypes.mobile.MOBILE_FAMILIES`.
      first: the widths of the stem and, if there are two, of a separable convolution behind it.
      candidates: those of every layer.
      head: the width of the last convolution.
      dropout: the probability of dropout in front of the classifier.
      affine: batch norm in the supernet has a scale and a shift; that of SPOS has none.
    """

    name: str
    family: str
    first: tuple[int, ...]
    candidates: tuple[LayerCandidates, ...] = field(repr=False)
    head: int
    dropout: float = 0.0
    affine: bool = True

    @property
    def stem_width(self) -> int:
        """The number of channels that the first choice reads."""
        return self.first[-1]

    @property
    def family_of_supernet(self) -> MobileFamily:
        """The conventions of the supernet's layers."""
        return replace(super().family_of_supernet, affine=self.affine)

    def decode(self, choices: Sequence[int]) -> Any:
        """The network, a `MobileArchitecture`; raises `UserError` unless the choices are valid."""
        checked = checked_choices(self, choices)
        middle = [layers[choice] for choice, layers in zip(checked, self.candidates, strict=True)]
        return mobile_network(self.family, self.first, middle, self.head, dropout=self.dropout)

    def encode(self, architecture: Any) -> Choices:
        """The choices of a network; raises `UserError` for one of another space."""
        fixed = len(self.first)
        try:
            middle = architecture.layers[fixed:-1]
            found = tuple(layers.index(layer) for layer, layers in zip(middle, self.candidates, strict=True))
            if self.decode(found) != architecture:
                raise ValueError
        except (AttributeError, ValueError):
            raise UserError(f"{excerpt(architecture)} does not belong to space {self.name}") from None
        return found


def proxyless_space(name: str, widths: Sequence[int] = PROXYLESS_WIDTHS) -> MobileSpace:
    """The space of ProxylessNAS (Cai et al. 2019) with these widths of the six stages.

    21 layers with six candidates each: kernels 3, 5, 7, each with expansion 3 and 6. Layers of stride 1 and equal width
    may also be left out.
    """
    places = stages(widths, PROXYLESS_STAGES, MOBILE_STRIDES)
    candidates = tuple(_proxyless_layers(width, stride) for width, stride in places)
    return MobileSpace(name, "proxyless", (32, 16), _with_identity(candidates), 1280)


def _proxyless_layers(width: int, stride: int) -> LayerCandidates:
    return tuple(
        MobileLayer("mb", width, kernel, expansion, stride=stride) for kernel in (3, 5, 7) for expansion in (3, 6)
    )


def _with_identity(candidates: Sequence[LayerCandidates]) -> tuple[LayerCandidates, ...]:
    """The candidates with the identity behind them, in every layer that is not the first of its width."""
    found, before = [], 0
    for layers in candidates:
        width = layers[0].width
        found.append((*layers, MobileLayer("identity", width)) if width == before else layers)
        before = width
    return tuple(found)


_FAIRNAS = tuple(fairnas_layers(width, stride) for width, stride in FAIRNAS_LAYERS)

proxyless = proxyless_space("proxyless")
fairnas = MobileSpace("fairnas", "fairnas", (32, 16), _FAIRNAS, 1280, dropout=0.2)
"""The 6¹⁹ networks of FairNAS (Chu et al. 2021)."""
mobile_s5 = MobileSpace("mobile_s5", "fairnas", (32, 16), _with_identity(_FAIRNAS), 1280, dropout=0.2)
"""S5 of DARTS-: FairNAS with the identity as a seventh candidate of the 13 layers that allow it."""
spos = MobileSpace("spos", "spos", (16,), tuple(spos_layers(*place) for place in SPOS_LAYERS), 1024, 0.1, False)
"""The 4²⁰ networks of SPOS (Guo et al. 2020)."""
