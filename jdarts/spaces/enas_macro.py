"""The macro space of ENAS (Pham et al. 2018, §2.3): an op for each layer, and skips from earlier outputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import excerpt
from jdarts.genotypes.enas import MACRO_OPS, MacroArchitecture
from jdarts.networks.enas.search_macro import EnasMacroSupernet
from jdarts.networks.wiring import OpWeights
from jdarts.spaces.decisions import Choices, Decision, FreeChoices, checked_choices


@dataclass(frozen=True)
class EnasMacroSpace(FreeChoices):
    """The 6^L · 2^(L(L − 1)/2) networks of L = `layers` layers.

    The choices are the numbers of the release's arcs, in their order. Layer l has the decision `layer_{l}.op` and l
    decisions `layer_{l}.skip_{k}`, whose option 1 reads output k: that of the stem (k = 0) or of layer k − 1.
    """

    name: str = "enas_macro"
    layers: int = 12

    def make_decisions(self) -> tuple[Decision, ...]:
        """One op and the skips of every layer."""
        found = []
        for layer in range(self.layers):
            found.append(Decision(f"layer_{layer}.op", len(MACRO_OPS), "network/op"))
            found += [Decision(f"layer_{layer}.skip_{k}", 2, "network/skip") for k in range(layer)]
        return tuple(found)

    def decode(self, choices: Sequence[int]) -> MacroArchitecture:
        """The network; raises `UserError` unless the choices are valid."""
        return MacroArchitecture.read(" ".join(map(str, checked_choices(self, choices))))

    def encode(self, architecture: MacroArchitecture) -> Choices:
        """The choices of a network; raises `UserError` for one of another number of layers."""
        if not isinstance(architecture, MacroArchitecture) or len(architecture.ops) != self.layers:
            raise UserError(
                f"{excerpt(architecture)} does not belong to space {self.name}; expected a MacroArchitecture of "
                f"{self.layers} layers"
            )
        return tuple(int(number) for number in architecture.to_text().split())

    def one_hot(self, architecture: MacroArchitecture) -> OpWeights:
        """The network as the search network reads it: `{"ops": [layers, ops], "skips": [layers, layers]}`."""
        ops = [MACRO_OPS.index(op) for op in architecture.ops]
        skips = np.zeros((self.layers, self.layers), np.float32)
        for layer, read in enumerate(architecture.skips):
            skips[layer, list(read)] = 1
        return {"ops": jnp.asarray(np.eye(len(MACRO_OPS), dtype=np.float32)[ops]), "skips": jnp.asarray(skips)}

    def supernet(self, *, channels: int, classes: int, axis_name: str | None = None) -> EnasMacroSupernet:
        """The network with shared weights; call it as `(one_hot, images, train)`."""
        return EnasMacroSupernet(channels, self.layers, classes, axis_name)


enas_macro = EnasMacroSpace()
