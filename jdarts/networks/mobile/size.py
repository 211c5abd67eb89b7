"""Parameters and multiply–accumulates of mobile networks, by arithmetic and the rules of `jdarts.networks.counting`."""

from dataclasses import dataclass

from jdarts.errors import UserError
from jdarts.genotypes.mobile import MobileArchitecture, MobileLayer
from jdarts.networks.counting import Count, ModuleCount
from jdarts.networks.image_sizes import check_whole, sides_of


def check_mobile(*, image_size: int | tuple[int, int], auxiliary: bool = False) -> None:
    """Raise `UserError` unless a mobile network can read such images; they may have any size."""
    for name, side in zip(("image height", "image width"), sides_of(image_size), strict=True):
        check_whole(name, side)
    if auxiliary:
        raise UserError("mobile networks have no auxiliary head; set train.auxiliary_weight to 0")


def count_mobile(
    architecture: MobileArchitecture, *, classes: int = 1000, image_size: int | tuple[int, int] = 224
) -> Count:
    """Size of a `MobileNetwork` for images of three colours, layer by layer. Raises `UserError` like `check_mobile`.

    Example::

        count_mobile(parse_architecture("PROXYLESS_MOBILE")).parameters    # 4080512
    """
    check_mobile(image_size=image_size)
    check_whole("classes", classes)
    size, inputs, modules = sides_of(image_size), 3, []
    for i, layer in enumerate(architecture.layers):
        modules.append(ModuleCount(f"layer_{i}", *layer_size(layer, inputs, size)))
        size, inputs = (-(-size[0] // layer.stride), -(-size[1] // layer.stride)), layer.width
    modules.append(ModuleCount("classifier", *classifier_size(inputs, classes, architecture.conventions.bias)))
    return Count(tuple(modules))


def layer_size(layer: MobileLayer, inputs: int, size: tuple[int, int]) -> tuple[int, int]:
    """`(parameters, multiply–accumulates)` of a layer that reads `inputs` channels of so many rows and columns."""
    tally = _Tally(size[0] * size[1], -(-size[0] // layer.stride) * -(-size[1] // layer.stride))
    tally.layer(layer, inputs)
    return tally.parameters, tally.macs


def classifier_size(inputs: int, classes: int, bias: bool) -> tuple[int, int]:
    """`(parameters, multiply–accumulates)` of the linear classifier."""
    return inputs * classes + (classes if bias else 0), inputs * classes


@dataclass
class _Tally:
    """Sums over the convolutions of one layer; `before` and `behind` are the pixels of its input and its output."""

    before: int
    behind: int
    parameters: int = 0
    macs: int = 0

    def layer(self, layer: MobileLayer, inputs: int) -> None:
        """Add a layer that reads `inputs` channels."""
        if layer.op == "conv":
            self.conv(inputs, layer.width, self.behind, layer.kernel)
            self.excite(inputs, layer.width, layer.squeeze)
        elif layer.op == "mb":
            inner = inputs * layer.expansion
            if layer.expansion > 1:
                self.conv(inputs, inner, self.before)
            self.conv(1, inner, self.behind, layer.kernel)
            self.excite(inputs, inner, layer.squeeze)
            self.conv(inner, layer.width, self.behind)
        elif layer.op != "identity":
            self.shuffled(layer, inputs)
        elif layer.stride > 1 or layer.width != inputs:
            self.conv(inputs, layer.width, self.behind)

    def shuffled(self, layer: MobileLayer, inputs: int) -> None:
        """Add a choice block of SPOS."""
        middle = layer.width // 2
        if layer.stride == 1:
            inputs //= 2
        else:
            self.conv(1, inputs, self.behind, layer.kernel)
            self.conv(inputs, inputs, self.behind)
        if layer.op == "shuffle":
            self.conv(inputs, middle, self.before)
            self.conv(1, middle, self.behind, layer.kernel)
        else:
            self.conv(1, inputs, self.behind, 3)
            self.conv(inputs, middle, self.behind)
            self.conv(1, middle, self.behind, 3)
            self.conv(middle, middle, self.behind)
            self.conv(1, middle, self.behind, 3)
        self.conv(middle, layer.width - inputs, self.behind)

    def conv(self, read: int, outputs: int, pixels: int, kernel: int = 1) -> None:
        """Add a convolution whose filters read `read` channels (1: depthwise), and its batch norm."""
        weights = kernel * kernel * read * outputs
        self.parameters += weights + 2 * outputs
        self.macs += weights * pixels

    def excite(self, inputs: int, channels: int, squeeze: float) -> None:
        """Add squeeze-and-excitation, if there is one."""
        if squeeze:
            squeezed = max(1, int(squeeze * inputs))
            self.parameters += 2 * channels * squeezed + channels + squeezed
            self.macs += 2 * channels * squeezed
