"""Derived networks: a genotype's cells stacked and trained from scratch (Liu et al. 2019, §3.2 and code).

The skeleton is the supernet's, with one op an edge, affine batch norms and no batch norm behind pools. Cells
of the NASNet, AmoebaNet and FairDARTS families work too: any number of edges into a node, any nodes in the
output, absent nodes, and outputs of different width in normal and reduction cells.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts import kernels
from jdarts.devices.replicas import Share
from jdarts.errors import UserError, unknown
from jdarts.genotypes import BlockGenotype, Cell, Genotype
from jdarts.genotypes.kinds import require_cells
from jdarts.genotypes.stacked import cells_in_order
from jdarts.networks.edges import drop_path as drop_samples
from jdarts.networks.fast.layers import FactorizedReduce, ImageNetStem, ReLUConvBN, Stem
from jdarts.networks.fast.ops import candidate
from jdarts.networks.image_sizes import check_whole, image_sides, sides_of
from jdarts.networks.plain import STEM_MULTIPLIER, Classifier
from jdarts.networks.recomputing import recomputed
from jdarts.networks.reductions import STEM_REDUCTION, StemName, reduction_cells
from jdarts.ops import user_ops
from jdarts.ops.batch_norm import BatchNorm
from jdarts.ops.candidates import CANDIDATES, SKIPS
from jdarts.ops.initializers import uniform_fan_in

_AUXILIARY_STRIDE = {"cifar": 3, "imagenet": 2}
_AUXILIARY_SIZES = {"cifar": (8, 10), "imagenet": (7, 8)}  # pixels that its two windows turn into 2 × 2


def check_derived(
    genotype: Genotype,
    *,
    channels: int,
    cells: int,
    image_size: int | tuple[int, int],
    auxiliary: bool = False,
    stem: StemName = "cifar",
) -> None:
    """Raise `UserError` if a `DerivedNetwork` with these settings cannot be built.

    Args:
      genotype: with a normal and a reduction cell or a cell for every position, of ops that
        `jdarts.networks.fast.ops.candidate` knows.
      channels: of the first cell; even, since a reduction halves them between two convolutions.
      cells: their number, at least 1.
      image_size: (height, width) in pixels, or the side of square images. Every reduction cell must halve an
        even size; the auxiliary head must see 8 to 10 pixels (stem "cifar") or 7 to 8 (stem "imagenet").
      auxiliary: whether the network has the auxiliary head.
      stem: "cifar" keeps the image size, "imagenet" divides it by 8.
    """
    if stem not in STEM_REDUCTION:
        raise unknown("stem", str(stem), STEM_REDUCTION)
    require_cells(genotype)
    if genotype.reduce is None:
        raise UserError(
            "the genotype has no reduction cell (NAS-Bench-201); a derived network needs a normal and a reduction cell"
        )
    if isinstance(genotype, BlockGenotype):
        raise UserError(f"a {genotype.family} genotype has a network of its own (jdarts.networks.of_genotype)")
    for cell in genotype.cells.values():
        for op in (op for edges in cell.live_nodes for op, _ in edges):
            if user_ops.is_own(op):
                user_ops.get(op)
            elif op not in CANDIDATES:
                raise unknown("op of a derived network", op, CANDIDATES)
    height, width = sides_of(image_size)
    for name, value in (("channels", channels), ("cells", cells), ("image height", height), ("image width", width)):
        check_whole(name, value)
    if channels % 2:
        raise UserError(f"channels is {channels}; it must be even: a reduction halves them between two convolutions")
    cells_in_order(genotype, cells)
    _check_image(height, width, cells, auxiliary, stem)


def _check_image(height: int, width: int, cells: int, auxiliary: bool, stem: StemName) -> None:
    count = len(reduction_cells(cells))
    multiple = STEM_REDUCTION[stem] * 2**count
    low, high = _AUXILIARY_SIZES[stem]
    for side in (height, width):
        size = -(-side // STEM_REDUCTION[stem])
        # Cell 0 behind the ImageNet stem halves the output of the stem's first part too.
        odd_stem = stem == "imagenet" and -(-side // 4) % 2
        if odd_stem or size % 2**count:
            raise UserError(
                f"images of {height}x{width} cannot pass the {stem} stem and {count} reduction cells of a "
                f"network with {cells} cells; use height and width divisible by {multiple}"
            )
        last = size // 2**count
        if auxiliary and not low <= last <= high:
            raise UserError(
                f"images of {height}x{width} reach the auxiliary head of a network with {cells} cells as "
                f"{last} pixels and it needs {low} to {high}; use {low * multiple}x{low * multiple}, or "
                "auxiliary = False"
            )


class DerivedNetwork(nn.Module):
    """The network of a genotype: stem, cells, global average pooling, linear classifier, auxiliary head.

    Attributes:
      genotype: its cells.
      channels: of the first cell; doubled at each of the two reductions.
      cells: their number; those at ⌊cells/3⌋ and ⌊2·cells/3⌋ are reduction cells.
      classes: outputs of the classifier.
      auxiliary: add the auxiliary head behind the second reduction cell. Its weights always exist then, its
        logits only in training.
      auxiliary_second_norm: with a batch norm behind the head's second convolution. False is for ImageNet weights of
        the DARTS authors, whose code leaves it out; their CIFAR head and those of P-DARTS, PC-DARTS and DARTS- have it.
      stem: "cifar" (one convolution to 3·channels) or "imagenet" (three convolutions of stride 2).
      axis_name: mesh axis over which the batch is split.
      remat: compute a cell's activations again when its gradient is, instead of keeping them.
      pyramid: end in features instead of logits (`jdarts.networks.backbones`); there is no classifier then.

    Example::

        network = DerivedNetwork(parse("DARTS_V2"), channels=36, cells=20, classes=10, auxiliary=True)
        variables = network.init(key, images, train=False)
        logits, _ = network.apply(variables, images, train=False)
    """

    genotype: Genotype
    channels: int
    cells: int
    classes: int
    auxiliary: bool = False
    stem: StemName = "cifar"
    axis_name: str | None = None
    auxiliary_second_norm: bool = True
    remat: bool = False
    pyramid: bool = False

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool, drop_path: jax.Array | float = 0.0
    ) -> tuple[jax.Array | list[jax.Array], jax.Array | None]:
        """`images [N, H, W, C]` → logits `[N, classes]` and auxiliary logits `[N, classes]` or None.

        Args:
          images: normalised.
          train: batch statistics, drop-path and the auxiliary head.
          drop_path: probability in [0, 1) of dropping an op's output for one sample. A traced scalar
            changes without another compilation and needs the rng `drop_path`; the number 0.0 does not.

        Genotypes with the op `noise` need the rng `noise`.

        Raises `UserError` for settings that `check_derived` refuses.
        """
        height, width = image_sides(images)
        check_derived(
            self.genotype,
            channels=self.channels,
            cells=self.cells,
            image_size=(height, width),
            auxiliary=self.auxiliary,
            stem=self.stem,
        )
        if isinstance(drop_path, int | float) and not 0 <= drop_path < 1:
            raise UserError(f"drop_path is {drop_path}; it is a probability of at least 0 and below 1")
        never = not train or self.is_initializing() or (isinstance(drop_path, int | float) and drop_path == 0)
        rate = None if never else drop_path
        if self.stem == "cifar":
            s0 = s1 = Stem(STEM_MULTIPLIER * self.channels, self.axis_name, name="stem_0")(images, train)
        else:
            s0, s1 = ImageNetStem(self.channels, self.axis_name, name="stem_0")(images, train)
        channels, reduction_before, auxiliary_logits = self.channels, self.stem == "imagenet", None
        features = []
        make_cell = recomputed(DerivedCell, self, train_argument=3)
        for i, own in enumerate(cells_in_order(self.genotype, self.cells)):
            reduction = i in reduction_cells(self.cells)
            channels *= 2 if reduction else 1
            features += [s1] if reduction else []
            cell = make_cell(
                cell=own,
                channels=channels,
                reduction=reduction,
                reduction_before=reduction_before,
                axis_name=self.axis_name,
                name=f"cell_{i}",
            )
            s0, s1 = s1, cell(s0, s1, train, rate)
            reduction_before = reduction
            if self.auxiliary and i == 2 * self.cells // 3 and (train or self.is_initializing()):
                stride = _AUXILIARY_STRIDE[self.stem]
                norms = (True, self.auxiliary_second_norm)
                head = AuxiliaryHead(self.classes, stride, norms, self.axis_name, name="auxiliary_head")
                auxiliary_logits = head(s1, train)
        if self.pyramid:
            return [*features, s1], auxiliary_logits
        return Classifier(self.classes, name="classifier")(s1), auxiliary_logits


class DerivedCell(nn.Module):
    """A cell with one op an edge; `node_{target}_edge_{k}_{op}` is the k-th edge into a node."""

    cell: Cell
    channels: int
    reduction: bool
    reduction_before: bool
    axis_name: str | None = None

    @nn.compact
    def __call__(self, s0, s1, train: bool, drop_path: jax.Array | float | None = None):
        """`s0, s1 [N, H, W, ·]` → `[N, H', W', len(concat)·channels]`; with `drop_path` None no drop."""
        if self.reduction_before:
            fields = s0.shape[-1], self.channels
            reduce = FactorizedReduce(*fields, axis_name=self.axis_name, name="preprocess_0")
            s0 = reduce(s0, train)
        else:
            s0 = ReLUConvBN(self.channels, axis_name=self.axis_name, name="preprocess_0")(s0, train)
        s1 = ReLUConvBN(self.channels, axis_name=self.axis_name, name="preprocess_1")(s1, train)
        nodes = {0: kernels.cut(s0), 1: kernels.cut(s1)}
        for target, edges in enumerate(self.cell.live_nodes, start=self.cell.inputs):
            outputs = [
                self._edge(f"node_{target}_edge_{k}_{op}", op, source, nodes[source], train, drop_path)
                for k, (op, source) in enumerate(edges)
            ]
            if outputs:
                nodes[target] = kernels.cut(sum(outputs[1:], outputs[0]))
        return kernels.cut(jnp.concatenate([nodes[i] for i in self.cell.concat], axis=-1))

    def _edge(self, name: str, op: str, source: int, x, train: bool, drop_path: jax.Array | float | None):
        stride = 2 if self.reduction and source < self.cell.inputs else 1
        module = candidate(
            op,
            search=False,
            channels=self.channels,
            stride=stride,
            axis_name=self.axis_name,
            name=name,
        )
        y = module(x, train)
        if op in SKIPS and stride == 1:
            return y
        y = kernels.cut(y)
        return y if drop_path is None else drop_samples(self.make_rng("drop_path"), y, drop_path, Share(self.axis_name))


class AuxiliaryHead(nn.Module):
    """A second classifier in mid-network, for training only.

    ReLU, 5 × 5 average pooling to 2 × 2, 1 × 1 convolution to 128, 2 × 2 convolution to 768, each convolution
    with batch norm and ReLU, linear. The stride of the pooling is 3 for CIFAR and 2 for ImageNet. `norms` tells which
    of the two convolutions have a batch norm.
    """

    classes: int
    stride: int
    norms: tuple[bool, bool] = (True, True)
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, C]` with room for two pooling windows each way → `[N, classes]`."""
        x = nn.relu(x)
        starts = (0, self.stride)
        rows = [jnp.stack([x[:, i : i + 5, j : j + 5].mean((1, 2)) for j in starts], axis=1) for i in starts]
        x = jnp.stack(rows, axis=1)
        for stage, (size, channels) in enumerate(((1, 128), (2, 768)), start=1):
            c_in = x.shape[-1]
            kernel = self.param(f"conv_{stage}", uniform_fan_in(size * size * c_in), (size, size, c_in, channels))
            y = kernels.convolution(x, kernel)
            if self.norms[stage - 1]:
                y = BatchNorm(channels, axis_name=self.axis_name, name=f"norm_{stage}")(y, train)
            x = nn.relu(y)
        return Classifier(self.classes, name="classifier")(x)
