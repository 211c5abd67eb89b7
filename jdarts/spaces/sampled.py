"""Spaces without a relaxation that have a search network: it takes one architecture at a time.

Only methods that sample architectures search them: `enas` and `random_search`.
"""

from abc import ABC, abstractmethod
from typing import Any, cast

import jax
import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.networks.image_sizes import check_halvings
from jdarts.networks.wiring import Edges, OpTable, OpWeights
from jdarts.spaces.decisions import DecisionSpace, uniform


class SampledSpace(ABC):
    """The part of the interface of a space for a search that is the same in all spaces without alphas.

    Subclasses are decision spaces (`jdarts.spaces.decisions.DecisionSpace`).
    """

    name: str

    @abstractmethod
    def one_hot(self, genotype: Any) -> OpWeights:
        """The genotype as the search network reads it."""

    @property
    def tables(self) -> dict[str, OpTable]:
        """Empty: there are no alphas."""
        return {}

    @property
    def alpha_shapes(self) -> dict[str, tuple[int, int]]:
        """Empty: there are no alphas."""
        return {}

    def init_alphas(self, key: jax.Array, scale: float = 1e-3) -> dict[str, jax.Array]:
        """Not alphas, but an architecture: it tells the shapes that the network takes."""
        del key, scale
        return dict(self.one_hot(self.random_genotype(0)))

    def derive(self, op_weights: OpWeights) -> Genotype:
        """Raises `UserError`: there is nothing to derive from."""
        raise UserError(f"space {self.name} has no alphas to derive from; search it with the method enas")

    def random_genotype(self, seed: int) -> Any:
        """A uniformly random genotype."""
        space = cast(DecisionSpace, self)
        return space.decode(uniform(space, np.random.default_rng(seed)))


class SampledImageSpace(SampledSpace):
    """A space of networks of images without alphas; these networks halve the image twice."""

    @property
    def edges(self) -> Edges:
        """Empty: there are no alphas."""
        return ()

    def check_image(self, height: int, width: int, cells: int, what: str = "space.cells") -> None:
        """Raise `UserError` unless the image can be halved twice."""
        del cells, what
        check_halvings(height, width, 2, f"cannot pass the 2 reductions of the network of space {self.name}")
