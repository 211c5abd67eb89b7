"""The network of a One-Shot cell: stem, equal cells with reductions in between, classifier (Bender et al. 2018, §3)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
from flax import linen as nn

from jdarts.errors import UserError
from jdarts.genotypes.one_shot import CELL_INPUTS, OneShotGenotype
from jdarts.networks.counting import Count, ModuleCount, count_op
from jdarts.networks.fast.layers import Stem
from jdarts.networks.image_sizes import check_whole, image_sides, sides_of
from jdarts.networks.one_shot.cell import ChoiceCellModule, Selected
from jdarts.networks.plain import Classifier
from jdarts.networks.recomputing import recomputed
from jdarts.networks.reductions import check_reductions, reduction_cells


@dataclass(frozen=True)
class CellStack:
    """The stem, cells and classifier that a network and a supernet of equal cells share.

    The inputs of the cells at ⌊cells/3⌋ and ⌊2·cells/3⌋ are halved by average pooling, and the width doubles there.
    The paper does not say how it reduces; these are jdarts' choices.

    Attributes:
      channels: of the first cell's choice blocks, F in the paper.
      cells: their number.
      classes: outputs of the classifier.
      affine: with scale and shift in the batch norms of the cells.
      axis_name: mesh axis over which the batch is split.
      remat: compute a cell's activations again when its gradient is, instead of keeping them.
    """

    channels: int
    cells: int
    classes: int
    affine: bool
    axis_name: str | None
    remat: bool

    def run(
        self,
        images: jax.Array,
        selected: Sequence[Selected],
        train: bool,
        drop_path: jax.Array | float | None = None,
    ) -> jax.Array:
        """`images [N, H, W, ·]` → logits `[N, classes]`; call it in the compact method of the module that it fills."""
        check_reductions(*image_sides(images), self.cells)
        s0 = s1 = Stem(self.channels, self.axis_name, name="stem")(images, train)
        channels, reduced = self.channels, False
        make_cell = recomputed(ChoiceCellModule, self, train_argument=3)
        for i in range(self.cells):
            reduction = i in reduction_cells(self.cells)
            channels *= 2 if reduction else 1
            cell = make_cell(channels, reduction, reduced, self.affine, self.axis_name, name=f"cell_{i}")
            s0, s1 = s1, cell((s0, s1), selected, train, drop_path)
            reduced = reduction
        return Classifier(self.classes, name="classifier")(s1)


class OneShotNetwork(nn.Module):
    """The network that trains a cell from scratch, with scale and shift in its batch norms.

    Attributes:
      genotype: the cell.
      channels, cells, classes, axis_name, remat: see `CellStack`.
    """

    genotype: OneShotGenotype
    channels: int
    cells: int
    classes: int
    axis_name: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool, drop_path: jax.Array | float = 0.0
    ) -> tuple[jax.Array, jax.Array | None]:
        """`images [N, H, W, ·]` → logits `[N, classes]`, and None. A `drop_path` above 0 needs the rng of that name."""
        never = not train or self.is_initializing() or (isinstance(drop_path, int | float) and drop_path == 0)
        selected = [([(i, None) for i in b.inputs], [(op, None) for op in b.ops]) for b in self.genotype.blocks]
        remat = self.remat and not self.is_initializing()
        stack = CellStack(self.channels, self.cells, self.classes, True, self.axis_name, remat)
        return stack.run(images, selected, train, None if never else drop_path), None


def check_one_shot(*, channels: int, cells: int, image_size: int | tuple[int, int], auxiliary: bool = False) -> None:
    """Raise `UserError` if a `OneShotNetwork` of this size cannot be built."""
    for name, value in (("channels", channels), ("cells", cells)):
        check_whole(name, value)
    if auxiliary:
        raise UserError("networks of One-Shot cells have no auxiliary head; set train.auxiliary_weight to 0")
    check_reductions(*sides_of(image_size), cells)


def count_one_shot(
    genotype: OneShotGenotype, *, channels: int, cells: int, classes: int, image_size: int | tuple[int, int]
) -> Count:
    """Size of a `OneShotNetwork`, by the rules of `jdarts.networks.counting`. Raises `UserError`."""
    check_one_shot(channels=channels, cells=cells, image_size=image_size)
    height, width = sides_of(image_size)
    blocks, stem = len(genotype.blocks), 27 * channels
    found = [ModuleCount("stem", stem + 2 * channels, stem * height * width)]
    for i, place in enumerate(cell_places(blocks, channels, cells, (height, width))):
        found.append(ModuleCount(f"cell_{i}", *_cell_size(genotype, place)))
        channels = place.channels
    features = blocks * channels
    found.append(ModuleCount("classifier", features * classes + classes, features * classes))
    return Count(tuple(found))


@dataclass(frozen=True)
class CellPlace:
    """The place of a cell in a network.

    Attributes:
      channels: of each choice block.
      inputs: channels of the outputs of the two cells before it.
      size: height and width of its output in pixels.
    """

    channels: int
    inputs: tuple[int, int]
    size: tuple[int, int]

    def projection(self, source: int) -> int:
        """The weights of the 1 × 1 convolution of an input of a choice block."""
        return (self.inputs[source] if source < CELL_INPUTS else self.channels) * self.channels

    def op(self, op: str) -> tuple[int, int]:
        """Parameters and multiply–accumulates of an op of a choice block, without its last batch norm."""
        parameters, macs = count_op(op, self.channels, self.size, 1)
        return parameters - 2 * self.channels * (parameters > 0), macs


def cell_places(blocks: int, channels: int, cells: int, size: tuple[int, int]) -> Iterator[CellPlace]:
    """The places of all cells; `channels` are those of the first, `size` that of the image."""
    s0 = s1 = channels
    for i in range(cells):
        if i in reduction_cells(cells):
            channels, size = 2 * channels, (size[0] // 2, size[1] // 2)
        yield CellPlace(channels, (s0, s1), size)
        s0, s1 = s1, channels * blocks


def _cell_size(genotype: OneShotGenotype, place: CellPlace) -> tuple[int, int]:
    """Parameters and multiply–accumulates of a cell; a batch norm follows each sum."""
    parameters = macs = 0
    for block in genotype.blocks:
        projections = sum(place.projection(source) for source in block.inputs)
        ops = [place.op(op) for op in block.ops]
        parameters += projections + 4 * place.channels + sum(own for own, _ in ops)
        macs += projections * place.size[0] * place.size[1] + sum(own for _, own in ops)
    return parameters, macs
