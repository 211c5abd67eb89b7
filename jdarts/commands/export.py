"""`jdarts export`: take a trained network away in a form that needs no jdarts."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jdarts.commands.arguments import SPACE_HELP, Arguments, Parser, check_folder_of
from jdarts.commands.predict import BEST_HELP, RUN_HELP, write_output
from jdarts.errors import UserError

PLATFORMS = ("cpu", "cuda", "tpu")
FORMATS = {
    "stablehlo": "a program with its weights, for jax.export, of any batch size (default)",
    "flax": "a Flax module as readable source, network.py, with its weights beside it, network.npz",
    "torch": "a state_dict by the names of the authors' PyTorch code: .safetensors, .npz, or with torch .pth",
    "onnx": "an ONNX model, float32 images, of any batch size",
    "safetensors": "the weights by jdarts' names",
    "npz": "the same",
}
EPILOG = (
    "FILE.json has the genotype in the notation of the DARTS code, the sizes of the network, the classes, and the "
    "size, mean and std of the images. The StableHLO program takes uint8 images [N, height, width, channels] and "
    "returns logits; the ONNX model takes normalised ones, float32. The program of a detector returns boxes "
    "[N, 100, 4], (left, top, right, bottom) in pixels, scores and classes [N, 100]; class -1 is no object. Its images "
    "are scaled until their longer and shorter sides are at most settings.image_size, and lie at the top left of the "
    "mean colour."
)


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the command with `add(name, execute, help)`."""
    export = add("export", _export, "write a trained network in a form that needs no jdarts", epilog=EPILOG)
    export.add_argument("run", metavar="RUN", help=RUN_HELP)
    export.add_argument(
        "--format",
        choices=tuple(FORMATS),
        default="stablehlo",
        help="; ".join(f"{name}: {text}" for name, text in FORMATS.items()),
    )
    export.add_argument("-o", "--output", metavar="FILE", required=True, help="the file; FILE.json describes it")
    export.add_argument("--best", action="store_true", help=BEST_HELP)
    export.add_argument("--space", metavar="FILE.py", help=SPACE_HELP)


def _export(arguments: Arguments) -> None:
    check_folder_of(arguments.output)
    output = Path(arguments.output)
    _check_packages(arguments.format, output)
    network = _trained(arguments)
    files = _files(arguments.format, network, output)
    for path, content in files.items():
        write_output(str(path), content)
        print(path)


def _check_packages(kind: str, output: Path) -> None:
    """Raise `UserError` for what is missing, before anything slow is imported."""
    from jdarts.export.packages import required

    if kind == "torch":
        from jdarts.export.torch_files import check_torch_file

        check_torch_file(output)
    elif kind == "onnx":
        required("jax2onnx", "--format onnx")
    elif kind in ("stablehlo", "safetensors"):
        required("flatbuffers" if kind == "stablehlo" else "safetensors.numpy", f"--format {kind}")


def _trained(arguments: Arguments) -> Any:
    from jdarts.train.language.trained import is_language_model, load_language_model
    from jdarts.train.trained import load

    if not arguments.best and is_language_model(arguments.run):
        return load_language_model(arguments.run)
    return load(arguments.run, space=arguments.space, best=arguments.best)


def _files(kind: str, network: Any, output: Path) -> dict[Path, str | bytes]:
    """The contents of all files by their paths."""
    from jdarts.train.language.trained import TrainedLanguageModel
    from jdarts.train.trained import about_network

    words = isinstance(network, TrainedLanguageModel)
    about = network.about() if words else about_network(network)
    described: dict[Path, str | bytes] = {Path(f"{output}.json"): json.dumps(about, indent=1) + "\n"}
    if kind == "flax":
        from jdarts.export.flax_files import flax_files

        return {**flax_files(network, output), **described}
    if kind == "torch":
        from jdarts.export.torch_files import torch_file

        return {output: torch_file(network, output), **described}
    if kind == "onnx":
        from jdarts.export.onnx_file import onnx_file

        return {output: onnx_file(network), **described}
    if kind == "stablehlo":
        if words:
            raise UserError("--format stablehlo exports networks of images; use --format flax for a language model")
        return {output: _program(network), **described}
    return {output: _weights(kind, network, words), **described}


def _weights(kind: str, network: Any, words: bool) -> bytes:
    import numpy as np

    from jdarts.export.packages import required
    from jdarts.train.trained import flat_variables

    arrays = {f"params/{name}": array for name, array in network.params.items()} if words else flat_variables(network)
    if kind == "safetensors":
        return required("safetensors.numpy", "--format safetensors").save(arrays)
    held = io.BytesIO()
    np.savez(held, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]
    return held.getvalue()


def _program(network: Any) -> bytes:
    """The serialized program `uint8 images [batch, height, width, channels] -> logits`, for every batch size.

    That of a detector returns `(boxes, scores, classes)`. The program runs on all `PLATFORMS`. The form of its
    operations is that which suits the platform of this process.
    """
    import jax
    from jax import export

    (batch,) = export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *network.image_shape), "uint8")
    return bytes(export.export(jax.jit(_outputs(network)), platforms=PLATFORMS)(images).serialize())


def _outputs(network: Any) -> Callable:
    """The function that `_program` exports."""
    if network.task != "detection":
        return network.logits
    from jdarts.train.detector import Detector

    detector = Detector(network)
    return lambda images: tuple(detector.on_canvas(images))
