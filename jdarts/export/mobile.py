"""Exported mobile networks."""

from typing import Any

from jdarts.export import mobile_layers
from jdarts.export.source import Raw, Written, call
from jdarts.genotypes.mobile import MobileArchitecture, MobileLayer

_NETWORK = '''
class Network(nn.Module):
    """Layer by layer, mean over the pixels, linear layer."""

    @nn.compact
    def __call__(self, images, train: bool = False):
        """Normalised images `[N, H, W, {colours}]` → logits `[N, {classes}]`."""
        x = images
{layers}
        return nn.Dense({classes}, use_bias={bias}, name="classifier")(x.mean((1, 2)))
'''
_ACTIVATIONS = {"relu": Raw("nn.relu"), "relu6": Raw("relu6"), "swish": Raw("nn.swish")}


def write_mobile(network: MobileArchitecture, classes: int, colours: int, usage: str, helpers: str) -> Written:
    """The parts of the file of a mobile network, its widths already scaled."""
    lines = []
    for i, (layer, inputs) in enumerate(zip(network.layers, network.input_widths, strict=True)):
        made = _layer(network, i, layer, inputs or colours)
        lines += [f"        x = {made}(x, train)"] if made else []
    family = network.conventions
    constants: dict[str, Any] = {
        "EPSILON": family.norm_epsilon,
        "MOMENTUM": 1 - family.norm_momentum,
        "AFFINE": family.affine,
        "SAME_PADDING": family.same_padding,
    }
    code = _NETWORK.format(layers="\n".join(lines), classes=classes, colours=colours, bias=family.bias)
    title = f"A mobile network of {len(network.layers)} layers, in the conventions of {network.family}."
    return Written(title, network.to_text(), mobile_layers, constants, code, usage, helpers)


def _layer(network: MobileArchitecture, index: int, layer: MobileLayer, inputs: int) -> str:
    """The constructor of a layer; empty for one that changes nothing."""
    activation, name = _ACTIVATIONS[network.activation_of(layer)], {"name": f"layer_{index}"}
    options: dict[str, Any] = {"squeezed": max(1, int(layer.squeeze * inputs))} if layer.squeeze else {}
    options |= {"skip": layer.skip} if network.has_skip(index) else {}
    match layer.op:
        case "conv":
            return call("ConvLayer", layer.width, layer.kernel, layer.stride, activation, **options, **name)
        case "mb":
            sizes = (layer.width, layer.expansion, layer.kernel, layer.stride)
            return call("InvertedResidual", *sizes, activation, **options, **name)
        case "identity":
            moot = layer.stride == 1 and layer.width == inputs
            return "" if moot else call("Projection", layer.width, layer.stride, **name)
        case "shuffle":
            return call("ShuffleUnit", layer.width, layer.kernel, layer.stride, activation, **name)
        case "xception":
            return call("XceptionUnit", layer.width, layer.stride, activation, **name)
