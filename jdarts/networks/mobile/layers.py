"""Layers of mobile networks: `[N, H, W, ·]` → `[N, ⌈H/stride⌉, ⌈W/stride⌉, channels]`."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts import kernels
from jdarts.devices.replicas import Share
from jdarts.genotypes.mobile import MobileFamily
from jdarts.kernels.reference import relu
from jdarts.networks.edges import dropout as drop_features
from jdarts.ops.batch_norm import BatchNorm
from jdarts.ops.initializers import constant, uniform_fan_in, uniform_fan_out

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_ACTIVATIONS = {
    "": lambda x: x,
    "relu": relu,
    "relu6": lambda x: jnp.minimum(relu(x), 6),
    "swish": jax.nn.swish,
}


class MobileConv(nn.Module):
    """Convolution without bias, batch norm and activation.

    Attributes:
      channels: of the output.
      family: conventions of batch norm and padding.
      kernel: side of the filters.
      stride: of the convolution.
      activation: a name of `jdarts.genotypes.mobile.ACTIVATION_NAMES`, or empty for none.
      depthwise: one filter for each channel; `channels` are then those of the input.
      axis_name: mesh axis over which batch norm takes its statistics.
    """

    channels: int
    family: MobileFamily
    kernel: int = 1
    stride: int = 1
    activation: str = ""
    depthwise: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to `[N, H, W, ·]`."""
        k, groups = self.kernel, x.shape[-1] if self.depthwise else 1
        # He et al. 2015, by the filters that an input value meets: k² of a depthwise convolution
        init = uniform_fan_out(k * k * self.channels // groups)
        kernel = self.param("kernel", init, (k, k, x.shape[-1] // groups, self.channels))
        y = self.convolved(x.astype(kernel.dtype), kernel)
        norm = BatchNorm(
            self.channels,
            affine=self.family.affine,
            eps=self.family.norm_epsilon,
            momentum=self.family.norm_momentum,
            axis_name=self.axis_name,
            name="norm",
        )
        return _ACTIVATIONS[self.activation](norm(y, train))

    def convolved(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """The convolution of `x` with `kernel [k, k, C or 1, D]`, in the form that suits the platform."""
        k, stride = self.kernel, self.stride
        one_sided = [self.family.same_padding and stride == 2 and side % 2 == 0 for side in x.shape[1:3]]
        if self.depthwise and any(one_sided):
            # SAME pads one pixel less in front. Two more pixels, and the first output is that of the padding.
            pads = [(int(pad), int(pad)) for pad in one_sided]
            y = kernels.depthwise(jnp.pad(x, [(0, 0), *pads, (0, 0)]), kernel[:, :, 0], stride=stride)
            return y[:, int(one_sided[0]) :, int(one_sided[1]) :]
        if self.depthwise:
            return kernels.depthwise(x, kernel[:, :, 0], stride=stride)
        if k == 1:
            return kernels.pointwise(x[:, ::stride, ::stride], kernel[0])
        padding = "SAME" if self.family.same_padding else [(k // 2, k // 2)] * 2
        return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation (Hu et al. 2018): every channel times a number that depends on the means of all channels.

    Mean over the pixels, linear layer to `squeezed` values, activation, linear layer back, sigmoid.
    """

    squeezed: int
    activation: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[N, H, W, C]` → the same shape."""
        channels = x.shape[-1]
        means = jnp.mean(x, (1, 2))
        down = self.param("down", uniform_fan_out(self.squeezed), (channels, self.squeezed))
        up = self.param("up", uniform_fan_out(channels), (self.squeezed, channels))
        hidden = means @ down + self.param("down_bias", constant(0.0), (self.squeezed,))
        gates = _ACTIVATIONS[self.activation](hidden) @ up + self.param("up_bias", constant(0.0), (channels,))
        return x * jax.nn.sigmoid(gates)[:, None, None, :]


class MobileClassifier(nn.Module):
    """Global average pooling, dropout and a linear layer: `[N, H, W, C]` → `[N, classes]`.

    With `axis_name`, the batch is split over that mesh axis; an image loses the same features on any number of devices.
    """

    classes: int
    bias: bool
    dropout: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to the last layer's output; dropout needs the rng `drop_path`."""
        features = jnp.mean(x, (1, 2))
        if train and self.dropout and not self.is_initializing():
            features = drop_features(self.make_rng("drop_path"), features, self.dropout, Share(self.axis_name))
        # by the inputs: by the outputs, of which there may be few, the first logits would be large
        init = uniform_fan_in(features.shape[-1])
        logits = features @ self.param("kernel", init, (features.shape[-1], self.classes))
        return logits + self.param("bias", constant(0.0), (self.classes,)) if self.bias else logits


def split_by_parity(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`x [N, H, W, C]` as its channels 0, 2, 4, … and its channels 1, 3, 5, …"""
    return x[..., ::2], x[..., 1::2]
