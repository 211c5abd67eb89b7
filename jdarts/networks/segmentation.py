"""Networks that give every pixel a class: a backbone and the decoder of a fully convolutional network.

Every feature of the backbone gets a 1 × 1 convolution to the classes; from the coarsest on, the scores are enlarged
bilinearly and added to those of the next finer feature, and in the end enlarged to the image (Long et al. 2015,
FCN-8s, with bilinear interpolation in place of learned upsampling).
"""

from typing import Any

import jax
from flax import linen as nn

from jdarts import kernels
from jdarts.ops.initializers import constant, uniform_fan_in


class SegmentationNetwork(nn.Module):
    """A backbone and a decoder.

    Attributes:
      backbone: `(images, train, drop_path) -> (features, None)` (`jdarts.networks.backbones`).
      classes: of a pixel.
    """

    backbone: Any
    classes: int

    @nn.compact
    def __call__(self, images: jax.Array, train: bool, drop_path: jax.Array | float = 0.0) -> tuple[jax.Array, None]:
        """`images [N, H, W, C]` → logits `[N, H, W, classes]`."""
        features, _ = self.backbone(images, train, drop_path)
        logits = PixelClassifier(self.classes, name="decoder")(features)
        return enlarged(logits, images.shape[1:3]), None


class PixelClassifier(nn.Module):
    """The decoder: features of falling resolution → logits at the resolution of the first one."""

    classes: int

    @nn.compact
    def __call__(self, features: list[jax.Array]) -> jax.Array:
        """`[N, h, w, ·]` of every stride → `[N, H, W, classes]` of the finest."""
        total = None
        for i in reversed(range(len(features))):
            x = features[i]
            kernel = self.param(f"kernel_{i}", uniform_fan_in(x.shape[-1]), (x.shape[-1], self.classes))
            scores = kernels.product(x, kernel)
            total = scores if total is None else scores + enlarged(total, x.shape[1:3])
        assert total is not None
        return total + self.param("bias", constant(0.0), (self.classes,))


def enlarged(x: jax.Array, sides: tuple[int, ...]) -> jax.Array:
    """`x [N, h, w, C]` as `[N, H, W, C]` by bilinear interpolation."""
    if x.shape[1:3] == tuple(sides):
        return x
    return jax.image.resize(x, (x.shape[0], *sides, x.shape[-1]), "bilinear", antialias=False)
