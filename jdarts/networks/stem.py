"""The first layer of cell-based networks, in the form that a search runs."""

from flax import linen as nn

from jdarts import kernels
from jdarts.networks.plain import in_type_of
from jdarts.ops.initializers import uniform_fan_in
from jdarts.ops.layers import BatchNorm


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
