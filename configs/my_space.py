"""A search space of your own: three nodes, nine edges, an own convolution and an own pooling. Use it as

    jdarts run configs/quickstart.py --space configs/my_space.py --name mine

`jdarts/spaces/user_file.py` explains such files.
"""

from flax import linen as nn

from jdarts.spaces import define_space


class Inverted(nn.Module):
    """Widen to twice the channels, 3 × 3 depthwise, narrow (MobileNetV2); `norm` is the batch norm it is handed."""

    channels: int
    stride: int = 1

    @nn.compact
    def __call__(self, x, norm):
        wide = 2 * self.channels
        y = nn.relu6(norm(nn.Conv(wide, (1, 1), use_bias=False)(x)))
        y = nn.Conv(wide, (3, 3), self.stride, feature_group_count=wide, use_bias=False)(y)
        return norm(nn.Conv(self.channels, (1, 1), use_bias=False)(nn.relu6(norm(y))))


def blur(x, stride):
    """The mean of 2 × 2 pixels."""
    return nn.avg_pool(x, (2, 2), (stride, stride), "SAME")


space = define_space(
    "mine",
    nodes=3,
    normal=("none", "skip_connect", "inverted", "blur"),
    reduce=("max_pool_3x3", "inverted"),
    ops={"inverted": Inverted, "blur": blur},
)
