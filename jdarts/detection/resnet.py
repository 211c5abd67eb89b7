"""ResNet-50 without its classifier (He et al. 2016), with the stride in the 3 × 3 convolutions."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts import kernels
from jdarts.ops.batch_norm import BatchNorm
from jdarts.ops.initializers import uniform_fan_out

BLOCKS, WIDTHS = (3, 4, 6, 3), (64, 128, 256, 512)


class NormedConvolution(nn.Module):
    """A convolution without bias and a batch norm."""

    channels: int
    kernel: int
    stride: int = 1
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[N, h, w, ·]` → `[N, ⌈h/stride⌉, ⌈w/stride⌉, channels]`."""
        k = self.kernel
        kernel = self.param("kernel", uniform_fan_out(k * k * self.channels), (k, k, x.shape[-1], self.channels))
        y = kernels.convolution(x, kernel, stride=self.stride, padding=k // 2)
        return BatchNorm(self.channels, axis_name=self.axis_name, name="norm")(y, train)


class Bottleneck(nn.Module):
    """1 × 1, 3 × 3 and 1 × 1 convolutions around a skip; the output has four times `width` channels."""

    width: int
    stride: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to `[N, h, w, ·]`."""
        axis = self.axis_name
        y = kernels.relu(NormedConvolution(self.width, 1, axis_name=axis, name="conv_1")(x, train))
        y = kernels.relu(NormedConvolution(self.width, 3, self.stride, axis, name="conv_2")(y, train))
        y = NormedConvolution(4 * self.width, 1, axis_name=axis, name="conv_3")(y, train)
        if x.shape[-1] != 4 * self.width:
            x = NormedConvolution(4 * self.width, 1, self.stride, axis, name="skip")(x, train)
        return kernels.relu(x + y)


class ResNetStage(nn.Module):
    """Blocks of one width; the first one has the stride."""

    blocks: int
    width: int
    stride: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to `[N, h, w, ·]`."""
        for i in range(self.blocks):
            stride = self.stride if i == 0 else 1
            x = Bottleneck(self.width, stride, self.axis_name, name=f"block_{i}")(x, train)
        return x


class ResNetStem(nn.Module):
    """7 × 7 convolution of stride 2, batch norm, ReLU, 3 × 3 maximum of stride 2."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """`[N, H, W, 3]` → `[N, H/4, W/4, 64]`."""
        y = kernels.relu(NormedConvolution(64, 7, 2, self.axis_name, name="conv")(images, train))
        return lax.reduce_window(y, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0)))


class ResNet50(nn.Module):
    """The backbone `(images, train, drop_path) -> ([features of the strides 4, 8, 16, 32], None)`."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool, drop_path: jax.Array | float = 0.0):
        """`images [N, H, W, 3]`; ResNets know no drop-path."""
        del drop_path
        x, features = ResNetStem(self.axis_name, name="stem")(images, train), []
        for i, (blocks, width) in enumerate(zip(BLOCKS, WIDTHS, strict=True)):
            x = ResNetStage(blocks, width, 1 if i == 0 else 2, self.axis_name, name=f"stage_{i + 1}")(x, train)
            features.append(x)
        return features, None
