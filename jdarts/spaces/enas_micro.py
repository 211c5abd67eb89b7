"""The cells of ENAS micro (Pham et al. 2018, §2.4), with their search network.

The space has no relaxation: its network takes one architecture at a time, and only the method `enas` searches it.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.genotypes.blocks import Family
from jdarts.genotypes.enas import MICRO_OPS
from jdarts.networks.edges import PLAIN, EdgeSettings
from jdarts.networks.enas.search_micro import EnasMicroSupernet
from jdarts.networks.image_sizes import check_halvings
from jdarts.networks.wiring import Edges, OpTable, OpWeights
from jdarts.spaces.block_spaces import INPUTS, BlockSpace
from jdarts.spaces.decisions import uniform


@dataclass(frozen=True)
class EnasMicroSpace(BlockSpace):
    """Cells of blocks, their decisions, and the network with shared weights."""

    name: str = "enas_micro"
    ops: tuple[str, ...] = MICRO_OPS
    family: Family = "enas"

    @property
    def tables(self) -> dict[str, OpTable]:
        """Empty: there are no alphas."""
        return {}

    @property
    def edges(self) -> Edges:
        """Empty: there are no alphas."""
        return ()

    @property
    def alpha_shapes(self) -> dict[str, tuple[int, int]]:
        """Empty: there are no alphas."""
        return {}

    def init_alphas(self, key: jax.Array, scale: float = 1e-3) -> dict[str, jax.Array]:
        """Not alphas, but an architecture: it tells the shapes that the network takes."""
        del key, scale
        return dict(self.one_hot(self.random_genotype(0)))

    def supernet(
        self,
        *,
        channels: int,
        cells: int,
        classes: int,
        axis_name: str | None = None,
        edge: EdgeSettings = PLAIN,
        remat: bool = False,
    ) -> EnasMicroSupernet:
        """The network with `cells` normal cells; call it as `(one_hot, images, train)`.

        `edge` and `remat` have no effect.
        """
        del edge, remat
        return EnasMicroSupernet(channels, cells, classes, self.blocks, axis_name)

    def check_image(self, height: int, width: int, cells: int, what: str = "space.cells") -> None:
        """Raise `UserError` unless the image can be halved twice."""
        del cells, what
        check_halvings(height, width, 2, "cannot pass the 2 reductions of ENAS micro")

    def derive(self, op_weights: OpWeights) -> Genotype:
        """Raises `UserError`: there is nothing to derive from."""
        raise UserError(f"space {self.name} has no alphas to derive from; search it with the method enas")

    def one_hot(self, genotype: Any) -> OpWeights:
        """The genotype as the network reads it: `{"normal": [blocks, 2, sources, ops], "reduce": …}`."""
        found = {}
        for name in self.cell_types:
            chosen = np.zeros((self.blocks, 2, self.blocks + INPUTS - 1, len(self.ops)), np.float32)
            for block, edges in enumerate(genotype.cells[name].nodes):
                for side, (op, source) in enumerate(edges):
                    chosen[block, side, source, self.ops.index(op)] = 1
            found[name] = jnp.asarray(chosen)
        return found

    def random_genotype(self, seed: int) -> Genotype:
        """A uniformly random genotype."""
        return self.decode(uniform(self, np.random.default_rng(seed)))


enas_micro = EnasMicroSpace()
