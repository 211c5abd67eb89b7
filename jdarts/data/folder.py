"""Image folders: `train/CLASS/*.png` and common other layouts."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jdarts.data.arrays import assemble
from jdarts.data.dataset import Dataset
from jdarts.data.decoding import AS_STORED, SUFFIXES, ImageForm
from jdarts.data.image_files import OddFiles, list_images, read_images, warn_unread
from jdarts.data.order import fixed_order
from jdarts.errors import DataNote, UserError

VALIDATION_FOLDERS = ("val", "validation", "valid")
_READ = ", ".join(SUFFIXES)


class Listing(NamedTuple):
    """The images of one split: file names and class numbers."""

    files: list[str]
    labels: list[int]


class Listed(NamedTuple):
    """The images of a folder by split, the names of the classes, and the files that cannot be used."""

    splits: dict[str, Listing]
    classes: list[str]
    odd: OddFiles


def load_folder(path: str, form: ImageForm = AS_STORED, *, threads: int = 1) -> Dataset:
    """Images in `path/train/CLASS/`, and optionally `path/test/CLASS/` and `path/val/CLASS/`.

    The classes are the sorted names of the folders in `train`; images may lie in folders inside them. Without `test`,
    `val` holds the test images; a split without class folders is left out, since it has no labels. All images share one
    shape after `form` is applied. Files sorted by name are grouped by class, so the training images are put into one
    fixed shuffled order.

    Raises one `UserError` about all files that cannot be used.
    """
    root = _root(path)
    listed = list_folder(root)
    rows, start = [], 0
    for split, listing in listed.splits.items():
        order = np.arange(len(listing.files))
        rows.append(start + (np.argsort(fixed_order(len(order))) if split == "train" else order))
        start += len(order)
    files = [file for listing in listed.splits.values() for file in listing.files]
    pixels = read_images(files, np.concatenate(rows), listed.odd, form, threads=min(threads, os.cpu_count() or 1))
    splits, start = {}, 0
    for split, listing in listed.splits.items():
        labels = np.array(listing.labels, np.int32)
        images = pixels[start : start + len(labels)]
        splits[split] = images, labels[fixed_order(len(labels))] if split == "train" else labels
        start += len(labels)
    return assemble(root.resolve().name, splits, num_classes=len(listed.classes), class_names=listed.classes)


def list_folder(root: Path, *, splits: Sequence[str] = ("train", "test", "val")) -> Listed:
    """The images of those `splits` that the folder has; nothing is decoded.

    Raises `UserError` if there are no training images, if a class has none, or if a split has other classes.
    """
    classes = class_folders(root / "train")
    if not classes:
        raise UserError(f"{root / 'train'} has no class folders; put the images into train/CLASS/")
    odd, unread = OddFiles(root), []
    listed: dict[str, Listing] = {}
    for split, folder in _split_folders(root, classes, needs_test="test" in splits).items():
        if split not in splits:
            continue
        files, labels = [], []
        for label, name in enumerate(classes):
            place = folder / name
            before = sum(map(len, odd.files.values()))
            found = list_images(place, odd, unread) if place.is_dir() else []
            if split == "train" and not found and before == sum(map(len, odd.files.values())):
                raise UserError(f"{place} has no images ({_READ}); add some or remove the folder")
            files += found
            labels += [label] * len(found)
        listed[split] = Listing(files, labels)
    warn_unread(root, unread)
    for split, listing in listed.items():
        if not listing.files and not odd.files:
            raise UserError(f"the class folders of the {split} split of {root} have no images ({_READ}); add some")
    return Listed(listed, classes, odd)


def class_folders(folder: Path) -> list[str]:
    """The names of the folders inside `folder`, sorted."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _root(path: str) -> Path:
    if not path:
        raise UserError("source folder needs data.path: the folder that holds train/CLASS/*.png and test/CLASS/*.png")
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"data.path is {path!r}, which is not a folder; give the one that holds train/CLASS/*.png")
    require_train(root)
    return root


def require_train(root: Path) -> None:
    """Raise `UserError` if there is no folder `train` in `root`."""
    if (root / "train").is_dir():
        return
    there = class_folders(root)
    found = f"it has {', '.join(there[:4])}{', …' if len(there) > 4 else ''}" if there else "it has no folders"
    raise UserError(
        f"data.path is '{root}', which has no folder 'train' ({found}); "
        "put the classes into train/CLASS/, and those for the test into test/CLASS/"
    )


def _split_folders(root: Path, classes: list[str], *, needs_test: bool) -> dict[str, Path]:
    """The folders of the splits `train`, `test` and `val` that exist and have labels."""
    folders = {"train": root / "train"}
    test = _labelled(root, "test", classes)
    val = next((folder for name in VALIDATION_FOLDERS if (folder := _labelled(root, name, classes))), None)
    if test is None and val is not None:
        test, val = val, None
        _note(f"{root} has no labelled test/, so the images of {test.name}/ are the test images")
    elif test is None and needs_test:
        _note(f"{root} has no test/CLASS/ and no val/CLASS/: it can be searched on, but a retrained cell needs a test")
    return folders | ({"test": test} if test else {}) | ({"val": val} if val else {})


def _labelled(root: Path, name: str, classes: list[str]) -> Path | None:
    """The folder `root/name` if its images lie in class folders."""
    folder = root / name
    if not folder.is_dir():
        return None
    there = class_folders(folder)
    stray = [entry for entry in there if entry not in classes]
    if there and stray != ["images"]:
        if stray:
            raise UserError(f"{folder / stray[0]} is not a class of {root / 'train'}; remove or rename it")
        return folder
    _note(f"{folder} has no class folders, so its images have no labels; it is not used")
    return None


def _note(text: str) -> None:
    warnings.warn(text, DataNote, stacklevel=4)
