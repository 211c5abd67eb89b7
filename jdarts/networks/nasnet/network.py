"""NASNet-type networks: stem, cells, classifier, auxiliary head.

Zoph et al. 2018 (NASNet), Liu et al. 2018 (PNASNet), Real et al. 2019 (AmoebaNet).
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from jdarts.devices.replicas import Share
from jdarts.errors import UserError, unknown
from jdarts.genotypes.blocks import BlockGenotype
from jdarts.genotypes.genotype import BLOCK_OPS, MORE_BLOCK_OPS
from jdarts.networks.edges import dropout as drop_values
from jdarts.networks.image_sizes import check_whole, image_sides, sides_of
from jdarts.networks.nasnet.cell import NasnetCell
from jdarts.networks.nasnet.layers import ConvNorm, NormSettings
from jdarts.networks.nasnet.layout import layout
from jdarts.networks.plain import Classifier
from jdarts.networks.recomputing import recomputed

StemKind = Literal["cifar", "imagenet"]
STEMS: tuple[StemKind, ...] = ("cifar", "imagenet")

_NORMS = {"cifar": (1e-5, 0.1), "imagenet": (1e-3, 0.0003)}  # ε, weight of a new batch in the running averages
_IMAGENET_STEM_CHANNELS = 32


def check_nasnet(
    genotype: BlockGenotype,
    *,
    channels: int,
    cells: int,
    image_size: int | tuple[int, int],
    auxiliary: bool = False,
    stem: StemKind = "cifar",
) -> None:
    """Raise `UserError` if a `NasnetNetwork` with these settings cannot be built.

    Args:
      genotype: of the family nasnet, amoebanet or pnasnet, with ops of `BLOCK_OPS` and `MORE_BLOCK_OPS`.
      channels: F, at least 1; at least 4 with stem "imagenet", whose first cell has a quarter.
      cells: normal cells, at least 1; at least 3 with the auxiliary head.
      image_size: (height, width) in pixels, or the side of square images; at least 3 with stem "imagenet". The
        auxiliary head must see at least 5 pixels.
      auxiliary: whether the network has the auxiliary head.
      stem: "cifar" keeps the image size; "imagenet" divides it by 8.
    """
    if stem not in STEMS:
        raise unknown("stem", str(stem), STEMS)
    if genotype.family == "enas":
        raise UserError("a genotype of the family enas has a network of its own; it cannot be built as NASNet's")
    for cell in genotype.cells.values():
        for op in (op for edges in cell.nodes for op, _ in edges):
            if op not in (*BLOCK_OPS, *MORE_BLOCK_OPS):
                raise unknown("op of a NASNet-type network", op, (*BLOCK_OPS, *MORE_BLOCK_OPS))
    height, width = sides_of(image_size)
    least = {"channels": 4, "image": 3} if stem == "imagenet" else {"channels": 1, "image": 1}
    for name, value, lowest in (
        ("channels", channels, least["channels"]),
        ("cells", cells, 3 if auxiliary else 1),
        ("image height", height, least["image"]),
        ("image width", width, least["image"]),
    ):
        check_whole(name, value, lowest)
    if auxiliary and min(_auxiliary_side(side, stem) for side in (height, width)) < 5:
        least_side = next(side for side in range(1, 100) if _auxiliary_side(side, stem) >= 5)
        raise UserError(
            f"images of {height}x{width} reach the auxiliary head with fewer than 5 pixels a side; use at least "
            f"{least_side}x{least_side}, or no auxiliary head"
        )


def _auxiliary_side(side: int, stem: StemKind) -> int:
    """Side of the image at the auxiliary head, behind the first reduction: every stride 2 rounds up but the stem's."""
    return -(-side // 2) if stem == "cifar" else -(-((side - 1) // 2) // 8)


class NasnetNetwork(nn.Module):
    """The network of a genotype of the family nasnet, amoebanet or pnasnet.

    Attributes:
      genotype: its cells and their wiring.
      channels: F, of a block in front of the first reduction.
      cells: normal cells; inserted reduction cells are not counted.
      classes: outputs of the classifier.
      stem: "cifar", a convolution to F · stem_multiplier channels; or "imagenet", one of stride 2 without padding to
        32 · stem_multiplier channels, then two cells of stride 2.
      stem_multiplier: see `stem`.
      auxiliary: add the auxiliary head behind the cell before the second reduction. Its weights always exist then, its
        logits only in training.
      dropout: probability of dropping a feature in front of the classifier (0.5 in the ImageNet releases). It draws
        from the rng `drop_path`.
      axis_name: mesh axis over which the batch is split.
      remat: compute a cell's activations again when its gradient is, instead of keeping them.

    Example::

        published = networks()["NASNET_A_CIFAR"]
        network = NasnetNetwork(published.genotype, channels=32, cells=18, classes=10)
        variables = network.init(key, images, train=False)
        logits, _ = network.apply(variables, images, train=False)
    """

    genotype: BlockGenotype
    channels: int
    cells: int
    classes: int
    stem: StemKind = "cifar"
    stem_multiplier: int = 3
    auxiliary: bool = False
    dropout: float = 0.0
    axis_name: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool, drop_path: jax.Array | float = 0.0
    ) -> tuple[jax.Array, jax.Array | None]:
        """`images [N, H, W, C]` → logits `[N, classes]` and auxiliary logits `[N, classes]` or None.

        Args:
          images: normalised.
          train: batch statistics, drop-path, dropout and the auxiliary head.
          drop_path: probability in [0, 1) that the last cell drops an op's output for one sample. In cell k of n it is
            k/n of that, in networks of the family amoebanet the same in all cells. A traced scalar needs the rng
            `drop_path`; the number 0.0 does not.

        Raises `UserError` for settings that `check_nasnet` refuses.
        """
        check_nasnet(
            self.genotype,
            channels=self.channels,
            cells=self.cells,
            image_size=image_sides(images),
            auxiliary=self.auxiliary,
            stem=self.stem,
        )
        if isinstance(drop_path, int | float) and not 0 <= drop_path < 1:
            raise UserError(f"drop_path is {drop_path}; it is a probability of at least 0 and below 1")
        never = not train or self.is_initializing() or (isinstance(drop_path, int | float) and drop_path == 0)
        norm = NormSettings(*_NORMS[self.stem], self.axis_name)
        stem = _stem(self.stem, self.channels, self.stem_multiplier, norm)
        outputs, auxiliary_logits = [stem(images, train)], None
        placed = layout(self.genotype, channels=self.channels, cells=self.cells, stem=self.stem)
        amoebanet = self.genotype.family == "amoebanet"
        make_cell = recomputed(NasnetCell, self, train_argument=3)
        head_behind = f"cell_{2 * self.cells // 3 - 1}" if self.auxiliary else None
        for i, place in enumerate(placed, start=1):
            share = 1.0 if amoebanet else i / len(placed)
            cell = make_cell(place.cell, place.channels, place.stride, norm, amoebanet, name=place.name)
            previous = None if place.previous is None else outputs[place.previous]
            outputs.append(cell(outputs[place.current], previous, train, None if never else share * drop_path))
            if place.name == head_behind and (train or self.is_initializing()):
                auxiliary_logits = NasnetAuxiliaryHead(self.classes, norm, name="auxiliary_head")(outputs[-1], train)
        features = nn.relu(outputs[-1])
        if train and self.dropout and not self.is_initializing():
            # A feature is the mean of its pixels, so that dropping all of its pixels drops the feature.
            whole = jnp.ones((images.shape[0], 1, 1, features.shape[-1]), features.dtype)
            features *= drop_values(self.make_rng("drop_path"), whole, self.dropout, Share(self.axis_name))
        return Classifier(self.classes, name="classifier")(features), auxiliary_logits


def _stem(kind: StemKind, channels: int, multiplier: int, norm: NormSettings) -> ConvNorm:
    """The first convolution; a module of the network that is being called."""
    if kind == "cifar":
        return ConvNorm(channels * multiplier, norm, (3, 3), activated=False, name="stem")
    width = _IMAGENET_STEM_CHANNELS * multiplier
    return ConvNorm(width, norm, (3, 3), (2, 2), padding="VALID", activated=False, name="stem")


class NasnetAuxiliaryHead(nn.Module):
    """A second classifier in mid-network, for training only.

    ReLU, 5 × 5 average pooling of stride 3, 1 × 1 convolution to 128, a convolution as large as the image to 768, each
    with batch norm and ReLU; linear.
    """

    classes: int
    norm: NormSettings

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[N, H, W, C]` of at least 5 × 5 pixels → `[N, classes]`."""
        x = lax.reduce_window(nn.relu(x), np.zeros((), x.dtype), lax.add, (1, 5, 5, 1), (1, 3, 3, 1), "VALID") / 25
        x = ConvNorm(128, self.norm, activated=False, name="project")(x, train)
        x = ConvNorm(768, self.norm, (x.shape[1], x.shape[2]), padding="VALID", name="whole_image")(x, train)
        return Classifier(self.classes, name="classifier")(nn.relu(x))
