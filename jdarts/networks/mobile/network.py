"""The network of a mobile architecture."""

import jax
from flax import linen as nn

from jdarts.errors import UserError
from jdarts.genotypes.mobile import MobileArchitecture
from jdarts.networks.image_sizes import image_sides
from jdarts.networks.mobile.blocks import MobileBlock
from jdarts.networks.mobile.layers import MobileClassifier
from jdarts.networks.recomputing import recomputed


class MobileNetwork(nn.Module):
    """The layers of a mobile architecture, global average pooling, dropout, a linear classifier.

    A layer of stride 2 turns n pixels into ⌈n/2⌉, so that images may have any size.

    Attributes:
      architecture: its layers.
      classes: outputs of the classifier.
      axis_name: mesh axis over which the batch is split.
      remat: compute a layer's activations again when its gradient is, instead of keeping them.
      pyramid: end in features instead of logits (`jdarts.networks.backbones`); there is no classifier then.
    """

    architecture: MobileArchitecture
    classes: int
    axis_name: str | None = None
    remat: bool = False
    pyramid: bool = False

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool, drop_path: jax.Array | float = 0.0
    ) -> tuple[jax.Array | list[jax.Array], None]:
        """`images [N, H, W, C]` → (logits `[N, classes]`, None: there is no auxiliary head).

        `drop_path` is the probability in [0, 1) of dropping, for one sample, the output of a layer with a skip. It and
        the dropout of the architecture act in training only and need the rng `drop_path`.
        """
        image_sides(images)
        fixed = isinstance(drop_path, int | float)
        if fixed and not 0 <= drop_path < 1:
            raise UserError(f"drop_path is {drop_path}; it is a probability of at least 0 and below 1")
        never = not train or self.is_initializing() or (fixed and drop_path == 0)
        x, architecture, features = images, self.architecture, []
        make_block = recomputed(MobileBlock, self, train_argument=2)
        for i, layer in enumerate(architecture.layers):
            features += [x] if layer.stride == 2 and i > 0 else []
            block = make_block(
                layer, architecture.conventions, architecture.has_skip(i), self.axis_name, name=f"layer_{i}"
            )
            x = block(x, train, None if never else drop_path)
        if self.pyramid:
            return [*features, x], None
        classifier = MobileClassifier(
            self.classes, architecture.conventions.bias, architecture.dropout, self.axis_name, name="classifier"
        )
        return classifier(x, train), None
