"""Mobile networks in text, JSON and codes of NAS-Bench-Macro."""

import re
from typing import Any

from jdarts.errors import UserError, unknown
from jdarts.genotypes.genotype import excerpt, sequence
from jdarts.genotypes.macro import MacroNetwork
from jdarts.genotypes.mobile import MOBILE_FAMILIES, MobileArchitecture, MobileLayer, architecture_of

MOBILE_TEXT = re.compile(
    rf"(?<![\w.-])({'|'.join(MOBILE_FAMILIES)}):[ \t]*((?:conv_|mb_|identity_|shuffle_|xception_)[^\n'\"]*)"
)
MACRO_CODE = re.compile(r"[012]{8}", re.ASCII)
_KEYS = ("mobile", "layers", "dropout")
_LAYER_KEYS = ("op", "width", "kernel", "expansion", "squeeze", "stride", "activation", "skip")


def read_mobile_text(text: str) -> MobileArchitecture:
    """The one network in a text, which may be a log or a module. Raises `UserError`."""
    found = MOBILE_TEXT.findall(text)
    if len(found) != 1:
        raise UserError(f"the text holds {len(found)} mobile networks; give one of them")
    family, words = found[0]
    return architecture_of(family, words.split())


def read_macro_code(text: str) -> MobileArchitecture:
    """The layers of a network of NAS-Bench-Macro."""
    return MacroNetwork(text).to_mobile()


def mobile_of_json(data: dict[str, Any]) -> MobileArchitecture:
    """The network of the fields that `MobileArchitecture.to_json` writes. Raises `UserError`."""
    for key in data:
        if key not in _KEYS:
            raise unknown("key of a mobile network in JSON", key[:60], _KEYS)
    for key in _KEYS[:2]:
        if key not in data:
            raise UserError(f"mobile network in JSON lacks {key}")
    layers = []
    for i, fields in enumerate(sequence(data["layers"], "layers")):
        if not isinstance(fields, dict) or not {"op", "width"} <= set(fields):
            raise UserError(f"layer {i} in JSON is {excerpt(fields)}; expected an object with op and width")
        for key in fields:
            if key not in _LAYER_KEYS:
                raise unknown(f"key of layer {i} in JSON", key[:60], _LAYER_KEYS)
        layers.append(MobileLayer(**fields))
    return MobileArchitecture(str(data["mobile"]), tuple(layers), data.get("dropout", 0.0))
