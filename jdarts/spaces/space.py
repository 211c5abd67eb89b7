"""The interface of a space for a search: alphas, a supernet that takes op weights, a derivation."""

from typing import Any, Protocol

import jax

from jdarts.genotypes import Genotype
from jdarts.networks.edges import EdgeSettings
from jdarts.networks.wiring import OpTable, OpWeights


class Space(Protocol):
    """A cell-based search space."""

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
        """`(source, target)` of every row of the alphas, the same for every cell type."""
        ...

    @property
    def alpha_shapes(self) -> dict[str, tuple[int, int]]:
        """`{cell type: (edges, ops)}`."""
        ...

    def init_alphas(self, key: jax.Array, scale: float = 1e-3) -> dict[str, jax.Array]:
        """Alphas drawn from N(0, scale²)."""
        ...

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

    def derive(self, op_weights: OpWeights) -> Genotype:
        """The genotype of relaxed op weights."""
        ...

    def one_hot(self, genotype: Genotype) -> OpWeights:
        """Op weights that switch on exactly the ops of `genotype`."""
        ...

    def random_genotype(self, seed: int) -> Genotype:
        """A uniformly random genotype."""
        ...
