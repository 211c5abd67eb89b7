"""Writes a data set as a prepared TFDS directory (array_record), without TensorFlow."""

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jdarts.data.cifar import CIFAR10_CLASSES
from jdarts.data.dataset import Dataset, Images
from jdarts.errors import UserError

OFFICIAL_VERSIONS = {"cifar10": "3.0.2"}  # the features written here are exactly those of this version


def write_tfds(name: str, dataset: Dataset, directory: str | Path, *, class_names: Sequence[str] | None = None) -> Path:
    """Write `dataset` as the TFDS data set `name` below `directory`; returns the version folder.

    Features as in TFDS's CIFAR: `id` (train_00042), `image` (PNG), `label` (ClassLabel); splits train, test and, if the
    data set has one, validation. TFDS then reads it without TensorFlow, and so does `data.source = "tfds:NAME"`:

        write_tfds("cifar10", load(DataConfig(source="cifar10", path="cifar-10-binary.tar.gz")), "tfds")
        load(DataConfig(source="tfds:cifar10", path="tfds"))

    Raises `UserError` for a name that TFDS would not accept, for images that are neither grayscale nor RGB, and if the
    folder already exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"TFDS name is {name!r}; use lower-case letters, digits and '_', starting with a letter")
    channels = dataset.train.images.shape[-1]
    if channels not in (1, 3):
        raise UserError(f"{dataset.name} has {channels} channels; TFDS images are grayscale (1) or RGB (3)")
    if class_names is None and name == "cifar10":
        class_names = CIFAR10_CLASSES
    if class_names is None:
        class_names = dataset.class_names or [str(i) for i in range(dataset.num_classes)]
    names = list(class_names)
    if len(names) != dataset.num_classes:
        raise UserError(
            f"{len(names)} class names for the {dataset.num_classes} classes of {dataset.name}; give one each"
        )
    version = OFFICIAL_VERSIONS.get(name, "1.0.0")
    target = Path(directory).expanduser() / name / version
    if target.exists():
        raise UserError(f"{target} exists already; remove it or choose another directory")

    import tensorflow_datasets as tfds

    builder = _builder_class(name, version, dataset, names)(
        data_dir=str(Path(directory).expanduser()), file_format="array_record"
    )
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    with _quiet():
        builder.download_and_prepare(download_config=config)
    return target


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress progress bars and messages on standard output while TFDS writes."""
    from tensorflow_datasets.core.utils import tqdm_utils

    active = getattr(tqdm_utils, "_active", True)
    tqdm_utils.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tqdm_utils.display_progress_bar(active)


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def _examples(split: str, part: Images) -> Iterator[tuple[int, dict[str, object]]]:
    for i, (image, label) in enumerate(zip(part.images, part.labels, strict=True)):
        # TFDS itself would need TensorFlow to encode an array, so the image is handed over as PNG
        yield i, {"id": f"{split}_{i:05d}", "image": _png(image), "label": int(label)}


def _builder_class(builder_name: str, version: str, dataset: Dataset, class_names: list[str]) -> type:
    """A TFDS builder for this one data set; not registered, so that TFDS's own builder of that name stays."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import registered

    with registered.skip_registration():

        class ArraysBuilder(tfds.core.GeneratorBasedBuilder):
            name = builder_name
            VERSION = tfds.core.Version(version)

            def _info(self):
                features = {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(shape=dataset.train.images.shape[1:]),
                    "label": tfds.features.ClassLabel(names=class_names),
                }
                return tfds.core.DatasetInfo(
                    builder=self,
                    description=f"{dataset.name}, written by jdarts",
                    features=tfds.features.FeaturesDict(features),
                    supervised_keys=("image", "label"),
                )

            def _split_generators(self, dl_manager):
                parts = {"train": dataset.train, "test": dataset.test, "validation": dataset.val}
                return {split: _examples(split, part) for split, part in parts.items() if part is not None}

            def _generate_examples(self):
                raise NotImplementedError("the splits are given as generators")

    return ArraysBuilder
