"""The search network of ENAS macro: layers with six branches of one width, and sums over skips.

It follows general_child.py of the release (melodyguan/enas, `whole_channels`). An architecture is one-hot: `{"ops":
[layers, 6], "skips": [layers, layers]}`, where `skips[l, k]` is 1 if layer l reads output k. All branches are computed
and the chosen one is selected, so that only chosen weights have a gradient. DIFF: there is no dropout.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts.genotypes.enas import MACRO_OPS
from jdarts.kernels.reference import relu
from jdarts.networks.edges import EdgeValues
from jdarts.networks.enas.classifier import LinearClassifier
from jdarts.networks.enas.macro import macro_pools
from jdarts.networks.image_sizes import check_halvings, image_sides
from jdarts.networks.nasnet.layers import (
    ConvNorm,
    FactorizedReduction,
    NormSettings,
    normalise,
    pool,
    separable,
)
from jdarts.networks.wiring import WholeVariables
from jdarts.ops.initializers import uniform_fan_out

_EPS, _MOMENTUM = 1e-3, 0.1


class EnasMacroSupernet(WholeVariables, nn.Module):
    """Stem, layers, two reductions, global average pooling, a linear layer without bias.

    Behind the layers `macro_pools` every stored output passes a factorised reduction of its own; the width stays.

    Attributes:
      channels: of all layers; even.
      layers: their number.
      classes: outputs of the classifier.
      axis_name: mesh axis over which batch norm takes its statistics.
    """

    channels: int
    layers: int
    classes: int
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        architecture: Mapping[str, jax.Array],
        images: jax.Array,
        train: bool,
        edge_values: EdgeValues | None = None,
    ) -> jax.Array:
        """`images [N, H, W, C]` → logits `[N, classes]`."""
        del edge_values
        check_halvings(*image_sides(images), 2, "cannot pass the 2 reductions of ENAS macro")
        norm = NormSettings(_EPS, _MOMENTUM, self.axis_name)
        outputs = [ConvNorm(self.channels, norm, (3, 3), activated=False, name="stem")(images, train)]
        for i in range(self.layers):
            layer = MacroSearchLayer(self.channels, norm, name=f"layer_{i}")
            outputs.append(layer(outputs, architecture["ops"][i], architecture["skips"][i, :i], train))
            if i in macro_pools(self.layers):
                outputs = [
                    FactorizedReduction(self.channels, norm, name=f"pool_{i}_output_{k}")(y, train)
                    for k, y in enumerate(outputs)
                ]
        return LinearClassifier(self.classes, name="classifier")(outputs[-1])


class MacroSearchLayer(nn.Module):
    """The chosen branch on the last output; from the second layer on the chosen skips are added, then batch norm."""

    channels: int
    norm: NormSettings

    @nn.compact
    def __call__(self, outputs: list[jax.Array], op: jax.Array, skips: jax.Array, train: bool) -> jax.Array:
        """`outputs` of the same size, one-hot `op [6]`, `skips [layer]` → `[N, H, W, channels]`."""
        x = outputs[-1]
        op, skips = op.astype(x.dtype), skips.astype(x.dtype)
        y = jnp.zeros_like(x)
        for k, name in enumerate(MACRO_OPS):
            y = y + op[k] * MacroBranch(name, self.channels, self.norm, name=name)(x, train)
        if not len(skips):
            return y
        y = y + jnp.einsum("k,knhwc->nhwc", skips, jnp.stack(outputs[: len(skips)]))
        return normalise(self.norm, self.channels)(y, train)


class MacroBranch(nn.Module):
    """1 × 1 convolution, batch norm, ReLU, then a pool, or a convolution with batch norm and ReLU."""

    op: str
    channels: int
    norm: NormSettings

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[N, H, W, channels]` → `[N, H, W, channels]`."""
        x = relu(ConvNorm(self.channels, self.norm, activated=False, name="project")(x, train))
        kind, k, width = self.op.partition("_")[0], int(self.op[-1]), self.channels
        if "pool" in self.op:
            return pool(x, kind, k, 1)
        if kind == "conv":
            return relu(ConvNorm(width, self.norm, (k, k), activated=False, name="op")(x, train))
        depth = self.param("depthwise", uniform_fan_out(k * k), (k, k, 1, width))
        point = self.param("pointwise", uniform_fan_out(width), (1, 1, width, width))
        return relu(normalise(self.norm, width)(separable(x, depth, point), train))
