"""The ops of a block in a NASNet-type network."""

import jax
from flax import linen as nn

from jdarts.networks.nasnet.layers import ConvNorm, NormSettings, SeparableNorm, pool

_REPEATS = 2  # of a separable convolution


class BlockOp(nn.Module):
    """An op by its name: `[N, H, W, ·]` → `[N, ⌈H/stride⌉, ⌈W/stride⌉, channels]`.

    * `sep_conv_KxK`: (ReLU, separable convolution, batch norm) twice; the first has the stride.
    * `skip_connect`: the identity; with a stride or another number of channels ReLU, 1 × 1 convolution, batch norm.
    * `conv_1x1`: ReLU, 1 × 1 convolution, batch norm.
    * `max_pool_KxK`, `avg_pool_KxK`: with another number of channels a 1 × 1 convolution and batch norm follow.
    * `conv_KxK`, `dil_conv_3x3`, `conv_3x1_1x3` (1 × 3, then 3 × 1), `conv_7x1_1x7` (1 × 7, then 7 × 1): ReLU in
      front of each convolution and batch norm behind. With `bottleneck`, as in AmoebaNet, a 1 × 1 convolution to ¼ of
      the channels (⅜ for `conv_3x1_1x3`) comes first and one back to all channels last.
    """

    op: str
    channels: int
    stride: int
    norm: NormSettings
    bottleneck: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to a node's value."""
        strides = (self.stride, self.stride)
        match self.op.split("_"):
            case ["sep", "conv", size]:
                for i in range(_REPEATS):
                    stride = 1 if i else self.stride
                    x = SeparableNorm(self.channels, self.norm, int(size[0]), stride, name=f"separable_{i}")(x, train)
                return x
            case ["skip", "connect"] if self.stride == 1 and x.shape[-1] == self.channels:
                return x
            case ["skip", "connect"] | ["conv", "1x1"]:
                return ConvNorm(self.channels, self.norm, stride=strides, name="project")(x, train)
            case ["max" | "avg" as kind, "pool", size]:
                y = pool(x, kind, int(size[0]), self.stride)
                if x.shape[-1] == self.channels:
                    return y
                return ConvNorm(self.channels, self.norm, activated=False, name="project")(y, train)
        return self._dense(x, train)

    def _dense(self, x: jax.Array, train: bool) -> jax.Array:
        narrow = 3 * self.channels // 8 if self.op == "conv_3x1_1x3" else self.channels // 4
        bottleneck = self.bottleneck and narrow >= 1
        width = narrow if bottleneck else self.channels
        if bottleneck:
            x = ConvNorm(width, self.norm, name="narrow")(x, train)
        for i, (kernel, stride, dilation) in enumerate(_convolutions(self.op, self.stride)):
            x = ConvNorm(width, self.norm, kernel, stride, dilation, name=f"conv_{i}")(x, train)
        return ConvNorm(self.channels, self.norm, name="widen")(x, train) if bottleneck else x


def _convolutions(op: str, stride: int) -> list[tuple[tuple[int, int], tuple[int, int], int]]:
    """Kernel, strides and dilation of each convolution that is neither separable nor 1 × 1."""
    match op.split("_"):
        case ["conv", "2x2" | "3x3" as size]:
            return [((int(size[0]), int(size[0])), (stride, stride), 1)]
        case ["dil", "conv", "3x3"]:
            return [((3, 3), (stride, stride), 2)]
        case ["conv", "3x1", "1x3"] | ["conv", "7x1", "1x7"]:
            k = int(op[5])
            return [((1, k), (1, stride), 1), ((k, 1), (stride, 1), 1)]
    raise AssertionError(op)  # `check_nasnet` refuses others
