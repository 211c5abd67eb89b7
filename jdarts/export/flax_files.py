"""The two files of a stand-alone Flax network: source and weights."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from jdarts.errors import UserError
from jdarts.export import cells
from jdarts.export.mobile import write_mobile
from jdarts.export.recurrent import write_recurrent
from jdarts.export.source import source
from jdarts.export.weights import flax_weights
from jdarts.genotypes import Genotype
from jdarts.genotypes.macro import mobile_of
from jdarts.train.language.trained import TrainedLanguageModel
from jdarts.train.trained import TrainedNetwork, flat_variables

_USAGE = """
import {module}
variables = {module}.load()
logits = {module}.Network().apply(variables, {module}.normalize(images))  # uint8 {shape} → [N, {classes}]
"""
_IMAGES = '''
CLASSES = {names!r}
MEAN, STD = {mean!r}, {std!r}


def normalize(images):
    """uint8 images `{shape}` → float32, by the mean and the standard deviation of the training images."""
    return (images.astype("float32") / 255 - np.array(MEAN, "float32")) / np.array(STD, "float32")
'''
_LOAD = '''

def load(file=Path(__file__).with_suffix(".npz")):
    """The variables of `Network`, from the file of its weights."""
    variables: dict = {}
    with np.load(file) as arrays:
        for name in arrays.files:
            *path, last = name.split("/")
            place = variables
            for part in path:
                place = place.setdefault(part, {})
            place[last] = arrays[name]
    return variables
'''


def flax_files(network: TrainedNetwork | TrainedLanguageModel, output: Path) -> dict[Path, bytes]:
    """The contents of OUTPUT.py and OUTPUT.npz.

    Raises `UserError` for a name that Python cannot import, and for networks without such a form.
    """
    if output.suffix != ".py" or not output.stem.isidentifier():
        raise UserError(f"cannot write {output}; --format flax writes a Python module, such as -o network.py")
    if isinstance(network, TrainedLanguageModel):
        arrays = {f"params/{name}": np.asarray(array) for name, array in network.params.items()}
        written = write_recurrent(network, output.stem, _LOAD)
    else:
        arrays, written = flax_weights(flat_variables(network)), _of_images(network, output.stem)
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]
    return {output: source(written).encode(), output.with_suffix(".npz"): content.getvalue()}


def _of_images(network: TrainedNetwork, module: str) -> Any:
    """The parts of the source of a network of images."""
    refuse_others(network, "flax")
    height, width, colours = network.image_shape
    shape = f"[N, {height}, {width}, {colours}]"
    usage = _USAGE.format(module=module, shape=shape, classes=len(network.classes))
    statistics = {name: tuple(np.asarray(getattr(network, name), float).ravel().tolist()) for name in ("mean", "std")}
    helpers = _IMAGES.format(shape=shape, names=network.classes, **statistics) + _LOAD
    genotype, sizes = network.genotype, dict(network.sizes)
    mobile = mobile_of(genotype)
    if mobile is not None:
        scaled = mobile.scaled(sizes.get("width_multiplier", 1.0))
        return write_mobile(scaled, sizes["classes"], colours, usage, helpers)
    assert isinstance(genotype, Genotype)
    write = cells.write_nasbench201 if genotype.reduce is None else cells.write_darts
    return cells.written(write(genotype, sizes, colours), genotype.to_text(), usage, helpers)


def refuse_others(network: TrainedNetwork, form: str) -> None:
    """Raise `UserError` unless the network is one of cells or of mobile layers, with a linear classifier."""
    remedy = "use --format stablehlo, which exports every network"
    if network.task not in ("classification", "multilabel"):
        raise UserError(f"--format {form} has no networks for {network.task}; {remedy}")
    if mobile_of(network.genotype) is None and type(network.genotype) is not Genotype:
        raise UserError(f"--format {form} has no networks of a {type(network.genotype).__name__}; {remedy}")
