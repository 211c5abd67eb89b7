"""The network of the chain space (Zoph & Le 2017): convolutions with batch norm and ReLU, and skips."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts.genotypes.chain import ChainArchitecture
from jdarts.kernels.reference import relu
from jdarts.networks.counting import Count, ModuleCount
from jdarts.networks.image_sizes import image_sides
from jdarts.networks.nasnet.layers import ConvNorm, NormSettings
from jdarts.networks.plain import Classifier
from jdarts.ops.network_size import module_sizes


class ChainNetwork(nn.Module):
    """Layers of convolution, batch norm and ReLU; global average pooling; a linear classifier.

    A layer reads the outputs of its inputs, concatenated; without inputs it reads the image. The classifier reads the
    outputs that no layer reads. Smaller outputs are padded with zeros at the bottom and right (the paper pads, it does
    not say where).
    """

    architecture: ChainArchitecture
    classes: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """`images [N, H, W, C]` → logits `[N, classes]`."""
        image_sides(images)
        norm, outputs = NormSettings(1e-5, 0.1, self.axis_name), []
        for i, layer in enumerate(self.architecture.layers):
            x = joined([outputs[source] for source in layer.inputs]) if layer.inputs else images
            convolution = ConvNorm(layer.filters, norm, layer.kernel, layer.stride, activated=False, name=f"layer_{i}")
            outputs.append(relu(convolution(x, train)))
        return Classifier(self.classes, name="classifier")(joined([outputs[i] for i in self.architecture.unread]))


def joined(images: Sequence[jax.Array]) -> jax.Array:
    """Images `[N, ·, ·, ·]` side by side on the channel axis, the smaller ones padded with zeros behind their ends."""
    height, width = (max(x.shape[axis] for x in images) for axis in (1, 2))
    padded = [jnp.pad(x, ((0, 0), (0, height - x.shape[1]), (0, width - x.shape[2]), (0, 0))) for x in images]
    return jnp.concatenate(padded, axis=-1)


def count_chain(architecture: ChainArchitecture, *, classes: int = 10, image_size: tuple[int, int] = (32, 32)) -> Count:
    """Size of a `ChainNetwork`, layer by layer, by the rules of `jdarts.networks.counting`."""
    sizes = module_sizes(ChainNetwork(architecture, classes), (*image_size, 3))
    return Count(tuple(ModuleCount(name, *pair) for name, pair in sizes.items()))
