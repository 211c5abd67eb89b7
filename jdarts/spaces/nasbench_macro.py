"""The space of NAS-Bench-Macro (Su et al. 2021, arXiv:2103.11922): eight layers, three blocks to choose from."""

from collections.abc import Sequence
from dataclasses import dataclass

from jdarts.errors import UserError
from jdarts.genotypes import excerpt
from jdarts.genotypes.macro import BLOCKS, LAYERS, MacroNetwork
from jdarts.spaces.decisions import Choices, Decision, FreeChoices, checked_choices


@dataclass(frozen=True)
class NASBenchMacroSpace(FreeChoices):
    """The 3⁸ = 6,561 networks of the benchmark."""

    name: str = "nasbench_macro"

    def make_decisions(self) -> tuple[Decision, ...]:
        """The block of every layer."""
        return tuple(Decision(f"layer_{layer}", len(BLOCKS), "network/block") for layer in range(LAYERS))

    def decode(self, choices: Sequence[int]) -> MacroNetwork:
        """The network with these blocks; raises `UserError` unless the choices are valid."""
        return MacroNetwork("".join(map(str, checked_choices(self, choices))))

    def encode(self, network: MacroNetwork) -> Choices:
        """The blocks of a network."""
        if not isinstance(network, MacroNetwork):
            raise UserError(f"{excerpt(network)} is no network of NAS-Bench-Macro; expected a MacroNetwork")
        return tuple(map(int, network.code))


nasbench_macro = NASBenchMacroSpace()
