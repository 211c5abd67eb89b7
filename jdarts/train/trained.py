"""Trained networks: their weights in two files of a run folder, and their predictions.

A training ends by writing `model.json` (genotype, sizes, preprocessing, classes) and `weights.npz`. `load` needs these
two files only: neither the data nor the checkpoints.

    import jdarts

    network = jdarts.load("runs/quickstart")
    network.predict("photo.png")[0]                # Prediction(name='7', probability=0.98)
    network.probabilities(images)                  # [N, classes] of uint8 images [N, H, W, C]
    jdarts.load("runs/quickstart", best=True)      # the network of the best epoch by validation
"""

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from jdarts.genotypes.macro import mobile_of
from jdarts.networks.of_genotype import TrainedOnImages
from jdarts.runs.folder import RunFolder
from jdarts.train.best import BEST
from jdarts.train.frozen import HEADS
from jdarts.train.step import TrainState, evaluated
from jdarts.train.tasks import TASKS
from jdarts.train.tasks.task import NO_SCALE, PLAIN, OutputScale, PredictionTask
from jdarts.train.transfer import check_sizes, transferred

MODEL, WEIGHTS = "model.json", "weights.npz"
_BATCH = 64  # images of one call


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
      task: the name of its task (`jdarts.train.tasks`).
      scale: of the numbers that a regression predicts.
      settings: those of the task that a prediction needs.
    """

    genotype: TrainedOnImages
    sizes: Mapping[str, Any]
    image_shape: tuple[int, int, int]
    mean: Statistics
    std: Statistics
    classes: tuple[str, ...]
    variables: Mapping[str, Any] = field(repr=False)
    task: str = "classification"
    scale: OutputScale = NO_SCALE
    settings: Mapping[str, Any] = field(default_factory=dict)

    def logits(self, images: Any) -> jax.Array:
        """Logits `[N, classes]` of uint8 images `[N, height, width, channels]` of `image_shape`; can be traced.

        Segmentation has `[N, height, width, classes]`; the outputs of a regression are not in their units (`scale`).
        """
        return evaluated(self.module, self.variables, images, mean=self.mean, std=self.std)

    def probabilities(self, images: Any) -> np.ndarray:
        """Probabilities `[N, classes]`, float32 (segmentation: `[N, H, W, classes]`), of images in one of these forms:

        an array uint8 `[N, H, W, C]` or `[H, W, C]`, the path of an image file, or a list of paths and arrays. Images
        of another size or colour are converted as in training: scaled until they cover the size, centre cut out.

        A regression gives the predicted numbers instead. Raises `UserError` for a file that is no image, and for arrays
        of another type.
        """
        return self._of_prepared(self.prepared(images))

    def predict(self, images: Any) -> list[Any]:
        """The prediction for each image; `images` as in `probabilities`.

        It is the most probable class, a dict of numbers, the list of the labels of probability one half and more, or
        the mask uint8 [H, W], depending on the task.
        """
        task = predicting(self.task)
        return [task.prediction(row, self.classes) for row in self.probabilities(images)]

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
        return network_of(self.task, self.genotype, self.sizes)

    @cached_property
    def _compiled(self) -> Any:
        task = predicting(self.task)
        return jax.jit(lambda images: task.values(self.logits(images), self.scale))

    def _of_prepared(self, images: np.ndarray) -> np.ndarray:
        if len(images) == 0:
            return np.zeros((0, len(self.classes)), np.float32)
        parts = []
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


def predicting(task: str) -> PredictionTask:
    """The task of a name; raises `UserError` for detection, whose networks have a command of their own."""
    found: Any = TASKS[task]
    if not hasattr(found, "prediction"):
        raise UserError("this run has trained a detector; use jdarts detect predict, or jdarts.detection")
    return found


def network_of(task: str, genotype: TrainedOnImages, sizes: Mapping[str, Any]) -> Any:
    """The module of a trained network; `sizes` has the number of outputs as `classes`."""
    rest = dict(sizes)
    return TASKS[task].network(genotype, rest.pop("classes"), rest, PLAIN)


def save_trained(run: RunFolder, config: Experiment, genotype: TrainedOnImages, data: Any, variables: Any) -> None:
    """Write the two files of a trained network into a run folder.

    Args:
      data: the split that it was trained on, or its data set: classes, statistics and shape of the images.
      variables: `(params, batch_stats)`; parts that evaluation does not need are left out.
    """
    sizes, scale = {"classes": data.num_classes, **config.train.network_sizes}, OutputScale.of(data)
    about = {
        "task": config.train.task,
        "genotype": genotype.to_text(),
        "sizes": sizes,
        "image_shape": list(data.image_shape),
        "mean": np.asarray(data.mean, float).tolist(),
        "std": np.asarray(data.std, float).tolist(),
        "classes": list(_class_names(data)),
        "scale": [list(scale.mean), list(scale.std)],
        "settings": TASKS[config.train.task].settings(config),
    }
    needed = flatten_dict(_shapes(network_of(config.train.task, genotype, sizes), tuple(data.image_shape)), sep="/")
    found = flatten_dict({"params": variables[0], "batch_stats": variables[1]}, sep="/")
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **{name: np.asarray(found[name]) for name in needed})  # pyright: ignore[reportArgumentType]
    run.write_bytes(WEIGHTS, content.getvalue())
    run.write_json(MODEL, about)


def _class_names(data: Any) -> tuple[str, ...]:
    return tuple(getattr(data, "class_names", ())) or tuple(map(str, range(data.num_classes)))


def started_from(
    network: "TrainedNetwork", config: Experiment, data: Any, tell: Callable[[str], None]
) -> Callable[[TrainState], TrainState]:
    """The function that puts a trained network into the first state of a training (`jdarts.train.transfer`).

    The head is taken over if the task is the same, but for the parts that belong to other classes. `tell` receives one
    line for every mismatch. Raises `UserError` for networks of other sizes.
    """
    settings = config.train
    mobile = mobile_of(network.genotype) is not None
    names = ("width_multiplier",) if mobile else ("channels", "cells", "stem")
    names += ("pyramid_channels",) if settings.task == "detection" else ()
    check_sizes(settings.start, network.sizes, settings.network_sizes, names)
    new = _new_parts(network, settings.task, _class_names(data))
    if new:
        tell(
            f"new head: {network.task} of {len(network.classes)} ({', '.join(network.classes[:3])}, …) there, "
            f"{settings.task} of {data.num_classes} here"
        )
    stored = flat_variables(network)

    def start(state: TrainState) -> TrainState:
        kept = transferred(state.weights, state.batch_stats, stored, new=new, tell=tell)
        average = jax.tree.map(jnp.copy, kept) if state.average is not None else None
        return replace(state, weights=kept[0], batch_stats=kept[1], average=average)

    return start


def _new_parts(network: "TrainedNetwork", task: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The modules of a head that a trained network does not have for this task and these classes."""
    if network.task != task:
        return HEADS
    return () if network.classes == classes else TASKS[task].class_parts


def load(run: str | Path, *, space: str | None = None, best: bool = False) -> TrainedNetwork:
    """The trained network in a run folder of `jdarts train`, or that of the found cell in one of `jdarts run`.

    `space` is the file of your own space, if the genotype has ops that it defines. With `best` it is the network of the
    best epoch by validation, not of the last one; the folder `RUN/best` denotes it, too. Raises `UserError` for a
    folder without a trained network and for files that do not fit.
    """
    folder = trained_folder(Path(run), best=best)
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
        classes, task = tuple(about["classes"]), about.get("task", "classification")
        scale, settings = OutputScale(*map(tuple, about.get("scale", ((), ())))), about.get("settings", {})
        network: Any = network_of(task, genotype, sizes)  # pyright: ignore[reportArgumentType]
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"the trained network in {folder} cannot be read: {error}; train it again") from None
    needed: dict[str, Any] = flatten_dict(_shapes(network, shape), sep="/")
    wrong = [name for name, leaf in needed.items() if name not in arrays or arrays[name].shape != leaf.shape]
    if wrong:
        raise UserError(f"{folder / WEIGHTS} does not fit {MODEL}: {wrong[0]} is missing or has another shape")
    variables = unflatten_dict({name: jnp.asarray(arrays[name]) for name in needed}, sep="/")
    mean, std = statistics
    return TrainedNetwork(genotype, sizes, shape, mean, std, classes, variables, task, scale, settings)  # pyright: ignore[reportArgumentType]


def about_network(network: TrainedNetwork) -> dict[str, Any]:
    """The content of `model.json`."""
    fields = ("image_shape", "mean", "std", "classes")
    about = {"task": network.task, "genotype": network.genotype.to_text(), "sizes": dict(network.sizes)}
    scale = {"scale": [list(network.scale.mean), list(network.scale.std)], "settings": dict(network.settings)}
    return about | {name: list(getattr(network, name)) for name in fields} | scale


def flat_variables(network: TrainedNetwork) -> dict[str, np.ndarray]:
    """The variables by names such as `params/cell_0/…/kernel`."""
    return {name: np.asarray(leaf) for name, leaf in flatten_dict(network.variables, sep="/").items()}


def _shapes(network: Any, image_shape: Sequence[int]) -> Any:
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.result_type(float))
    keys = {name: jax.random.key(0) for name in ("params", "noise", "drop_path")}
    return jax.eval_shape(lambda images: network.init(keys, images, False), images)


def trained_folder(run: Path, *, best: bool = False) -> Path:
    """The folder with the files of a trained network: `run`, or that of its found cell. Raises `UserError`."""
    for folder in (run, run / "train-found"):
        kept = folder / BEST if best else folder
        if (kept / MODEL).is_file():
            return kept
        if best and (folder / MODEL).is_file():
            raise UserError(
                f"{folder} has no best epoch, as nothing was held out for validation; train with --train.val_fraction"
            )
    several = sorted(path.parent.name for path in run.glob(f"train-*/{MODEL}")) if run.is_dir() else []
    if several:
        raise UserError(f"run {run} holds {len(several)} trained networks; give the folder of one: {run / several[0]}")
    if not run.is_dir():
        raise UserError(f"{run} does not exist; give the run folder of jdarts train or jdarts run")
    raise UserError(
        f"{run} holds no trained network ({MODEL}); train one with jdarts train or jdarts run, or finish it with "
        "--resume"
    )
