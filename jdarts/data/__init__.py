"""Data: images with their splits, batches and on-device augmentation, and text.

dataset = load(DataConfig(source="cifar10", path="cifar-10-binary.tar.gz"))
halves = dataset.for_search(config)       # train and val only: a search never sees the test images
data = dataset.for_training()             # train, optional val, test
text = load_text(DataConfig(source="ptb", path=folder))   # word numbers: train, valid, test

`SOURCES` names the sources of images, `jdarts.data.text.FILES` those of text.
"""

from jdarts.config import DataConfig
from jdarts.data.arrays import channel_statistics, converted_to, from_arrays, remapped
from jdarts.data.augment import Augmentation, cutout, normalize, random_crop, random_flip
from jdarts.data.batching import batch_indices, epoch_permutation, random_batch, steps_per_epoch
from jdarts.data.dataset import (
    Dataset,
    Images,
    SearchData,
    TestImages,
    TrainImages,
    TrainingData,
    ValImages,
)
from jdarts.data.decoding import ImageForm
from jdarts.data.text import TextData, is_text, load_text
from jdarts.errors import UserError, unknown

__all__ = [
    "SOURCES",
    "Augmentation",
    "Dataset",
    "Images",
    "SearchData",
    "TestImages",
    "TextData",
    "TrainImages",
    "TrainingData",
    "ValImages",
    "batch_indices",
    "channel_statistics",
    "cutout",
    "epoch_permutation",
    "from_arrays",
    "load",
    "load_text",
    "normalize",
    "random_batch",
    "random_crop",
    "random_flip",
    "steps_per_epoch",
]

SOURCES = ("digits", "cifar10", "cifar100", "tfds", "folder", "table", "npz", "synthetic")
_WITH_DETAILS = {"tfds": "tfds:NAME", "synthetic": "synthetic:HxWxC:CLASSES:IMAGES"}


def load(config: DataConfig) -> Dataset:
    """Load the images of `config.source` and `config.path`, converted, ordered and limited as in `config`.

    | source | path |
    |---|---|
    | `digits` | – (8x8 digits that come with scikit-learn) |
    | `cifar10`, `cifar100` | official folder, a folder around it, or .tar.gz; binary or python version |
    | `tfds:NAME[/CONFIG][:VERSION]` | TFDS data directory prepared as array_record |
    | `folder` | folder with train/CLASS/*.png and optionally test/ and val/ |
    | `table` | folder with train.csv and optionally test.csv and val.csv: columns image, label |
    | `npz` | file with x_train, y_train and optionally x_test, y_test, x_val, y_val |
    | `synthetic:HxWxC:CLASSES:IMAGES` | – (patterns plus noise) |

    Mean and standard deviation are the published ones for CIFAR, otherwise those of the training images.

    Warns with `DataNote` about conversions and with `DataWarning` about possible mistakes. Raises `UserError` for an
    unknown source and for anything missing, damaged or inconsistent.
    """
    kind, colon, details = config.source.partition(":")
    if kind == "stream":
        raise UserError(
            f"data.source is {config.source!r}: streamed images serve jdarts search, train and run; here all images "
            "must be in memory (folder or tfds:NAME)"
        )
    if is_text(kind):
        raise UserError(
            f"data.source is {config.source!r}, a text; it trains recurrent cells (jdarts search --space.name "
            "darts_rnn, jdarts train --genotype DARTS_RNN), not networks of images"
        )
    if kind not in SOURCES:
        raise unknown("data.source", config.source, (_WITH_DETAILS.get(name, name) for name in SOURCES))
    if bool(colon) != (kind in _WITH_DETAILS):
        raise UserError(f"data.source is {config.source!r}; write {_WITH_DETAILS.get(kind, kind)}")
    if kind in ("digits", "synthetic") and config.path:
        raise UserError(f"data.path is {config.path!r}, but source {kind} reads no file; leave data.path empty")
    dataset = converted_to(_read(kind, details, config), ImageForm.of(config))
    if config.remap_labels:
        dataset = remapped(dataset)
    return dataset.prepared(config).shrunk(config.shrink)


def _read(kind: str, details: str, config: DataConfig) -> Dataset:
    """Dispatch to the source; each source imports its libraries only when it is used."""
    path = config.path
    if kind in ("cifar10", "cifar100"):
        from jdarts.data import cifar

        return cifar.load_cifar10(path) if kind == "cifar10" else cifar.load_cifar100(path)
    if kind == "tfds":
        from jdarts.data.tfds_source import load_tfds

        return load_tfds(details, path, ImageForm.of(config))
    if kind == "folder":
        from jdarts.data.folder import load_folder

        return load_folder(path, ImageForm.of(config), threads=config.read_threads)
    if kind == "table":
        from jdarts.data.table import load_table

        return load_table(path, ImageForm.of(config), threads=config.read_threads)
    if kind == "npz":
        from jdarts.data.npz import load_npz

        return load_npz(path, remap_labels=config.remap_labels)
    from jdarts.data import builtin

    return builtin.load_digits() if kind == "digits" else builtin.load_synthetic(details)
