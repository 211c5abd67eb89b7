"""Spaces with a choice for each layer of a chain, and their one-shot supernet.

The alphas of a layer are one row. Rows of equal length form one matrix: `layers`, if all layers have equally many
candidates; otherwise `first` (the first layer of a width, where the identity is impossible) and `inner` (the others).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes.macro import mobile_of
from jdarts.genotypes.mobile import MobileArchitecture, MobileFamily, MobileLayer
from jdarts.networks.edges import PLAIN, EdgeSettings
from jdarts.networks.image_sizes import check_whole
from jdarts.networks.mobile.supernet import MobileSupernet
from jdarts.networks.wiring import Edges, OpTable, OpWeights
from jdarts.spaces.decisions import Decision, FreeChoices, labelled, uniform
from jdarts.spaces.space import normal_alphas
from jdarts.spaces.weight_checks import finite_weights


class LayerChoices(FreeChoices):
    """A space whose decisions are the layers of a chain, in order; option k of a decision is candidate k.

    A subclass has `name`, `candidates` and `stem_width`, and the methods `decode` and `encode`.
    """

    name: str
    candidates: Any
    """`tuple[tuple[MobileLayer, …], …]`: the candidates of every layer between stem and head."""
    stem_width: Any
    """The number of channels that the first choice reads."""

    def make_decisions(self) -> tuple[Decision, ...]:
        """One decision a layer, `layer_0` and so on."""
        names = [[self.op_name(i, k) for k in range(len(layers))] for i, layers in enumerate(self.candidates)]
        return tuple(labelled(f"layer_{i}", "network/block", options) for i, options in enumerate(names))

    def op_name(self, layer: int, option: int) -> str:
        """The name of a candidate (`MobileLayer.op_name`)."""
        inputs = self.candidates[layer - 1][0].width if layer else self.stem_width
        return self.candidates[layer][option].op_name(inputs)

    # the interface of a space with a relaxation

    @property
    def layers_of(self) -> dict[str, tuple[int, ...]]:
        """The layers of each matrix of op weights, in the order of its rows."""
        lengths = [len(layers) for layers in self.candidates]
        if len(set(lengths)) == 1:
            return {"layers": tuple(range(len(lengths)))}
        fewest = min(lengths)
        found = {
            "first": tuple(i for i, length in enumerate(lengths) if length == fewest),
            "inner": tuple(i for i, length in enumerate(lengths) if length != fewest),
        }
        return found

    @property
    def rows(self) -> tuple[tuple[str, int], ...]:
        """For every layer the name of its matrix and its row."""
        places = {layer: (name, row) for name, layers in self.layers_of.items() for row, layer in enumerate(layers)}
        return tuple(places[layer] for layer in range(len(self.candidates)))

    @property
    def tables(self) -> dict[str, OpTable]:
        """The names of the candidates of every row, by matrix."""
        return {
            name: tuple(tuple(self.op_name(i, k) for k in range(len(self.candidates[i]))) for i in layers)
            for name, layers in self.layers_of.items()
        }

    @property
    def edges(self) -> Edges:
        """`(i, i + 1)` for every layer i of the chain; `layers_of` assigns them to the rows of the alphas."""
        return tuple((i, i + 1) for i in range(len(self.candidates)))

    @property
    def alpha_shapes(self) -> dict[str, tuple[int, int]]:
        """`{matrix: (layers, candidates)}`."""
        return {name: (len(layers), len(self.candidates[layers[0]])) for name, layers in self.layers_of.items()}

    def init_alphas(self, key: jax.Array, scale: float = 1e-3) -> dict[str, jax.Array]:
        """Alphas drawn from N(0, scale²)."""
        return normal_alphas(self.alpha_shapes, key, scale)

    def supernet(
        self,
        *,
        channels: int,
        cells: int,
        classes: int,
        axis_name: str | None = None,
        edge: EdgeSettings = PLAIN,
        remat: bool = False,
    ) -> MobileSupernet:
        """The one-shot supernet, called as `(op_weights, images, train, edge_values)`; widths and layers are fixed.

        `channels` and `cells` have no effect. Raises `UserError` for partial channels.
        """
        del channels, cells
        if edge.partial_channels > 1:
            raise UserError(
                f"space {self.name} has one edge a layer, which partial channels (PC-DARTS) do not fit; use a method "
                "without them"
            )
        first, head = self.fixed_layers
        return MobileSupernet(
            first,
            self.candidates,
            self.rows,
            head,
            self.family_of_supernet,
            classes,
            self._skeleton.dropout,
            axis_name,
            edge,
            remat,
        )

    @property
    def fixed_layers(self) -> tuple[tuple[MobileLayer, ...], MobileLayer]:
        """The layers in front of the first choice, and the one behind the last."""
        layers = self._skeleton.layers
        return layers[: len(layers) - len(self.candidates) - 1], layers[-1]

    @property
    def family_of_supernet(self) -> MobileFamily:
        """The conventions of the supernet's layers: those of the networks of the space."""
        return self._skeleton.conventions

    def check_image(self, height: int, width: int, cells: int, what: str = "space.cells") -> None:
        """Raise `UserError` unless both sides are whole numbers of at least 1; the networks take images of any size."""
        del cells, what
        check_whole("image height", height)
        check_whole("image width", width)

    def derive(self, op_weights: OpWeights) -> Any:
        """The network with the largest op of every layer; ties go to the lower number. Raises `UserError`."""
        weights = finite_weights(self, op_weights)
        return self.decode([int(np.argmax(weights[name][row])) for name, row in self.rows])

    def one_hot(self, genotype: Any) -> OpWeights:
        """Op weights that switch on exactly the layers of a network of this space; raises `UserError`."""
        p = {name: np.zeros(shape, np.float32) for name, shape in self.alpha_shapes.items()}
        for (name, row), choice in zip(self.rows, self.encode(genotype), strict=True):
            p[name][row, choice] = 1
        return {name: jnp.asarray(matrix) for name, matrix in p.items()}

    def random_genotype(self, seed: int) -> Any:
        """A uniformly random network."""
        return self.decode(uniform(self, np.random.default_rng(seed)))

    def decode(self, choices: Sequence[int]) -> Any:
        """The network with these candidates; raises `UserError` unless the choices are valid."""
        raise NotImplementedError

    def encode(self, architecture: Any) -> tuple[int, ...]:
        """The candidates of a network; raises `UserError` for one of another space."""
        raise NotImplementedError

    @property
    def _skeleton(self) -> MobileArchitecture:
        """A network of the space."""
        found = mobile_of(self.decode((0,) * len(self.candidates)))
        assert found is not None
        return found
