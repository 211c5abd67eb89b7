"""The network of a mobile architecture."""

from typing import Any

import jax
from flax import linen as nn

from jdarts.errors import UserError
from jdarts.genotypes.mobile import MobileArchitecture
from jdarts.networks.counting import Count, ModuleCount
from jdarts.networks.image_sizes import check_whole, image_sides, sides_of
from jdarts.networks.mobile.blocks import MobileBlock
from jdarts.networks.mobile.layers import MobileClassifier
from jdarts.ops.network_size import module_sizes


def check_mobile(*, image_size: int | tuple[int, int], auxiliary: bool = False) -> None:
    """Raise `UserError` unless a mobile network can read such images; they may have any size."""
    for name, side in zip(("image height", "image width"), sides_of(image_size), strict=True):
        check_whole(name, side)
    if auxiliary:
        raise UserError("mobile networks have no auxiliary head; set train.auxiliary_weight to 0")


class MobileNetwork(nn.Module):
    """The layers of a mobile architecture, global average pooling, dropout, a linear classifier.

    A layer of stride 2 turns n pixels into ⌈n/2⌉, so that images may have any size.

    Attributes:
      architecture: its layers.
      classes: outputs of the classifier.
      axis_name: mesh axis over which batch norm takes its statistics.
    """

    architecture: MobileArchitecture
    classes: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool, drop_path: jax.Array | float = 0.0) -> tuple[jax.Array, None]:
        """`images [N, H, W, C]` → (logits `[N, classes]`, None: there is no auxiliary head).

        `drop_path` is the probability in [0, 1) of dropping, for one sample, the output of a layer with a skip. It and
        the dropout of the architecture act in training only and need the rng `drop_path`.
        """
        image_sides(images)
        fixed = isinstance(drop_path, int | float)
        if fixed and not 0 <= drop_path < 1:
            raise UserError(f"drop_path is {drop_path}; it is a probability of at least 0 and below 1")
        never = not train or self.is_initializing() or (fixed and drop_path == 0)
        x, architecture = images, self.architecture
        for i, layer in enumerate(architecture.layers):
            block = MobileBlock(
                layer, architecture.conventions, architecture.has_skip(i), self.axis_name, name=f"layer_{i}"
            )
            x = block(x, train, None if never else drop_path)
        classifier = MobileClassifier(
            self.classes, architecture.conventions.bias, architecture.dropout, name="classifier"
        )
        return classifier(x, train), None


def count_mobile(
    architecture: MobileArchitecture, *, classes: int = 1000, image_size: int | tuple[int, int] = 224
) -> Count:
    """Size of a `MobileNetwork`, layer by layer, by the rules of `jdarts.networks.counting`.

    Nothing is computed: the program of the network is traced. Raises `UserError` like `check_mobile`.

    Example::

        count_mobile(parse_architecture("PROXYLESS_MOBILE")).parameters    # 4080512
    """
    check_mobile(image_size=image_size)
    network: Any = MobileNetwork(architecture, classes)
    sizes = module_sizes(network, (*sides_of(image_size), 3))
    return Count(tuple(ModuleCount(name, *pair) for name, pair in sizes.items()))
