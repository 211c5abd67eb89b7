"""Trained networks: their weights in two files of a run folder, and their predictions.

A training ends by writing `model.json` (genotype, sizes, preprocessing, classes) and `weights.npz`. `load` needs these
two files only: neither the data nor the checkpoints.

    import jdarts

    network = jdarts.load("runs/quickstart")
    network.predict("photo.png")[0]                # Prediction(name='7', probability=0.98)
    network.probabilities(images)                  # [N, classes] of uint8 images [N, H, W, C]
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jdarts.config import Experiment
from jdarts.data.augment import Statistics
from jdarts.data.decoding import ImageForm, decode_image
from jdarts.errors import UserError
from jdarts.genotypes import load_architecture
from jdarts.networks.of_genotype import TrainedOnImages, derived_network
from jdarts.runs.folder import RunFolder
from jdarts.train.step import evaluated

MODEL, WEIGHTS = "model.json", "weights.npz"
_BATCH = 64  # images of one call


@dataclass(frozen=True)
class Prediction:
    """The most probable class of an image: its name and its probability."""

    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A trained network of images with its preprocessing; `load` reads one from a run folder.

    Attributes:
      genotype: its architecture.
      sizes: the other arguments of `derived_network`.
      image_shape: height, width and channels of the images that it was trained on.
      mean, std: of each channel, of values from 0 to 1.
      classes: the names of the classes in the order of the outputs.
      variables: `{"params", "batch_stats"}` of the Flax module.
    """

    genotype: TrainedOnImages
    sizes: Mapping[str, Any]
    image_shape: tuple[int, int, int]
    mean: Statistics
    std: Statistics
    classes: tuple[str, ...]
    variables: Mapping[str, Any] = field(repr=False)

    def logits(self, images: Any) -> jax.Array:
        """Logits `[N, classes]` of uint8 images `[N, height, width, channels]` of `image_shape`; can be traced."""
        return evaluated(self.module, self.variables, images, mean=self.mean, std=self.std)

    def probabilities(self, images: Any) -> np.ndarray:
        """Probabilities `[N, classes]`, float32, of images in one of these forms:

        an array uint8 `[N, H, W, C]` or `[H, W, C]`, the path of an image file, or a list of paths and arrays. Images
        of another size or colour are converted as in training: scaled until they cover the size, centre cut out.

        Raises `UserError` for a file that is no image, and for arrays of another type.
        """
        return self._of_prepared(self.prepared(images))

    def predict(self, images: Any) -> list[Prediction]:
        """The most probable class of each image; `images` as in `probabilities`."""
        found = self.probabilities(images)
        return [Prediction(self.classes[int(row.argmax())], float(row.max())) for row in found]

    def prepared(self, images: Any) -> np.ndarray:
        """The images as the network reads them, uint8 `[N, *image_shape]`; `images` as in `probabilities`."""
        if isinstance(images, str | Path):
            images = [images]
        elif hasattr(images, "ndim") and images.ndim == 3:
            images = [np.asarray(images)]
        rows = [self._row(image) for image in images]
        return np.stack(rows) if rows else np.zeros((0, *self.image_shape), np.uint8)

    @cached_property
    def module(self) -> Any:
        """The Flax module, `(images, train) -> (logits, None)`."""
        return derived_network(self.genotype, **self.sizes)

    @cached_property
    def _compiled(self) -> Any:
        return jax.jit(lambda images: jax.nn.softmax(self.logits(images)))

    def _of_prepared(self, images: np.ndarray) -> np.ndarray:
        parts = [np.zeros((0, len(self.classes)), np.float32)]
        for first in range(0, len(images), _BATCH):
            part = images[first : first + _BATCH]
            padded = np.concatenate([part, np.repeat(part[-1:], _BATCH - len(part), axis=0)])  # one compilation
            parts.append(np.asarray(self._compiled(padded), np.float32)[: len(part)])
        return np.concatenate(parts)

    def _row(self, image: Any) -> np.ndarray:
        height, width, channels = self.image_shape
        form = ImageForm((height, width), "gray" if channels == 1 else "rgb")
        if isinstance(image, str | Path):
            try:
                content = Path(image).read_bytes()
            except OSError as error:
                raise UserError(f"cannot read {image}: {error.strerror or error}") from None
            return decode_image(content, str(image), form)
        array = np.asarray(image)
        if array.shape == self.image_shape and array.dtype == np.uint8:
            return array
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] not in (1, 3):
            raise UserError(
                f"an image is {array.dtype} {list(array.shape)}; give uint8 [height, width, 1 or 3], values 0 to 255"
            )
        return form.array(array)


def save_trained(run: RunFolder, config: Experiment, genotype: TrainedOnImages, data: Any, variables: Any) -> None:
    """Write the two files of a trained network into a run folder.

    Args:
      data: the split that it was trained on, or its data set: classes, statistics and shape of the images.
      variables: `(params, batch_stats)`; parts that evaluation does not need are left out.
    """
    sizes = {"classes": data.num_classes, **config.train.network_sizes}
    names = tuple(getattr(data, "class_names", ())) or tuple(map(str, range(data.num_classes)))
    about = {
        "genotype": genotype.to_text(),
        "sizes": sizes,
        "image_shape": list(data.image_shape),
        "mean": np.asarray(data.mean, float).tolist(),
        "std": np.asarray(data.std, float).tolist(),
        "classes": list(names),
    }
    needed = flatten_dict(_shapes(derived_network(genotype, **sizes), tuple(data.image_shape)), sep="/")
    found = flatten_dict({"params": variables[0], "batch_stats": variables[1]}, sep="/")
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **{name: np.asarray(found[name]) for name in needed})  # pyright: ignore[reportArgumentType]
    run.write_bytes(WEIGHTS, content.getvalue())
    run.write_json(MODEL, about)


def load(run: str | Path, *, space: str | None = None) -> TrainedNetwork:
    """The trained network in a run folder of `jdarts train`, or that of the found cell in one of `jdarts run`.

    `space` is the file of your own space, if the genotype has ops that it defines. Raises `UserError` for a folder
    without a trained network and for files that do not fit.
    """
    folder = trained_folder(Path(run))
    if space is not None:
        from jdarts.spaces.user_file import load_space

        load_space(space)
    try:
        about = json.loads((folder / MODEL).read_text())
        if "words" in about:
            raise UserError(f"{folder} holds a language model, which reads words; jdarts export takes it away")
        with np.load(folder / WEIGHTS, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        genotype, shape = load_architecture(about["genotype"]), tuple(about["image_shape"])
        sizes, statistics = about["sizes"], [tuple(about[name]) for name in ("mean", "std")]
        classes = tuple(about["classes"])
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"the trained network in {folder} cannot be read: {error}; train it again") from None
    network: Any = derived_network(genotype, **sizes)  # pyright: ignore[reportArgumentType]
    needed: dict[str, Any] = flatten_dict(_shapes(network, shape), sep="/")
    wrong = [name for name, leaf in needed.items() if name not in arrays or arrays[name].shape != leaf.shape]
    if wrong:
        raise UserError(f"{folder / WEIGHTS} does not fit {MODEL}: {wrong[0]} is missing or has another shape")
    variables = unflatten_dict({name: jnp.asarray(arrays[name]) for name in needed}, sep="/")
    mean, std = statistics
    return TrainedNetwork(genotype, sizes, shape, mean, std, classes, variables)  # pyright: ignore[reportArgumentType]


def about_network(network: TrainedNetwork) -> dict[str, Any]:
    """The content of `model.json`."""
    fields = ("image_shape", "mean", "std", "classes")
    return {"genotype": network.genotype.to_text(), "sizes": dict(network.sizes)} | {
        name: list(getattr(network, name)) for name in fields
    }


def flat_variables(network: TrainedNetwork) -> dict[str, np.ndarray]:
    """The variables by names such as `params/cell_0/…/kernel`."""
    return {name: np.asarray(leaf) for name, leaf in flatten_dict(network.variables, sep="/").items()}


def _shapes(network: Any, image_shape: Sequence[int]) -> Any:
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.result_type(float))
    keys = {name: jax.random.key(0) for name in ("params", "noise", "drop_path")}
    return jax.eval_shape(lambda images: network.init(keys, images, False), images)


def trained_folder(run: Path) -> Path:
    """The folder with the files of a trained network: `run`, or that of its found cell. Raises `UserError`."""
    for folder in (run, run / "train-found"):
        if (folder / MODEL).is_file():
            return folder
    several = sorted(path.parent.name for path in run.glob(f"train-*/{MODEL}")) if run.is_dir() else []
    if several:
        raise UserError(f"run {run} holds {len(several)} trained networks; give the folder of one: {run / several[0]}")
    if not run.is_dir():
        raise UserError(f"{run} does not exist; give the run folder of jdarts train or jdarts run")
    raise UserError(
        f"{run} holds no trained network ({MODEL}); train one with jdarts train or jdarts run, or finish it with "
        "--resume"
    )
