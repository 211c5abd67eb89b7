"""The factorised hierarchical space of MnasNet (Tan et al. 2019, §4.1), with the sizes of MobileNetV2 as its base.

Seven blocks; all layers of a block are equal but for the stride of the first. The paper gives filters and layers
relative to MobileNetV2; the published networks A1 and B1 have widths (112, 192) that are no such multiples, so they do
not belong to the space.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from jdarts.errors import UserError
from jdarts.genotypes import MobileArchitecture, MobileLayer, excerpt
from jdarts.genotypes.mobile import SKIPS, MobileOp
from jdarts.genotypes.published_mobile import mobile_network
from jdarts.spaces.decisions import Choices, Decision, FreeChoices, checked_choices, labelled

STEM, HEAD, DROPOUT = 32, 1280, 0.2
BASE_WIDTHS = (16, 24, 32, 64, 96, 160, 320)
BASE_LAYERS = (1, 2, 3, 4, 3, 3, 1)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
OPS: tuple[tuple[MobileOp, int], ...] = (("conv", 1), ("mb", 1), ("mb", 3), ("mb", 6))
"""Op and expansion: a convolution, a separable one, inverted residuals."""
KERNELS, SQUEEZES, FILTERS, MORE_LAYERS = (3, 5), (0.0, 0.25), (0.75, 1.0, 1.25), (-1, 0, 1)


@dataclass(frozen=True)
class MnasNetMobileSpace(FreeChoices):
    """About 4.3·10¹⁷ networks.

    A block decides op, kernel, squeeze-and-excitation, filters, layers and skip: the identity, 3 × 3 maxima, or none.
    The skip of a block of one layer has no effect, since that layer changes the width; its canonical choice is 0.
    """

    name: str = "mnasnet_mobile"

    def make_decisions(self) -> tuple[Decision, ...]:
        """Six decisions a block, `block_0.op` and so on."""
        return tuple(
            labelled(f"block_{block}.{kind}", f"network/{kind}", values)
            for block in range(len(BASE_WIDTHS))
            for kind, values in (
                ("op", [f"{op}{expansion}" for op, expansion in OPS]),
                ("kernel", KERNELS),
                ("squeeze_excite", SQUEEZES),
                ("filters", FILTERS),
                ("layers", _lengths(block)),
                ("skip", SKIPS),
            )
        )

    @property
    def size(self) -> int:
        """The number of different networks."""
        fixed = len(OPS) * len(KERNELS) * len(SQUEEZES) * len(FILTERS)
        lengths = (_lengths(block) for block in range(len(BASE_WIDTHS)))
        return prod(fixed * sum(1 if n == 1 else len(SKIPS) for n in options) for options in lengths)

    def decode(self, choices: Sequence[int]) -> MobileArchitecture:
        """The network; raises `UserError` unless the choices are valid."""
        rest, middle = iter(checked_choices(self, choices)), []
        for block, (base, stride) in enumerate(zip(BASE_WIDTHS, STRIDES, strict=True)):
            op, expansion = OPS[next(rest)]
            kernel, squeeze, factor = KERNELS[next(rest)], SQUEEZES[next(rest)], FILTERS[next(rest)]
            length, skip = _lengths(block)[next(rest)], SKIPS[next(rest)]
            for layer in range(length):
                first = stride if layer == 0 else 1
                middle.append(MobileLayer(op, int(base * factor), kernel, expansion, squeeze, first, skip=skip))
        return mobile_network("mnasnet", (STEM,), middle, HEAD, dropout=DROPOUT)

    def encode(self, architecture: MobileArchitecture) -> Choices:
        """The choices of a network; raises `UserError` for one of another space."""
        found: list[int] = []
        try:
            middle = architecture.layers[1:-1]
            starts = [
                i
                for i, (before, layer) in enumerate(pairwise(architecture.layers[:-1]))
                if layer.stride == 2 or layer.width != before.width
            ]
            blocks = zip(starts, [*starts[1:], len(middle)], BASE_WIDTHS, strict=True)
            for block, (start, end, base) in enumerate(blocks):
                layer, last, length = middle[start], middle[end - 1], end - start
                found += [OPS.index((layer.op, layer.expansion)), KERNELS.index(layer.kernel)]
                found += [SQUEEZES.index(layer.squeeze), FILTERS.index(layer.width / base)]
                found += [_lengths(block).index(length), SKIPS.index(last.skip) if length > 1 else 0]
            if self.decode(found) != architecture:
                raise ValueError
        except (AttributeError, ValueError):
            raise UserError(f"{excerpt(architecture)} does not belong to space {self.name}") from None
        return tuple(found)


def _lengths(block: int) -> tuple[int, ...]:
    """The numbers of layers that a block may have."""
    return tuple(BASE_LAYERS[block] + more for more in MORE_LAYERS if BASE_LAYERS[block] + more > 0)


mnasnet_mobile = MnasNetMobileSpace()
