"""The space of random wiring (Xie et al. 2019, arXiv:1904.01569): a generator with its parameters, and a seed."""

from collections.abc import Sequence
from dataclasses import dataclass

from jdarts.errors import UserError
from jdarts.genotypes import excerpt
from jdarts.genotypes.random_graphs import SETTINGS
from jdarts.genotypes.random_wiring import RandomlyWired
from jdarts.spaces.decisions import Choices, Decision, FreeChoices, checked_choices


@dataclass(frozen=True)
class RandomWiringSpace(FreeChoices):
    """Networks of the 29 settings of the paper's figure 3, with `seeds` seeds each.

    Attributes:
      name: of the space.
      seeds: the number of seeds. nodes, operation, regime: of `RandomlyWired`.
    """

    name: str = "random_wiring"
    seeds: int = 1_000
    nodes: int = 32
    operation: str = "separable"
    regime: str = "small"

    def make_decisions(self) -> tuple[Decision, ...]:
        """The setting of the generator, and the seed."""
        return (
            Decision("generator", len(SETTINGS), "network/generator"),
            Decision("seed", self.seeds, "network/seed"),
        )

    def decode(self, choices: Sequence[int]) -> RandomlyWired:
        """The network; raises `UserError` unless the choices are valid."""
        setting, seed = checked_choices(self, choices)
        generator, parameters = SETTINGS[setting]
        return RandomlyWired(generator, parameters, self.nodes, seed, self.operation, self.regime)

    def encode(self, architecture: RandomlyWired) -> Choices:
        """The choices of a network; raises `UserError` for one of another space."""
        try:
            found = SETTINGS.index((architecture.generator, architecture.parameters)), architecture.seed
            if self.decode(found) != architecture:
                raise ValueError
        except (AttributeError, ValueError):
            raise UserError(f"{excerpt(architecture)} does not belong to space {self.name}") from None
        return found


random_wiring = RandomWiringSpace()
