"""The chain space of NAS (Zoph & Le 2017, §3.3): size, number and stride of the filters of each layer, and skips."""

from collections.abc import Sequence
from dataclasses import dataclass

from jdarts.errors import UserError
from jdarts.genotypes import excerpt
from jdarts.genotypes.chain import ChainArchitecture, ChainLayer
from jdarts.spaces.decisions import NO_YES, Choices, Decision, FreeChoices, checked_choices, labelled

KERNELS = (1, 3, 5, 7)
FILTERS = (24, 36, 48, 64)
STRIDES = (1, 2, 3)


@dataclass(frozen=True)
class ChainSpace(FreeChoices):
    """Networks of `layers` layers.

    Attributes:
      name: of the space.
      layers: their number.
      strides: with decisions for the stride by rows and by columns, each 1, 2 or 3; otherwise all are 1.
      skips: with a decision for each earlier layer, the anchors of the paper: option 1 reads it. Otherwise each layer
        reads the one before it.
    """

    name: str = "nas_chain"
    layers: int = 15
    strides: bool = False
    skips: bool = True

    def make_decisions(self) -> tuple[Decision, ...]:
        """Layer by layer: `height`, `width`, `filters`, the strides, and `skip_{j}` for each earlier layer j."""
        sizes = [("height", KERNELS), ("width", KERNELS), ("filters", FILTERS)]
        if self.strides:
            sizes += [("stride_rows", STRIDES), ("stride_columns", STRIDES)]
        found = []
        for layer in range(self.layers):
            found += [labelled(f"layer_{layer}.{kind}", f"network/{kind}", values) for kind, values in sizes]
            if self.skips:
                found += [Decision(f"layer_{layer}.skip_{j}", 2, "network/skip", NO_YES) for j in range(layer)]
        return tuple(found)

    def decode(self, choices: Sequence[int]) -> ChainArchitecture:
        """The network; raises `UserError` unless the choices are valid."""
        rest, layers = iter(checked_choices(self, choices)), []
        for i in range(self.layers):
            kernel, filters = (KERNELS[next(rest)], KERNELS[next(rest)]), FILTERS[next(rest)]
            stride = (STRIDES[next(rest)], STRIDES[next(rest)]) if self.strides else (1, 1)
            inputs = tuple(j for j in range(i) if next(rest)) if self.skips else (i - 1,) * (i > 0)
            layers.append(ChainLayer(kernel, filters, stride, inputs))
        return ChainArchitecture(tuple(layers))

    def encode(self, architecture: ChainArchitecture) -> Choices:
        """The choices of a network; raises `UserError` for one of another space."""
        found: list[int] = []
        try:
            for i, layer in enumerate(architecture.layers):
                found += [KERNELS.index(layer.kernel[0]), KERNELS.index(layer.kernel[1]), FILTERS.index(layer.filters)]
                found += [STRIDES.index(side) for side in layer.stride] if self.strides else []
                found += [int(j in layer.inputs) for j in range(i)] if self.skips else []
            if self.decode(found) != architecture:
                raise ValueError
        except (AttributeError, ValueError):
            raise UserError(f"{excerpt(architecture)} does not belong to space {self.name}") from None
        return tuple(found)


nas_chain = ChainSpace()
nas_chain_strides = ChainSpace("nas_chain_strides", layers=20, strides=True)
