"""The one-shot model (Bender et al. 2018, §3.1): every choice block has all its inputs and all its ops."""

import jax
from flax import linen as nn

from jdarts.genotypes.one_shot import CELL_INPUTS, CHOICE_OPS
from jdarts.networks.edges import EdgeValues
from jdarts.networks.one_shot.cell import Selected
from jdarts.networks.one_shot.network import CellStack
from jdarts.networks.wiring import OpWeights, WholeVariables

OPS = "ops"
"""The matrix of the factors of the ops, a row a choice block."""


def inputs_of(block: int) -> str:
    """The name of the matrix of one row that holds the factors of the inputs of a choice block."""
    return f"inputs_{block}"


class OneShotSupernet(WholeVariables, nn.Module):
    """The one-shot model: the network of the cell with all paths, each multiplied by its op weight.

    With op weights of 0 and 1 it equals the `OneShotNetwork` of the selected paths, with the same weights. Its batch
    norms have neither scale nor shift, as those of the other supernets.

    Attributes:
      blocks: choice blocks of a cell.
      channels, cells, classes, axis_name, remat: see `jdarts.networks.one_shot.network.CellStack`.
    """

    blocks: int
    channels: int
    cells: int
    classes: int
    axis_name: str | None = None
    remat: bool = False

    def choice_of(self, path: tuple[str, ...]) -> tuple[str, int, int] | None:
        """Matrix, row and column of the op weight that multiplies the path of a variable; None outside of paths."""
        if len(path) < 3 or not path[1].startswith("block_"):
            return None
        block = int(path[1].removeprefix("block_"))
        if path[2].startswith("input_"):
            return inputs_of(block), 0, int(path[2].removeprefix("input_"))
        return (OPS, block, CHOICE_OPS.index(path[2])) if path[2] in CHOICE_OPS else None

    @nn.compact
    def __call__(
        self, op_weights: OpWeights, images: jax.Array, train: bool, edge_values: EdgeValues | None = None
    ) -> jax.Array:
        """`images [N, H, W, ·]` → logits `[N, classes]`.

        `op_weights` are `{"ops": [blocks, ops], "inputs_0": [1, 2], "inputs_1": [1, 3], …}`; there are no edge values.
        """
        del edge_values
        selected: list[Selected] = []
        for b in range(self.blocks):
            inputs = [(i, op_weights[inputs_of(b)][0][i]) for i in range(CELL_INPUTS + b)]
            selected.append((inputs, [(op, op_weights[OPS][b][k]) for k, op in enumerate(CHOICE_OPS)]))
        remat = self.remat and not self.is_initializing()
        stack = CellStack(self.channels, self.cells, self.classes, False, self.axis_name, remat)
        return stack.run(images, selected, train)
