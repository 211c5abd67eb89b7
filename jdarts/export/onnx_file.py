"""A trained network as an ONNX model, by jax2onnx.

The stand-alone Flax source is converted, not jdarts' own network, which has primitives of its own. jax2onnx 0.17
replaces layers of Flax by its own, some of them with other shapes; so the network is traced first, and the operations
are converted.
"""

import importlib.util
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
from jax import export
from jax.extend import core

from jdarts.errors import UserError
from jdarts.export.flax_files import flax_files
from jdarts.export.packages import required
from jdarts.train.trained import TrainedNetwork


def onnx_file(network: Any) -> bytes:
    """The model `float32 images [batch, height, width, channels] -> logits`, for every batch size.

    The images are normalised by mean and std (FILE.json). Raises `UserError` for networks without Flax source.
    """
    if not isinstance(network, TrainedNetwork):
        raise UserError("--format onnx exports networks of images; use --format flax or torch for a language model")
    jax2onnx = required("jax2onnx", "--format onnx")
    (batch,) = export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *network.image_shape), "float32")
    with tempfile.TemporaryDirectory() as folder:
        module = _stand_alone(network, Path(folder))
        variables = module.load()
    traced = jax.make_jaxpr(lambda images: module.Network().apply(variables, images))(images)
    run = core.jaxpr_as_fun(traced)
    return jax2onnx.to_onnx(lambda images: run(images)[0], [images]).SerializeToString()


def _stand_alone(network: TrainedNetwork, folder: Path) -> ModuleType:
    """The module that `--format flax` writes."""
    for path, content in flax_files(network, folder / "network.py").items():
        path.write_bytes(content)
    spec = importlib.util.spec_from_file_location("network", folder / "network.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
