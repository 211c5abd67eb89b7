"""Architectures of the chain space of NAS (Zoph & Le 2017): plain convolutions with skips."""

import re
from dataclasses import dataclass

from jdarts.errors import UserError
from jdarts.genotypes.genotype import excerpt

_LAYER = re.compile(r"(\d)x(\d)x(\d{1,4})s(\d)x(\d)(?:<(\d{1,3}(?:,\d{1,3})*)?)", re.ASCII)


@dataclass(frozen=True)
class ChainLayer:
    """A convolution and what it reads.

    Attributes:
      kernel: height and width of the filters.
      filters: their number.
      stride: by rows and by columns.
      inputs: the earlier layers that it reads, in order; without any it reads the image.
    """

    kernel: tuple[int, int]
    filters: int
    stride: tuple[int, int] = (1, 1)
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True)
class ChainArchitecture:
    """A network of convolutions.

    A layer is written `HEIGHTxWIDTHxFILTERSsROWSxCOLUMNS<INPUTS`. Raises `UserError` for a layer that reads itself or a
    later one, and for sizes below 1.

    Example::

        architecture = ChainArchitecture.read("3x3x24s1x1< 5x1x36s2x1<0")
        architecture.layers[1].inputs    # (0,)
    """

    layers: tuple[ChainLayer, ...]

    def __post_init__(self):
        if not self.layers:
            raise UserError("a chain network has no layers; it needs at least one")
        for i, layer in enumerate(self.layers):
            if min(*layer.kernel, *layer.stride, layer.filters) < 1:
                raise UserError(f"layer {i} has kernel {layer.kernel}, stride {layer.stride}, {layer.filters} filters")
            if list(layer.inputs) != sorted(set(layer.inputs)) or not set(layer.inputs) <= set(range(i)):
                raise UserError(f"layer {i} reads {list(layer.inputs)}; list earlier layers, 0 to {i - 1}, in order")

    @property
    def unread(self) -> tuple[int, ...]:
        """The layers that no other layer reads; the classifier reads them."""
        read = {source for layer in self.layers for source in layer.inputs}
        return tuple(i for i in range(len(self.layers)) if i not in read)

    @classmethod
    def read(cls, text: str) -> "ChainArchitecture":
        """The network that `to_text` writes as `text`. Raises `UserError`."""
        layers = []
        for word in text.split():
            match = _LAYER.fullmatch(word)
            if match is None:
                raise UserError(f"{excerpt(word)} is no layer of a chain; expected HxWxFILTERSsROWSxCOLUMNS<INPUTS")
            height, width, filters, rows, columns = (int(match[i]) for i in range(1, 6))
            inputs = tuple(int(number) for number in match[6].split(",")) if match[6] else ()
            layers.append(ChainLayer((height, width), filters, (rows, columns), inputs))
        return cls(tuple(layers))

    def to_text(self) -> str:
        """One line."""
        return " ".join(
            f"{layer.kernel[0]}x{layer.kernel[1]}x{layer.filters}s{layer.stride[0]}x{layer.stride[1]}"
            f"<{','.join(map(str, layer.inputs))}"
            for layer in self.layers
        )
