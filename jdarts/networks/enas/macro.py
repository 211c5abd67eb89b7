"""The network of an ENAS macro architecture, trained from scratch (Pham et al. 2018; general_child.py)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts.errors import UserError
from jdarts.genotypes.enas import MacroArchitecture
from jdarts.networks.enas.classifier import LinearClassifier
from jdarts.networks.image_sizes import check_halvings, image_sides, sides_of
from jdarts.networks.nasnet.layers import ConvNorm, FactorizedReduction, NormSettings, SeparableNorm, pool
from jdarts.networks.recomputing import recomputed

_EPS, _MOMENTUM = 1e-3, 0.1


def macro_pools(layers: int) -> tuple[int, int]:
    """The layers behind which the image is halved; -1 stands for no layer."""
    return layers // 3 - 1, 2 * (layers // 3) - 1


def check_enas_macro(
    architecture: MacroArchitecture, *, channels: int, image_size: int | tuple[int, int], release_compat: bool = True
) -> None:
    """Raise `UserError` if an `EnasMacroNetwork` with these settings cannot be built.

    Channels must be even and both sides of the image multiples of 4. With `release_compat` no layer may be a pool: the
    release does not build them.
    """
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 2 or channels % 2:
        raise UserError(f"channels is {channels!r}; it must be an even whole number of at least 2")
    height, width = sides_of(image_size)
    check_halvings(height, width, 2, "cannot pass the 2 reductions of ENAS macro")
    pools = [layer for layer, op in enumerate(architecture.ops) if "pool" in op]
    if release_compat and pools:
        raise UserError(
            f"layer {pools[0]} is {architecture.ops[pools[0]]}, which the ENAS release cannot build; use "
            "release_compat = False"
        )


class EnasMacroNetwork(nn.Module):
    """Stem, layers with skips, two reductions, global average pooling, a linear layer without bias.

    A layer applies ReLU, 1 × 1 convolution, batch norm, then its op, to the output before it. From the second layer on,
    that and the outputs in `skips` are concatenated and pass ReLU, 1 × 1 convolution, batch norm. Behind the layers
    `macro_pools` the channels double and every stored output passes a factorised reduction of its own.

    Attributes:
      architecture: ops and skips.
      channels: of the stem and the first layers.
      classes: outputs of the classifier.
      release_compat: as the release builds it: `sep_conv_3x3` and `sep_conv_5x5` are dense convolutions, like
        `conv_3x3` and `conv_5x5`. Otherwise they are separable, and pools work.
      axis_name: mesh axis over which the batch is split.
      remat: compute a layer's activations again when its gradient is, instead of keeping them.
    """

    architecture: MacroArchitecture
    channels: int
    classes: int
    release_compat: bool = True
    axis_name: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool, drop_path: jax.Array | float | None = None
    ) -> tuple[jax.Array, None]:
        """`images [N, H, W, C]` → logits `[N, classes]` and None; raises `UserError` like `check_enas_macro`.

        `drop_path` has no effect: the macro network of the release has none.
        """
        del drop_path
        check_enas_macro(
            self.architecture,
            channels=self.channels,
            image_size=image_sides(images),
            release_compat=self.release_compat,
        )
        norm, width = NormSettings(_EPS, _MOMENTUM, self.axis_name), self.channels
        outputs = [ConvNorm(width, norm, (3, 3), activated=False, name="stem")(images, train)]
        pools = macro_pools(len(self.architecture.ops))
        make_layer = recomputed(MacroLayer, self, train_argument=3)
        for i, (op, skips) in enumerate(zip(self.architecture.ops, self.architecture.skips, strict=True)):
            layer = make_layer(op, width, norm, joins=i > 0, dense=self.release_compat, name=f"layer_{i}")
            outputs.append(layer(outputs[-1], [outputs[k] for k in skips], train))
            if i in pools:
                width *= 2
                outputs = [
                    FactorizedReduction(width, norm, name=f"pool_{i}_output_{k}")(y, train)
                    for k, y in enumerate(outputs)
                ]
        return LinearClassifier(self.classes, name="classifier")(outputs[-1]), None


class MacroLayer(nn.Module):
    """One layer: the op, and the convolution that joins its output with the skips (if `joins`)."""

    op: str
    channels: int
    norm: NormSettings
    joins: bool
    dense: bool

    @nn.compact
    def __call__(self, x: jax.Array, skips: list[jax.Array], train: bool) -> jax.Array:
        """`x [N, H, W, ·]`, `skips` of the same size → `[N, H, W, channels]`."""
        y = ConvNorm(self.channels, self.norm, name="project")(x, train)
        kind, size = self.op.partition("_")[0], int(self.op[-1])
        if "pool" in self.op:
            y = pool(y, kind, size, 1)
        elif kind == "sep" and not self.dense:
            y = SeparableNorm(self.channels, self.norm, size, name="op")(y, train)
        else:
            y = ConvNorm(self.channels, self.norm, (size, size), name="op")(y, train)
        if not self.joins:
            return y
        return ConvNorm(self.channels, self.norm, name="join")(jnp.concatenate([*skips, y], axis=-1), train)
