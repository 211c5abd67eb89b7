"""The order and wiring of the cells of a NASNet-type network, by arithmetic alone.

Outputs are numbered: 0 is the stem's convolution, k the k-th cell of the layout. The parameter count of a network does
not depend on most of this wiring.
"""

from dataclasses import dataclass
from typing import Literal

from jdarts.genotypes.blocks import BlockCell, BlockGenotype
from jdarts.networks.reductions import reduction_cells

STEM_CELLS = 2


@dataclass(frozen=True)
class PlacedCell:
    """A cell in its place.

    Attributes:
      name: of its parameters, as in `cell_3`, `reduction_0` or `stem_cell_1`.
      cell: its blocks.
      channels: of each block.
      stride: 2 if its ops halve what they read from the cell's inputs.
      current, previous: the outputs that are its nodes 1 and 0. `previous` is None in the first cell of a network: its
        node 0 is the unchanged input.
    """

    name: str
    cell: BlockCell
    channels: int
    stride: int
    current: int
    previous: int | None


def layout(
    genotype: BlockGenotype, *, channels: int, cells: int, stem: Literal["cifar", "imagenet"]
) -> tuple[PlacedCell, ...]:
    """All cells in the order of the forward pass.

    Args:
      genotype: of the family nasnet, amoebanet or pnasnet.
      channels: of a block in front of the first reduction; each reduction doubles them.
      cells: normal cells. The reductions are at ⌊cells/3⌋ and ⌊2·cells/3⌋: an inserted reduction cell in front of that
        cell, or (pnasnet) that cell with stride 2.
      stem: "imagenet" starts with two reduction cells of a quarter and half of the channels, rounded down.

    A normal cell behind an inserted reduction R reads R and the input of R; with `skip_reduction_layer_input` it reads
    R and the cell before the input of R. A pnasnet cell of stride 2 reads the two cells before it, but without
    `skip_reduction_layer_input` its node 0 is that of the cell before it.
    """
    placed: list[PlacedCell] = []
    normal, reduce = genotype.normal, genotype.reduce
    assert isinstance(normal, BlockCell) and isinstance(reduce, BlockCell)
    inserts, skips = genotype.family != "pnasnet", genotype.skip_reduction_layer_input

    def before() -> int | None:
        return len(placed) - 1 if placed else None

    def place(name: str, cell: BlockCell, width: int, stride: int, previous: int | None) -> None:
        placed.append(PlacedCell(name, cell, width, stride, len(placed), previous))

    for i in range(STEM_CELLS if stem == "imagenet" else 0):
        place(f"stem_cell_{i}", reduce, channels // 2 ** (STEM_CELLS - i), 2, before())
    width, reductions = channels, reduction_cells(cells)
    for i in range(cells):
        reduction, previous = i in reductions, before()
        width *= 2 if reduction else 1
        if reduction and inserts:
            place(f"reduction_{reductions.index(i)}", reduce, width, 2, previous)
            previous = previous if skips else before()
        elif reduction and not skips and placed:
            previous = placed[-1].previous
        place(f"cell_{i}", normal, width, 2 if reduction and not inserts else 1, previous)
    return tuple(placed)
