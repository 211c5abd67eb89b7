"""Optional packages of the exported forms."""

import importlib
from typing import Any

from jdarts.errors import UserError

_EXTRAS = {"flatbuffers": "export", "safetensors": "export", "torch": "torch", "jax2onnx": "onnx"}


def required(module: str, what: str) -> Any:
    """The module of that name, which `what` needs; `UserError` with the command to install it if it is absent."""
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError:
        extra = _EXTRAS.get(package, package)
        raise UserError(f'{what} needs the package {package}: pip install "jdarts[{extra}]"') from None
