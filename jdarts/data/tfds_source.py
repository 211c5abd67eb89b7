"""TensorFlow Datasets, read without TensorFlow from a prepared array_record directory."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jdarts.data import cifar
from jdarts.data.arrays import assemble
from jdarts.data.dataset import Dataset, ImagesAndLabels
from jdarts.data.decoding import AS_STORED, ImageForm, decode_image
from jdarts.data.progress import counted
from jdarts.errors import UserError, unknown

OFFICIAL_STATISTICS = {
    "cifar10": (cifar.CIFAR10_MEAN, cifar.CIFAR10_STD),
    "cifar100": (cifar.CIFAR100_MEAN, cifar.CIFAR100_STD),
}
_SOURCE = re.compile(r"(?P<name>\w+)(/(?P<config>\w[\w.\-]*))?(:(?P<version>\d+\.\d+\.\d+))?")
_CHUNK = 1024  # images decoded between two reads


def load_tfds(spec: str, path: str, form: ImageForm = AS_STORED) -> Dataset:
    """`NAME[/CONFIG][:VERSION]` from the TFDS data directory `path` (default: $TFDS_DATA_DIR, or TFDS's own).

    Reads the newest prepared version unless one is given. The training split is `train`; the test split is `test`, or
    `validation` if there is no `test`; with both, `validation` becomes the own validation split; with neither, the data
    can only be searched on. Encoded images are converted to `form` as they are decoded. If the examples carry running
    numbers (`id` of train_00042, as in CIFAR), they are put back into that order, so that halves of the training images
    are the same as with the original files; TFDS stores examples shuffled.

    Raises `UserError` for data that are missing, damaged, or not a classification set.
    """
    builder, image_key, label_key = open_builder(spec, path)
    splits = list(builder.info.splits)
    if "train" not in splits:
        raise UserError(f"tfds:{spec} has the splits {', '.join(splits)}; train is needed, and test for retraining")
    name = spec.partition(":")[0].partition("/")[0]
    held_out = [split for split in ("test", "validation") if split in splits]
    wanted = {"train": "train", **dict(zip(("test", "val"), held_out, strict=False))}
    pairs = {part: _read_split(builder, split, (image_key, label_key), form) for part, split in wanted.items()}
    label: Any = builder.info.features[label_key]
    mean, std = OFFICIAL_STATISTICS.get(name, (None, None)) if form == AS_STORED else (None, None)
    return assemble(
        f"tfds:{spec}",
        pairs,
        num_classes=getattr(label, "num_classes", None),
        mean=mean,
        std=std,
        class_names=getattr(label, "names", ()),
    )


def open_builder(spec: str, path: str) -> tuple[Any, str, str]:
    """The TFDS builder of `NAME[/CONFIG][:VERSION]` in the data directory `path`, and its image and label features."""
    match = _SOURCE.fullmatch(spec)
    if match is None:
        raise UserError(f"data.source is 'tfds:{spec}'; write tfds:NAME, tfds:NAME/CONFIG or tfds:NAME:1.2.3")
    folder = _version_folder(spec, match, Path(path or _default_data_dir()).expanduser())
    _check_features(folder)
    _check_format(folder)

    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder, file_format="array_record")
    return builder, *_feature_keys(builder.info, folder)


def _default_data_dir() -> str:
    return os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"


def _version_folder(spec: str, match: re.Match[str], data_dir: Path) -> Path:
    """The folder DATA_DIR/NAME[/CONFIG]/VERSION; the `UserError` for a missing one says how to make it."""
    parent = data_dir / match["name"] / (match["config"] or "")
    prepared = {
        tuple(map(int, folder.name.split("."))): folder
        for folder in (parent.iterdir() if parent.is_dir() else ())
        if re.fullmatch(r"\d+\.\d+\.\d+", folder.name) and (folder / "dataset_info.json").is_file()
    }
    version = match["version"]
    if prepared and version is None:
        return prepared[max(prepared)]
    if prepared:
        wanted = tuple(map(int, version.split(".")))
        if wanted in prepared:
            return prepared[wanted]
        raise unknown(f"version of {spec.rpartition(':')[0]}", version, (f.name for f in prepared.values()))
    configs = sorted(f.parent.parent.name for f in parent.glob("*/*/dataset_info.json")) if parent.is_dir() else []
    if configs and not match["config"]:
        raise UserError(f"{parent} has several configurations; write tfds:{match['name']}/{configs[0]} for one of them")
    name = spec.partition(":")[0]
    raise UserError(
        f"no prepared dataset {name} at {parent}; make one, once, where TensorFlow is installed: "
        f"python -c \"import tensorflow_datasets as t; t.builder('{name}', data_dir='{data_dir}', "
        "file_format='array_record').download_and_prepare()\", "
        "or with jdarts.data.tfds_export.write_tfds from a source that you have"
    )


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is missing or damaged; prepare the dataset again") from error


def _check_format(folder: Path) -> None:
    info = _read_json(folder / "dataset_info.json")
    formats = [info.get("fileFormat", "tfrecord"), *info.get("alternativeFileFormats", [])]
    if "array_record" not in formats:
        raise UserError(
            f"{folder} is stored as {formats[0]}, which only TensorFlow reads; convert it, once, where "
            "TensorFlow is installed (pip install 'jdarts[prepare]'): "
            f"tfds convert_format --dataset_version_dir={folder} "
            "--out_file_format=array_record"
        )


def _check_features(folder: Path) -> None:
    """Refuse feature classes from outside TFDS, which would import any module that the file names."""
    pending = [_read_json(folder / "features.json")]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            names = [node.get(key) for key in ("pythonClassName", "type")]
            for name in names:
                if isinstance(name, str) and not name.startswith("tensorflow_datasets."):
                    raise UserError(
                        f"{folder / 'features.json'} names the class {name!r}; only TFDS's own features are read"
                    )
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _feature_keys(info: Any, folder: Path) -> tuple[str, str]:
    """Names of the image and the label feature: TFDS's supervised keys, otherwise `image` and `label`."""
    keys = info.supervised_keys
    image, label = keys if keys and len(keys) == 2 and all(isinstance(k, str) for k in keys) else ("image", "label")
    features = info.features
    for key in (image, label):
        if key not in features:
            raise UserError(f"{folder} has no feature {key!r} (it has {', '.join(features)}); use a classification set")
    if features[label].shape != () or not np.issubdtype(features[label].np_dtype, np.integer):
        raise UserError(f"{folder}: feature {label!r} is not a class number; use a classification set")
    return image, label


def _read_split(builder: Any, split: str, keys: tuple[str, str], form: ImageForm) -> ImagesAndLabels:
    """The images and labels of a split, in file order if ids show it; `keys` name the image and label features."""
    import tensorflow_datasets as tfds

    image_key, label_key = keys
    encoded = isinstance(builder.info.features[image_key], tfds.features.Image)
    name = f"{builder.name}: split {split}"
    source = _damaged_as_error(
        name,
        lambda: builder.as_data_source(split, decoders={image_key: tfds.decode.SkipDecoding()} if encoded else None),
    )
    n = len(source)
    images: np.ndarray | None = None
    labels = np.zeros(n, np.int64)
    ids: list[Any] = []
    with counted(f"reading {name}", n) as advance:
        for start in range(0, n, _CHUNK):
            rows = range(start, min(start + _CHUNK, n))
            for i, example in enumerate(_damaged_as_error(name, lambda rows=rows: source.__getitems__(rows)), start):
                where = f"{builder.name}: image {i} of split {split}"
                pixels = decode_image(example[image_key], where, form) if encoded else np.asarray(example[image_key])
                if images is None:
                    images = np.empty((n, *pixels.shape), pixels.dtype)
                if pixels.shape != images.shape[1:]:
                    raise UserError(
                        f"{where} has shape {list(pixels.shape)}, the images before it {list(images.shape[1:])}; "
                        "--data.image_size resizes and --data.color converts them"
                    )
                images[i] = pixels
                labels[i] = example[label_key]
                ids.append(example.get("id"))
            advance(len(rows))
    if images is None:
        raise UserError(f"{builder.name}: split {split} has no images; prepare the dataset again")
    order = _file_order(ids, split)
    return (images, labels) if order is None else (images[order], labels[order])


def _damaged_as_error(name: str, read: Callable[[], Any]) -> Any:
    """The value of `read`, or a `UserError` if the files of the split are missing or damaged."""
    try:
        return read()
    except Exception as error:  # array_record maps its C++ errors to several types, down to plain RuntimeError
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{name} cannot be read ({reason}); prepare the dataset again") from error


def _file_order(ids: list[Any], split: str) -> np.ndarray | None:
    """The order of ids like train_00042, or None if the ids have another form."""
    pattern = re.compile(rf"{re.escape(split)}_(\d+)".encode())
    matches = [pattern.fullmatch(i) if isinstance(i, bytes) else None for i in ids]
    numbers = [int(match[1]) for match in matches if match]
    return np.argsort(np.array(numbers), kind="stable") if len(numbers) == len(ids) else None
