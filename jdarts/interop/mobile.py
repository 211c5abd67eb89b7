"""The arrays of PyTorch mobile networks.

Networks of ProxylessNAS and NAS-Bench-Macro have the names of their authors' code, `first_conv.conv.weight`,
`blocks.3.mobile_inverted_conv.depth_conv.conv.weight`, … and `stem.0.weight`, `features.3.conv.3.weight`, …, if they
have the layers of that code: a convolution, inverted residuals without squeeze-and-excitation and identities, a 1 × 1
convolution. All others have the names of jdarts' layers: `layers.3.expand.conv.weight`, `layers.3.expand.bn.weight`,
`layers.3.squeeze_excite.down.weight`, `classifier.weight`.
"""

from collections.abc import Iterator

from jdarts.genotypes.mobile import MobileArchitecture, MobileLayer
from jdarts.interop.cells import linear
from jdarts.interop.entries import TorchEntry, VariablePath, norm

_CONVS = {
    "conv": ("conv",),
    "mb": ("expand", "depthwise", "project"),
    "identity": ("project",),
    "shuffle": ("bypass_depthwise", "bypass_project", "expand", "depthwise", "project"),
    "xception": (
        *("bypass_depthwise", "bypass_project", "depthwise_1", "point_1", "depthwise_2", "point_2"),
        *("depthwise_3", "project"),
    ),
}
_PROXYLESS = {"expand": "inverted_bottleneck", "depthwise": "depth_conv", "project": "point_linear"}


def mobile_entries(network: MobileArchitecture) -> Iterator[TorchEntry]:
    """Every array of the PyTorch network, in its order; the widths of `network` are already scaled."""
    released = _as_released(network)
    for i, (layer, inputs) in enumerate(zip(network.layers, network.input_widths, strict=True)):
        for conv in _parts(layer, inputs):
            here = (f"layer_{i}", conv)
            if released and network.family == "proxyless":
                name = _proxyless(i, len(network.layers), conv)
                yield from _conv_norm(f"{name}.conv", f"{name}.bn", here)
            elif released:
                stem, first = _macro(i, len(network.layers), layer, conv)
                yield from _conv_norm(f"{stem}.{first}", f"{stem}.{first + 1}", here)
            else:
                name = f"layers.{i}.{conv}"
                yield from _conv_norm(f"{name}.conv", f"{name}.bn", here, affine=network.conventions.affine)
        if layer.squeeze:
            yield from _squeeze_excite(f"layers.{i}.squeeze_excite", (f"layer_{i}", "squeeze_excite"))
    classifier = "classifier.linear" if released and network.family == "proxyless" else "classifier"
    yield from linear(classifier, ("classifier",), bias=network.conventions.bias)


def _as_released(network: MobileArchitecture) -> bool:
    """True if the authors' code of the family has networks of such layers."""
    inner, last = network.layers[1:-1], network.layers[-1]
    plain = len(network.layers) > 1 and all(layer.op in ("mb", "identity") and not layer.squeeze for layer in inner)
    return network.family in ("proxyless", "nasbench_macro") and plain and (last.op, last.kernel) == ("conv", 1)


def _parts(layer: MobileLayer, inputs: int) -> tuple[str, ...]:
    """The convolutions that a layer has."""
    moot = layer.op == "identity" and layer.stride == 1 and layer.width == inputs
    return tuple(
        conv
        for conv in _CONVS[layer.op]
        if not moot
        and not (conv == "expand" and layer.op == "mb" and layer.expansion == 1)
        and not (conv.startswith("bypass") and layer.stride == 1)
    )


def _proxyless(index: int, layers: int, conv: str) -> str:
    if index in (0, layers - 1):
        return "feature_mix_layer" if index else "first_conv"
    return f"blocks.{index - 1}.mobile_inverted_conv.{_PROXYLESS[conv]}"


def _macro(index: int, layers: int, layer: MobileLayer, conv: str) -> tuple[str, int]:
    """The sequence of modules, and the number of the convolution in it."""
    if index in (0, layers - 1):
        return ("out" if index else "stem"), 0
    if layer.op == "identity":
        return f"features.{index - 1}.downsample", 0
    before = [part for part in ("expand", "depthwise", "project") if part != "expand" or layer.expansion > 1]
    return f"features.{index - 1}.conv", 3 * before.index(conv)


def _conv_norm(conv: str, bn: str, here: VariablePath, *, affine: bool = True) -> Iterator[TorchEntry]:
    yield TorchEntry(f"{conv}.weight", ("params", *here, "kernel"), None, "dense")
    yield from norm(bn, (*here, "norm"), affine=affine)


def _squeeze_excite(name: str, here: VariablePath) -> Iterator[TorchEntry]:
    for layer in ("down", "up"):
        yield TorchEntry(f"{name}.{layer}.weight", ("params", *here, layer), None, "linear")
        yield TorchEntry(f"{name}.{layer}.bias", ("params", *here, f"{layer}_bias"), None, "vector")
