"""The first and the last layer of cell-based networks."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts import kernels
from jdarts.errors import UserError
from jdarts.ops.initializers import uniform_fan_in
from jdarts.ops.layers import BatchNorm

STEM_MULTIPLIER = 3


def in_type_of(kernel: jax.Array, images: jax.Array) -> jax.Array:
    """`images` in the type of the first kernel, in which the whole network computes; `UserError` if not floating."""
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise UserError(
            f"a network was given images of type {images.dtype}; give floating-point ones (jdarts.data.normalize)"
        )
    return images.astype(kernel.dtype)


class Stem(nn.Module):
    """3 × 3 convolution and affine batch norm (no ReLU)."""

    channels: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, train: bool):
        """`[N, H, W, C_in]` → `[N, H, W, channels]`."""
        c_in = images.shape[-1]
        kernel = self.param("conv", uniform_fan_in(9 * c_in), (3, 3, c_in, self.channels))
        y = kernels.convolution(in_type_of(kernel, images), kernel, padding=1)
        return BatchNorm(self.channels, axis_name=self.axis_name, name="norm")([y], train)[0]


class Classifier(nn.Module):
    """Global average pooling and a linear layer with bias."""

    classes: int

    @nn.compact
    def __call__(self, x):
        """`[N, H, W, C]` → `[N, classes]`."""
        features = jnp.mean(x, (1, 2))
        init = uniform_fan_in(features.shape[-1])
        kernel = self.param("kernel", init, (features.shape[-1], self.classes))
        bias = self.param("bias", init, (self.classes,))
        return features @ kernel + bias
