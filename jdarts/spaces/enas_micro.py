"""The cells of ENAS micro (Pham et al. 2018, §2.4), with their search network.

The space has no relaxation: its network takes one architecture at a time, and only the method `enas` searches it.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jdarts.genotypes.blocks import Family
from jdarts.genotypes.enas import MICRO_OPS
from jdarts.networks.edges import PLAIN, EdgeSettings
from jdarts.networks.enas.search_micro import EnasMicroSupernet
from jdarts.networks.wiring import OpWeights
from jdarts.spaces.block_spaces import INPUTS, BlockSpace
from jdarts.spaces.sampled import SampledImageSpace


@dataclass(frozen=True)
class EnasMicroSpace(BlockSpace, SampledImageSpace):
    """Cells of blocks, their decisions, and the network with shared weights."""

    name: str = "enas_micro"
    ops: tuple[str, ...] = MICRO_OPS
    family: Family = "enas"

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


enas_micro = EnasMicroSpace()
