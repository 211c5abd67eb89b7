"""The macro space of ENAS (Pham et al. 2018, §2.3): an op for each layer, and skips from earlier outputs.

The space has no relaxation: its network takes one architecture at a time, and only the method `enas` searches it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import Genotype, excerpt
from jdarts.genotypes.enas import MACRO_OPS, MOST_LAYERS, MacroArchitecture
from jdarts.networks.edges import PLAIN, EdgeSettings
from jdarts.networks.enas.search_macro import EnasMacroSupernet
from jdarts.networks.wiring import OpWeights
from jdarts.spaces.decisions import NO_YES, Choices, Decision, FreeChoices, checked_choices
from jdarts.spaces.sampled import SampledImageSpace


@dataclass(frozen=True)
class EnasMacroSpace(FreeChoices, SampledImageSpace):
    """The 6^L · 2^(L(L − 1)/2) networks of L = `layers` layers.

    The choices are the numbers of the release's arcs, in their order. Layer l has the decision `layer_{l}.op` and l
    decisions `layer_{l}.skip_{k}`, whose option 1 reads output k: that of the stem (k = 0) or of layer k − 1.
    """

    name: str = "enas_macro"
    layers: int = 12

    def __post_init__(self):
        if isinstance(self.layers, bool) or not isinstance(self.layers, int) or not 1 <= self.layers <= MOST_LAYERS:
            raise UserError(
                f"layers of space {self.name} is {excerpt(self.layers)}; use a whole number of 1 to {MOST_LAYERS}"
            )

    def make_decisions(self) -> tuple[Decision, ...]:
        """One op and the skips of every layer."""
        found = []
        for layer in range(self.layers):
            found.append(Decision(f"layer_{layer}.op", len(MACRO_OPS), "network/op", MACRO_OPS))
            found += [Decision(f"layer_{layer}.skip_{k}", 2, "network/skip", NO_YES) for k in range(layer)]
        return tuple(found)

    def decode(self, choices: Sequence[int]) -> MacroArchitecture:
        """The network; raises `UserError` unless the choices are valid."""
        return MacroArchitecture.read(" ".join(map(str, checked_choices(self, choices))))

    def encode(self, genotype: Genotype) -> Choices:
        """The choices of a network; raises `UserError` for one of another number of layers."""
        if not isinstance(genotype, MacroArchitecture) or len(genotype.ops) != self.layers:
            raise UserError(
                f"{excerpt(genotype)} does not belong to space {self.name}; expected a MacroArchitecture of "
                f"{self.layers} layers"
            )
        return genotype.tokens

    def one_hot(self, genotype: Any) -> OpWeights:
        """The network as the search network reads it: `{"ops": [layers, ops], "skips": [layers, layers]}`."""
        ops = [MACRO_OPS.index(op) for op in genotype.ops]
        skips = np.zeros((self.layers, self.layers), np.float32)
        for layer, read in enumerate(genotype.skips):
            skips[layer, list(read)] = 1
        return {"ops": jnp.asarray(np.eye(len(MACRO_OPS), dtype=np.float32)[ops]), "skips": jnp.asarray(skips)}

    def supernet(
        self,
        *,
        channels: int,
        classes: int,
        cells: int = 0,
        axis_name: str | None = None,
        edge: EdgeSettings = PLAIN,
        remat: bool = False,
    ) -> EnasMacroSupernet:
        """The network with shared weights, of `layers` layers; call it as `(one_hot, images, train)`.

        `cells`, `edge` and `remat` have no effect.
        """
        del cells, edge, remat
        return EnasMacroSupernet(channels, self.layers, classes, axis_name)


enas_macro = EnasMacroSpace()
