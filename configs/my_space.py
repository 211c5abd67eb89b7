"""A search space of your own, and an experiment on it: three nodes, nine edges, an own convolution and an own pooling.

Handwritten digits as in the quick start. The space alone serves every other experiment, too:

    jdarts run configs/my_space.py
    jdarts search configs/darts_cifar10.py --data.path DIR --space configs/my_space.py --name mine

`jdarts/spaces/user_file.py` explains such files.
"""

from flax import linen as nn

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig, TrainConfig
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

config = Experiment(
    name="my_space",
    data=DataConfig(source="digits", crop_padding=1, flip=False),
    space=SpaceConfig(name=__file__, channels=8, cells=3),
    search=SearchConfig(
        epochs=5, batch_size=64, hypergradient="first_order", alpha_optimizer=AdamConfig(learning_rate=3e-3)
    ),
    train=TrainConfig(
        epochs=5,
        batch_size=64,
        channels=16,
        cells=3,
        optimizer=SGDConfig(learning_rate=0.05, learning_rate_min=0.0),
        auxiliary_weight=0.0,
        drop_path=0.0,
        cutout=0,
    ),
)
