"""The blocks of a mobile network at their places, and sums over the blocks.

Two blocks of one kind, at places of one size, share a key and so an entry of a table. The keys are those of the
ProxylessNAS release (Cai et al. 2019, arXiv:1812.00332):

    Conv-input:224x224x3-output:112x112x32
    expanded_conv-input:112x112x16-output:56x56x24-expand:6-kernel:3-stride:2-idskip:0
    Conv_1-input:7x7x320-output:7x7x1280
    Logits-input:7x7x1280-output:1000

Blocks that the release does not have are written in the same way: `conv`, `identity` (a projection), `shuffle`,
`xception`. Squeeze-and-excitation and activations other than ReLU and ReLU6 are appended: `-se:0.25-act:swish`. An
identity that changes neither width nor size has no block.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes.macro import mobile_of
from jdarts.genotypes.mobile import MOBILE_FAMILIES, MobileArchitecture, MobileLayer
from jdarts.networks.image_sizes import sides_of
from jdarts.networks.mobile.size import check_mobile, classifier_size, layer_size
from jdarts.spaces.decisions import DecisionSpace


@dataclass(frozen=True)
class Block:
    """A part of a mobile network, and the place where it stands.

    Attributes:
      key: of a table.
      height, width, inputs: pixels and channels of what it reads.
      layer: None for the classifier.
      family: of the network.
      skips: the layer adds its input to its output.
      classes: of the classifier; 0 for a layer.
    """

    key: str
    height: int
    width: int
    inputs: int
    layer: MobileLayer | None
    family: str
    skips: bool = False
    classes: int = 0


def blocks_of(
    architecture: Any, *, classes: int = 1000, image_size: int | tuple[int, int] = 224
) -> tuple[Block | None, ...]:
    """One block for each layer, None for an identity that costs nothing, and behind them the classifier.

    Raises `UserError` for an architecture that is no mobile network.
    """
    mobile = _mobile(architecture)
    check_mobile(image_size=image_size)
    (height, width), inputs = sides_of(image_size), 3
    found: list[Block | None] = []
    for i, layer in enumerate(mobile.layers):
        free = layer.op == "identity" and layer.stride == 1 and layer.width == inputs
        key = _key(mobile, i, height, width, inputs)
        block = Block(key, height, width, inputs, layer, mobile.family, mobile.has_skip(i))
        found.append(None if free else block)
        height, width, inputs = -(-height // layer.stride), -(-width // layer.stride), layer.width
    key = f"Logits-input:{height}x{width}x{inputs}-output:{classes}"
    return (*found, Block(key, height, width, inputs, None, mobile.family, classes=classes))


@dataclass(frozen=True)
class ChoiceCosts:
    """The cost of every option of a space with one decision a layer.

    Attributes:
      fixed: the sum over the parts that all networks share.
      layers: for every decision the costs of its options, in their order.
    """

    fixed: float
    layers: tuple[tuple[float, ...], ...]

    def of(self, choices: Sequence[int]) -> float:
        """The cost of the network with these choices."""
        return self.fixed + sum(costs[choice] for costs, choice in zip(self.layers, choices, strict=True))

    def rows(self, options: int) -> np.ndarray:
        """The costs as a matrix `[layers, options]`; options that a layer does not have cost nothing."""
        return np.array([[*costs, *([0.0] * (options - len(costs)))] for costs in self.layers])


def choice_costs(
    space: DecisionSpace,
    cost: Callable[[Block], float],
    *,
    classes: int = 1000,
    image_size: int | tuple[int, int] = 224,
) -> ChoiceCosts:
    """The costs of the options of `space`, where the cost of a network is the sum over its blocks.

    Raises `UserError` for a space whose decisions are not the blocks of successive layers of fixed width.
    """
    decisions = space.decisions
    if not all(decision.kind == "block" for decision in decisions):
        raise UserError(
            f"space {space.name} has no costs for each layer; the spaces with one decision a layer are nasbench_macro, "
            "proxyless, fairnas, mobile_s5 and spos"
        )
    most = max(decision.options for decision in decisions)
    variants = []
    for option in range(most):
        choices = [min(option, decision.options - 1) for decision in decisions]
        blocks = blocks_of(space.decode(choices), classes=classes, image_size=image_size)
        variants.append([0.0 if block is None else cost(block) for block in blocks])
    table = np.array(variants)
    # The decisions are those of successive layers in front of the last convolution and the classifier.
    first = table.shape[1] - 2 - len(decisions)
    inner = slice(first, first + len(decisions))
    fixed = float(table[0].sum() - table[0, inner].sum())
    layers = tuple(tuple(table[: decision.options, first + i].tolist()) for i, decision in enumerate(decisions))
    return ChoiceCosts(fixed, layers)


def block_parameters(block: Block) -> float:
    """The weights of a block."""
    return float(_size(block)[0])


def block_macs(block: Block) -> float:
    """The multiply–accumulates of a block for one image."""
    return float(_size(block)[1])


def _size(block: Block) -> tuple[int, int]:
    if block.layer is None:
        return classifier_size(block.inputs, block.classes, MOBILE_FAMILIES[block.family].bias)
    return layer_size(block.layer, block.inputs, (block.height, block.width))


def keys_of(space: DecisionSpace, *, classes: int = 1000, image_size: int | tuple[int, int] = 224) -> dict[str, Block]:
    """The different blocks of all networks of a space, by key, in the order of the layers."""
    found: dict[str, Block] = {}

    def note(block: Block) -> float:
        found.setdefault(block.key, block)
        return 0.0

    choice_costs(space, note, classes=classes, image_size=image_size)
    return found


def _mobile(architecture: Any) -> MobileArchitecture:
    mobile = mobile_of(architecture)
    if mobile is None:
        raise UserError(
            f"{type(architecture).__name__} is no mobile network; tables of blocks exist for mobile networks and those "
            "of NAS-Bench-Macro"
        )
    return mobile


def _key(mobile: MobileArchitecture, index: int, height: int, width: int, inputs: int) -> str:
    layer = mobile.layers[index]
    behind = f"{-(-height // layer.stride)}x{-(-width // layer.stride)}x{layer.width}"
    place = f"input:{height}x{width}x{inputs}-output:{behind}"
    activation = mobile.activation_of(layer)
    extra = f"-se:{layer.squeeze:g}" if layer.squeeze else ""
    extra += f"-act:{activation}" if activation == "swish" else ""
    if layer.op == "conv" and index == 0 and layer.kernel == 3:
        return f"Conv-{place}{extra}"
    if layer.op == "conv" and index == len(mobile.layers) - 1 and layer.kernel == 1:
        return f"Conv_1-{place}{extra}"
    sizes = f"kernel:{layer.kernel}-stride:{layer.stride}"
    skip = int(mobile.has_skip(index))
    if layer.op == "mb":
        pool = "-pool" if skip and layer.skip == "pool" else ""
        return f"expanded_conv-{place}-expand:{layer.expansion}-{sizes}-idskip:{skip}{pool}{extra}"
    if layer.op == "conv":
        return f"conv-{place}-{sizes}-idskip:{skip}{extra}"
    return f"{layer.op}-{place}-{sizes}"
