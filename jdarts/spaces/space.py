"""The interfaces of a space for a search: alphas and a derivation; for images, a supernet that takes op weights."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax

from jdarts.genotypes import Genotype
from jdarts.networks.edges import EdgeSettings
from jdarts.networks.wiring import OpTable, OpWeights
from jdarts.spaces.decisions import Choices, Decision


class Space(Protocol):
    """A search space with a relaxation: of cells, or of chains of layers (`jdarts.spaces.layer_choices`)."""

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    @property
    def tables(self) -> dict[str, OpTable]:
        """Candidate ops of every edge, by cell type, in the order of the alpha columns."""
        ...

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """`(source, target)` of every row of the alphas, the same for every cell type; of a chain, of every layer."""
        ...

    @property
    def alpha_shapes(self) -> dict[str, tuple[int, int]]:
        """`{cell type: (edges, ops)}`."""
        ...

    def init_alphas(self, key: jax.Array, scale: float = 1e-3) -> dict[str, jax.Array]:
        """Alphas drawn from N(0, scale²)."""
        ...

    def derive(self, op_weights: OpWeights) -> Genotype:
        """The genotype of relaxed op weights."""
        ...

    def one_hot(self, genotype: Genotype) -> OpWeights:
        """Op weights that switch on exactly the ops of `genotype`."""
        ...

    def random_genotype(self, seed: int) -> Genotype:
        """A uniformly random genotype."""
        ...

    # A space of decisions, too; `jdarts.spaces.decisions.DecisionSpace` describes these.

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions, in the order of the choices."""
        ...

    @property
    def size(self) -> int:
        """The number of different architectures."""
        ...

    def is_valid(self, choices: Sequence[int], /) -> bool:
        """True if the choices are in range and describe an architecture."""
        ...

    def decode(self, choices: Sequence[int], /) -> Genotype:
        """The genotype of the choices."""
        ...

    def encode(self, genotype: Genotype, /) -> Choices:
        """The canonical choices of a genotype."""
        ...


class ImageSpace(Space, Protocol):
    """A space of networks that classify images."""

    def supernet(
        self,
        *,
        channels: int,
        cells: int,
        classes: int,
        axis_name: str | None = None,
        edge: EdgeSettings = ...,
        remat: bool = False,
    ) -> Any:
        """A Flax module, called as `(op_weights, images, train, edge_values)`.

        With `axis_name`, batch norm and noise are those of the global batch (`jdarts.devices.replicas`). With `remat`,
        cells recompute their activations in the backward pass.
        """
        ...

    def check_image(self, height: int, width: int, cells: int, what: str = "space.cells") -> None:
        """Raise `UserError` unless the network accepts such images."""
        ...


def normal_alphas(shapes: Mapping[str, tuple[int, int]], key: jax.Array, scale: float) -> dict[str, jax.Array]:
    """Alphas drawn from N(0, scale²), float32 (under `jax_enable_x64` float64), with a key for each matrix."""
    keys = jax.random.split(key, len(shapes))
    return {name: scale * jax.random.normal(k, shapes[name]) for name, k in zip(shapes, keys, strict=True)}
