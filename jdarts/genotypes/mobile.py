"""Architectures of mobile networks: a chain of convolutions, inverted residuals and ShuffleNet blocks.

A layer is written `OP_kK_eE_seR_cWIDTH_sSTRIDE`, a network `FAMILY: LAYER LAYER …`. Parts that have their default value
are left out:

    mnasnet: conv_k3_c32_s2 mb_k3_c16 mb_k3_e6_c24_s2 mb_k5_e3_se0.25_c40_s2 … conv_k1_c1280 dropout_0.2
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from jdarts.errors import UserError, unknown
from jdarts.genotypes.genotype import Cell, excerpt, sequence

MobileOp = Literal["conv", "mb", "identity", "shuffle", "xception"]
OP_NAMES: tuple[MobileOp, ...] = ("conv", "mb", "identity", "shuffle", "xception")
ACTIVATION_NAMES = ("relu", "relu6", "swish")
SKIPS = ("identity", "pool", "none")

_MOST_LAYERS = 200
_MOST = {"kernel": 31, "expansion": 64, "width": 16_384, "stride": 2}
_PART = re.compile(r"(?:(k|e|c|s|se)(\d{1,6}(?:\.\d{1,6})?))|([a-z]\w*)", re.ASCII)
_FIELDS = {"k": "kernel", "e": "expansion", "c": "width", "s": "stride", "se": "squeeze"}
_SKIP_WORDS = {"skip": "identity", "poolskip": "pool", "noskip": "none"}


@dataclass(frozen=True)
class MobileFamily:
    """The conventions of the networks of one paper.

    Attributes:
      activation: that of layers that name none.
      norm_epsilon: ε of batch norm.
      norm_momentum: the weight of a new batch in the running averages of batch norm.
      bias: the classifier has a bias.
      same_padding: TensorFlow's SAME padding; otherwise k // 2 pixels on all sides. They differ at stride 2.
      affine: batch norm has a scale and a shift; that of SPOS' supernet has none.
      keeps_head: width multipliers below 1 leave the width of the last layer as it is.
    """

    activation: str
    norm_epsilon: float = 1e-5
    norm_momentum: float = 0.1
    bias: bool = True
    same_padding: bool = False
    affine: bool = True
    keeps_head: bool = False


MOBILE_FAMILIES = {
    "proxyless": MobileFamily("relu6", norm_epsilon=1e-3),
    "fairnas": MobileFamily("relu6"),
    "mnasnet": MobileFamily("relu", norm_epsilon=1e-3, norm_momentum=0.01, same_padding=True),
    "spos": MobileFamily("relu", bias=False),
    "nasbench_macro": MobileFamily("relu"),
    "mobilenet_v2": MobileFamily("relu6", keeps_head=True),
}
"""ProxylessNAS (arXiv:1812.00332), FairNAS (arXiv:1907.01845), MnasNet (arXiv:1807.11626), SPOS (arXiv:1904.00420),
NAS-Bench-Macro (arXiv:2103.11922), MobileNetV2 (arXiv:1801.04381)."""


@dataclass(frozen=True)
class MobileLayer:
    """One layer of a mobile network.

    Attributes:
      op: `conv`, a convolution with batch norm and activation; `mb`, an inverted residual (MBConv; with expansion 1 a
        separable convolution); `identity`, nothing, or a linear 1 × 1 convolution with batch norm where width or
        size change; `shuffle` and `xception`, the choice blocks of SPOS.
      width: the channels of its output.
      kernel: the side of its filters, an odd number; 3 for `xception`, 1 for `identity`.
      expansion: of `mb`, the channels of the depthwise convolution per input channel.
      squeeze: of `conv` and `mb`, the channels between the two layers of squeeze-and-excitation per input channel of
        the layer; 0 is without.
      stride: 1 or 2.
      activation: `relu`, `relu6`, `swish`, or empty for that of the family.
      skip: of `conv` and `mb`, what is added to the output: the input (`identity`), its 3 × 3 maxima (`pool`) or
        nothing. It acts only at stride 1 and equal widths. Empty stands for `identity` of `mb` and `none` of `conv`.

    Raises `UserError` for a value out of range and for one that the op does not have.
    """

    op: MobileOp
    width: int
    kernel: int = 3
    expansion: int = 1
    squeeze: float = 0.0
    stride: int = 1
    activation: str = ""
    skip: str = ""

    def __post_init__(self):
        if self.op not in OP_NAMES:
            raise unknown("op of a mobile network", str(self.op)[:60], OP_NAMES)
        for name, most in _MOST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise UserError(f"{name} of a layer {self.op} is {excerpt(value)}; use a whole number of 1 to {most}")
        if self.kernel % 2 == 0:
            raise UserError(f"kernel of a layer {self.op} is {self.kernel}; use an odd number")
        if isinstance(self.squeeze, bool) or not isinstance(self.squeeze, int | float) or not 0 <= self.squeeze <= 4:
            raise UserError(f"squeeze of a layer {self.op} is {excerpt(self.squeeze)}; use a number of 0 to 4")
        if self.activation not in ("", *ACTIVATION_NAMES):
            raise unknown("activation of a mobile network", str(self.activation)[:60], ACTIVATION_NAMES)
        object.__setattr__(self, "squeeze", float(self.squeeze))
        if self.op in ("xception", "identity"):
            object.__setattr__(self, "kernel", 3 if self.op == "xception" else 1)
        self._check_skip()
        for name, default in (("expansion", 1), ("squeeze", 0.0), ("skip", "none")):
            allowed = ("mb",) if name == "expansion" else ("mb", "conv")
            if self.op not in allowed and getattr(self, name) != default:
                raise UserError(f"a layer {self.op} has {name} {getattr(self, name)}; only {', '.join(allowed)} has it")

    def _check_skip(self) -> None:
        if self.skip not in ("", *SKIPS):
            raise unknown("skip of a mobile network", str(self.skip)[:60], SKIPS)
        if not self.skip:
            object.__setattr__(self, "skip", self.default_skip)

    @property
    def default_skip(self) -> str:
        """The skip of a layer that names none."""
        return "identity" if self.op == "mb" else "none"

    def to_text(self) -> str:
        """The layer as one word; `read_layer` returns an equal layer."""
        word = self.op
        if self.op in ("conv", "mb", "shuffle"):
            word += f"_k{self.kernel}"
        word += f"_e{self.expansion}" if self.expansion != 1 else ""
        word += f"_se{self.squeeze:g}" if self.squeeze else ""
        word += f"_c{self.width}" + (f"_s{self.stride}" if self.stride != 1 else "")
        word += f"_{self.activation}" if self.activation else ""
        if self.skip != self.default_skip:
            word += "_" + next(name for name, skip in _SKIP_WORDS.items() if skip == self.skip)
        return word

    def op_name(self, inputs: int) -> str:
        """The op without sizes that its place in the network fixes, as in `mb_k3_e6`, for a layer of so many inputs.

        An identity that changes nothing is `skip_connect`, as in cells; one that changes width or size `conv_1x1`.
        """
        if self.op == "identity":
            return "skip_connect" if self.stride == 1 and self.width == inputs else "conv_1x1"
        return self.to_text().partition("_c")[0]

    def to_fields(self) -> dict[str, Any]:
        """The attributes without those that have their default value."""
        defaults = MobileLayer(self.op, self.width)
        names = ("kernel", "expansion", "squeeze", "stride", "activation", "skip")
        changed = {name: getattr(self, name) for name in names if getattr(self, name) != getattr(defaults, name)}
        return {"op": self.op, "width": self.width, **changed}


@dataclass(frozen=True)
class LayerGraph(Cell):
    """The graph of a mobile network: node 0 is the image, node i + 1 the output of layer i."""

    def known_ops(self) -> tuple[str, ...]:
        """The ops that it has."""
        return tuple(op for edges in self.nodes for op, _ in edges)


@dataclass(frozen=True)
class MobileArchitecture:
    """A mobile network: layers one behind the other, global average pooling, dropout, a linear classifier.

    The first layer is a `conv`, which reads the image. A skip that cannot act (stride 2 or another width) is replaced
    by the default one, so that equal networks are equal values. Raises `UserError` for layers that do not fit together.

    Attributes:
      family: a key of `MOBILE_FAMILIES`.
      layers: at least one.
      dropout: the probability that a value in front of the classifier is dropped.

    Example::

        network = parse_architecture("fairnas: conv_k3_c16_s2 mb_k3_e6_c24_s2 mb_k3_e3_c24 conv_k1_c64")
        network.layers[1].expansion    # 6
    """

    family: str
    layers: tuple[MobileLayer, ...]
    dropout: float = 0.0

    def __post_init__(self):
        if self.family not in MOBILE_FAMILIES:
            raise unknown("family of a mobile network", str(self.family)[:60], MOBILE_FAMILIES)
        layers = sequence(self.layers, "layers")
        if not layers or len(layers) > _MOST_LAYERS:
            raise UserError(f"a mobile network has {len(layers)} layers; it needs 1 to {_MOST_LAYERS}")
        if not all(isinstance(layer, MobileLayer) for layer in layers):
            raise UserError("the layers of a mobile network must be MobileLayer objects")
        if layers[0].op != "conv":
            raise UserError(f"the first layer of a mobile network is {layers[0].to_text()}; it must be a conv")
        if isinstance(self.dropout, bool) or not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {excerpt(self.dropout)}; use a number of at least 0 and below 1")
        inputs, fitted = 0, []
        for i, layer in enumerate(layers):
            _check_shuffle(i, layer, inputs)
            default = MOBILE_FAMILIES[self.family].activation
            layer = replace(layer, activation="") if layer.activation == default else layer
            moot = layer.stride != 1 or layer.width != inputs
            fitted.append(replace(layer, skip=layer.default_skip) if moot else layer)
            inputs = layer.width
        object.__setattr__(self, "layers", tuple(fitted))
        object.__setattr__(self, "dropout", float(self.dropout))

    @property
    def conventions(self) -> MobileFamily:
        """The conventions of the family."""
        return MOBILE_FAMILIES[self.family]

    @property
    def input_widths(self) -> tuple[int, ...]:
        """The channels that each layer reads; 0 for the image."""
        return (0, *(layer.width for layer in self.layers[:-1]))

    @property
    def normal(self) -> LayerGraph:
        """The whole network as a graph, for counts of ops."""
        layers = enumerate(zip(self.layers, self.input_widths, strict=True))
        nodes = tuple(((layer.op_name(inputs), i),) for i, (layer, inputs) in layers)
        return LayerGraph(nodes, concat=(len(nodes),), inputs=1)

    @property
    def reduce(self) -> None:
        """None: there is one graph."""
        return

    @property
    def cells(self) -> dict[str, Cell]:
        """`{"normal": …}`, the whole network."""
        return {"normal": self.normal}

    def activation_of(self, layer: MobileLayer) -> str:
        """The activation of one of the layers."""
        return layer.activation or self.conventions.activation

    def has_skip(self, index: int) -> bool:
        """True if the layer adds its input, or the maxima of its input, to its output."""
        layer = self.layers[index]
        return layer.stride == 1 and layer.width == self.input_widths[index] and layer.skip != "none"

    def scaled(self, multiplier: float) -> "MobileArchitecture":
        """The network with all widths times `multiplier`, rounded to multiples of 8 (MobileNetV2's rule).

        A width is at least 8 and at least 0.9 times the exact one. Multiplier 1 changes nothing. Raises `UserError`.
        """
        if multiplier == 1:
            return self
        if not 0 < multiplier <= 100:
            raise UserError(f"the width multiplier is {multiplier:g}; use a number above 0 and at most 100")
        layers = [replace(layer, width=_rounded(layer.width * multiplier)) for layer in self.layers]
        if self.conventions.keeps_head and multiplier < 1:
            layers[-1] = self.layers[-1]
        return replace(self, layers=tuple(layers))

    def to_text(self, *, without: str = "") -> str:
        """One line; `jdarts.genotypes.parse_architecture` returns an equal network. `without` has no effect."""
        del without
        words = [layer.to_text() for layer in self.layers]
        return " ".join([f"{self.family}:", *words, *([f"dropout_{self.dropout:g}"] if self.dropout else [])])

    def to_json(self) -> str:
        """JSON on one line: `{"dropout": 0.2, "layers": [{"op": "conv", "width": 32, …}, …], "mobile": "fairnas"}`."""
        fields = {"mobile": self.family, "dropout": self.dropout, "layers": [x.to_fields() for x in self.layers]}
        return json.dumps(fields, sort_keys=True)


def read_layer(word: str) -> MobileLayer:
    """The layer that `MobileLayer.to_text` writes as `word`. Raises `UserError`."""
    op, *parts = word.split("_")
    if op not in OP_NAMES:
        raise unknown("op of a mobile network", op[:60], OP_NAMES)
    fields: dict[str, Any] = {}
    for part in parts:
        match = _PART.fullmatch(part)
        name, value = "", None
        if match and match[1]:
            name = _FIELDS[match[1]]
            value = float(match[2]) if name == "squeeze" else int(match[2]) if match[2].isdigit() else None
        elif part in ACTIVATION_NAMES:
            name, value = "activation", part
        elif part in _SKIP_WORDS:
            name, value = "skip", _SKIP_WORDS[part]
        if value is None or name in fields:
            raise UserError(
                f"{excerpt(word)} is no layer of a mobile network: {excerpt(part)} is "
                f"{'there twice' if name in fields else 'unknown'}; write layers as mb_k3_e6_se0.25_c24_s2"
            )
        fields[name] = value
    if "width" not in fields:
        raise UserError(f"{excerpt(word)} is no layer of a mobile network: it has no width; write mb_k3_e6_c24")
    return MobileLayer(op, **fields)


def architecture_of(family: str, words: Sequence[str]) -> MobileArchitecture:
    """The network of a family with these layers; a last word `dropout_P` gives the dropout. Raises `UserError`."""
    dropout = 0.0
    if words and words[-1].startswith("dropout_"):
        text = words[-1].removeprefix("dropout_")
        if not re.fullmatch(r"0(\.\d{1,6})?", text, re.ASCII):
            raise UserError(
                f"{excerpt(words[-1])} is no dropout; write a number of at least 0 and below 1: dropout_0.2"
            )
        dropout, words = float(text), words[:-1]
    return MobileArchitecture(family, tuple(read_layer(word) for word in words), dropout)


def _check_shuffle(index: int, layer: MobileLayer, inputs: int) -> None:
    if layer.op not in ("shuffle", "xception"):
        return
    if layer.stride == 1 and (layer.width != inputs or inputs % 2):
        raise UserError(
            f"layer {index}, {layer.to_text()}, reads {inputs} channels; at stride 1 it needs as many as it has "
            "itself, an even number"
        )
    if layer.stride == 2 and layer.width <= inputs:
        raise UserError(f"layer {index}, {layer.to_text()}, reads {inputs} channels; at stride 2 it needs more itself")


def _rounded(width: float) -> int:
    """The nearest multiple of 8, at least 8, and one more if that is less than 0.9 · `width`."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded
