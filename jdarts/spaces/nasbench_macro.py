"""The space of NAS-Bench-Macro (Su et al. 2021, arXiv:2103.11922): eight layers, three blocks to choose from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jdarts.errors import UserError
from jdarts.genotypes import excerpt
from jdarts.genotypes.macro import BLOCKS, LAYERS, MacroNetwork, macro_of
from jdarts.genotypes.mobile import MobileLayer
from jdarts.spaces.decisions import Choices, checked_choices
from jdarts.spaces.layer_choices import LayerChoices


@dataclass(frozen=True)
class NASBenchMacroSpace(LayerChoices):
    """The 3⁸ = 6,561 networks of the benchmark."""

    name: str = "nasbench_macro"

    @cached_property
    def candidates(self) -> tuple[tuple[MobileLayer, ...], ...]:
        """The three blocks of every layer."""
        alike = [MacroNetwork(str(block) * LAYERS).to_mobile().layers[1:-1] for block in range(len(BLOCKS))]
        return tuple(zip(*alike, strict=True))

    @cached_property
    def stem_width(self) -> int:
        """The number of channels that the first choice reads."""
        return MacroNetwork("0" * LAYERS).to_mobile().layers[0].width

    def decode(self, choices: Sequence[int]) -> Any:
        """The `MacroNetwork` with these blocks; raises `UserError` unless the choices are valid."""
        return MacroNetwork("".join(map(str, checked_choices(self, choices))))

    def encode(self, architecture: Any) -> Choices:
        """The blocks of a network, given as such or as its layers; raises `UserError` for one of another space."""
        network = macro_of(architecture)
        if network is None:
            raise UserError(f"{excerpt(architecture)} is no network of NAS-Bench-Macro; expected a MacroNetwork")
        return tuple(map(int, network.code))


nasbench_macro = NASBenchMacroSpace()
