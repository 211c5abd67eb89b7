"""The network of an ENAS micro cell, trained from scratch (Pham et al. 2018; micro_child.py of the release)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts.devices.replicas import Share
from jdarts.errors import UserError, unknown
from jdarts.genotypes.blocks import BlockCell, BlockGenotype
from jdarts.genotypes.enas import MICRO_OPS
from jdarts.kernels.reference import relu
from jdarts.networks.edges import drop_path as drop_samples
from jdarts.networks.enas.classifier import LinearClassifier
from jdarts.networks.image_sizes import check_halvings, check_whole, image_sides, sides_of
from jdarts.networks.nasnet.layers import ConvNorm, FactorizedReduction, NormSettings
from jdarts.networks.nasnet.network import NasnetAuxiliaryHead
from jdarts.networks.nasnet.ops import BlockOp
from jdarts.networks.recomputing import recomputed

_EPS, _MOMENTUM = 1e-3, 0.1
_STEM_MULTIPLIER = 3


def micro_reductions(layers: int) -> tuple[int, int]:
    """The places of the two reduction cells among the `layers + 2` cells."""
    return layers // 3, 2 * (layers // 3) + 1


def check_enas_micro(
    genotype: BlockGenotype, *, channels: int, cells: int, image_size: int | tuple[int, int], auxiliary: bool = False
) -> None:
    """Raise `UserError` if an `EnasMicroNetwork` with these settings cannot be built.

    Args:
      genotype: of the family enas, with ops of `MICRO_OPS`.
      channels: F; even, since a reduction splits them between two convolutions.
      cells: normal cells, at least 1; at least 3 with the auxiliary head.
      image_size: (height, width) in pixels or the side of square images; a multiple of 4.
      auxiliary: whether the network has the auxiliary head, which must see at least 5 pixels.
    """
    if genotype.family != "enas":
        raise UserError(f"the genotype is of the family {genotype.family}; the network of ENAS micro needs enas")
    for cell in genotype.cells.values():
        for op in (op for edges in cell.nodes for op, _ in edges):
            if op not in MICRO_OPS:
                raise unknown("op of ENAS micro", op, MICRO_OPS)
    for name, value, least in (("channels", channels, 2), ("cells", cells, 3 if auxiliary else 1)):
        check_whole(name, value, least)
    if channels % 2:
        raise UserError(f"channels is {channels}; it must be even: a reduction halves them between two convolutions")
    height, width = sides_of(image_size)
    check_halvings(height, width, 2, "cannot pass the 2 reduction cells of ENAS micro")
    if auxiliary and min(height, width) < 20:
        raise UserError(
            f"images of {height}x{width} reach the auxiliary head with fewer than 5 pixels a side; use at least 20x20, "
            "or no auxiliary head"
        )


class EnasMicroNetwork(nn.Module):
    """Stem, `cells` normal and two reduction cells, global average pooling, a linear layer without bias.

    Attributes:
      genotype: of the family enas.
      channels: F, of the first cells; each reduction doubles them.
      cells: normal cells; the reduction cells stand at `micro_reductions(cells)`.
      classes: outputs of the classifier.
      auxiliary: add the auxiliary head behind the cell after the second reduction. Its weights always exist then, its
        logits only in training. DIFF: it is that of NASNet; the release pads its last convolution and averages.
      axis_name: mesh axis over which the batch is split.
      remat: compute a cell's activations again when its gradient is, instead of keeping them.
    """

    genotype: BlockGenotype
    channels: int
    cells: int
    classes: int
    auxiliary: bool = False
    axis_name: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool, drop_path: jax.Array | float = 0.0
    ) -> tuple[jax.Array, jax.Array | None]:
        """`images [N, H, W, C]` → logits `[N, classes]` and auxiliary logits `[N, classes]` or None.

        `drop_path` is the probability in [0, 1) that the last cell drops an op's output for one sample; in cell k of n
        it is k/n of that. A traced scalar needs the rng `drop_path`; the number 0.0 does not. Raises `UserError` for
        settings that `check_enas_micro` refuses.
        """
        check_enas_micro(
            self.genotype,
            channels=self.channels,
            cells=self.cells,
            image_size=image_sides(images),
            auxiliary=self.auxiliary,
        )
        if isinstance(drop_path, int | float) and not 0 <= drop_path < 1:
            raise UserError(f"drop_path is {drop_path}; it is a probability of at least 0 and below 1")
        never = not train or self.is_initializing() or (isinstance(drop_path, int | float) and drop_path == 0)
        norm, auxiliary_logits = NormSettings(_EPS, _MOMENTUM, self.axis_name), None
        width = self.channels
        make_cell = recomputed(EnasCell, self, train_argument=3)
        stem = ConvNorm(_STEM_MULTIPLIER * width, norm, (3, 3), activated=False, name="stem")
        before = last = stem(images, train)
        reductions = micro_reductions(self.cells)
        for i in range(self.cells + 2):
            stride = 2 if i in reductions else 1
            width *= stride
            blocks = self.genotype.cells["normal" if stride == 1 else "reduce"]
            assert isinstance(blocks, BlockCell)
            rate = None if never else drop_path * (i + 1) / (self.cells + 2)
            before, last = last, make_cell(blocks, width, stride, norm, name=f"cell_{i}")(before, last, train, rate)
            if self.auxiliary and i == reductions[1] + 1 and (train or self.is_initializing()):
                auxiliary_logits = NasnetAuxiliaryHead(self.classes, norm, name="auxiliary_head")(last, train)
        return LinearClassifier(self.classes, name="classifier")(relu(last)), auxiliary_logits


class EnasCell(nn.Module):
    """A cell of blocks as the ENAS release builds it from an arc.

    Node 0 is halved if its size differs from node 1's (ReLU, factorised reduction), else projected if its width differs
    (ReLU, 1 × 1 convolution, batch norm). Node 1 is projected if its width differs, and then always once more. Ops that
    read node 0 or 1 have the stride; `skip_connect` of stride 2 is a factorised reduction. In the output, nodes that
    are still of full size pass one too.
    """

    cell: BlockCell
    channels: int
    stride: int
    norm: NormSettings

    @nn.compact
    def __call__(
        self, s0: jax.Array, s1: jax.Array, train: bool, drop_path: jax.Array | float | None = None
    ) -> jax.Array:
        """`s0, s1 [N, H, W, ·]` → `[N, H', W', len(concat)·channels]`; with `drop_path` None no drop.

        Drop-path acts on the output of every op but `skip_connect`.
        """
        if s0.shape[1:3] != s1.shape[1:3]:
            s0 = self._halved("calibrate_0", relu(s0), train)
        elif s0.shape[-1] != self.channels:
            s0 = ConvNorm(self.channels, self.norm, name="calibrate_0")(s0, train)
        if s1.shape[-1] != self.channels:
            s1 = ConvNorm(self.channels, self.norm, name="calibrate_1")(s1, train)
        nodes = [s0, ConvNorm(self.channels, self.norm, name="base_1")(s1, train)]
        for target, edges in enumerate(self.cell.nodes, start=2):
            outputs = []
            for side, (op, source) in zip(("left", "right"), edges, strict=True):
                stride, name = self.stride if source < 2 else 1, f"node_{target}_{side}_{op}"
                if op == "skip_connect":
                    y = nodes[source] if stride == 1 else self._halved(name, nodes[source], train)
                else:
                    y = BlockOp(op, self.channels, stride, self.norm, name=name)(nodes[source], train)
                    if drop_path is not None:
                        y = drop_samples(self.make_rng("drop_path"), y, drop_path, Share(self.norm.axis_name))
                outputs.append(y)
            nodes.append(outputs[0] + outputs[1])
        output = {node: nodes[node] for node in self.cell.concat}
        smallest = min(y.shape[1] for y in output.values())
        whole = {node for node, y in output.items() if y.shape[1] > smallest}
        return jnp.concatenate(
            [self._halved(f"output_{node}", y, train) if node in whole else y for node, y in output.items()], axis=-1
        )

    def _halved(self, name: str, x: jax.Array, train: bool) -> jax.Array:
        return FactorizedReduction(self.channels, self.norm, name=name)(x, train)
