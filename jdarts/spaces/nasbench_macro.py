"""The space of NAS-Bench-Macro (Su et al. 2021, arXiv:2103.11922): eight layers, three blocks to choose from.

Block 0 is the identity (a strided 1×1 convolution where the width changes), 1 an inverted bottleneck with kernel 3 and
expansion 3, 2 one with kernel 5 and expansion 6. The space has decisions only; jdarts builds no network for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jdarts.errors import UserError
from jdarts.genotypes import excerpt
from jdarts.spaces.decisions import Choices, Decision, FreeChoices, checked_choices

BLOCKS = ("identity", "mb3_k3", "mb6_k5")
LAYERS = 8


@dataclass(frozen=True)
class MacroNetwork:
    """A network of the benchmark.

    Attributes:
      code: one digit for each layer, the index of its block in `BLOCKS`.

    Raises `UserError` for another text.
    """

    code: str

    def __post_init__(self):
        digits = {str(block) for block in range(len(BLOCKS))}
        if not isinstance(self.code, str) or len(self.code) != LAYERS or not set(self.code) <= digits:
            raise UserError(
                f"{excerpt(self.code)} is no network of NAS-Bench-Macro; expected {LAYERS} digits, each 0, 1 or 2"
            )

    def to_text(self) -> str:
        """The code, as in `22212220`."""
        return self.code


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
