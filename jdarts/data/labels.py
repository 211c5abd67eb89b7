"""Labels in common forms, converted to class numbers 0 to K-1.

Letters: N images, K classes.
"""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jdarts.errors import DataNote, UserError

Labels = Mapping[str, np.ndarray]


class Numbered(NamedTuple):
    """Class numbers by split, int32 [N]; the number of classes; and their names, empty if they are the numbers."""

    labels: dict[str, np.ndarray]
    num_classes: int
    names: tuple[str, ...]


def number_classes(data: str, labels: Labels, *, num_classes: int | None = None, remap: bool = False) -> Numbered:
    """The labels of the splits `train` and others as class numbers.

    Accepted are [N], [N, 1] and one-hot [N, K]; integers, booleans, whole floats and text. Text, and every label with
    `remap`, is numbered by the sorted distinct labels of the training split. Other labels must be 0 to K-1 without
    gaps, or below `num_classes` if the source declares it. One `DataNote` of each kind reports conversions.

    Raises `UserError` for everything else, and for labels of other splits that the training split lacks.
    """
    notes: dict[str, list[str]] = {}
    plain = {split: _flat(f"{data}: {split}", found, notes.setdefault(split, [])) for split, found in labels.items()}
    for text in dict.fromkeys(text for found in notes.values() for text in found):
        _note(f"{data}: {' and '.join(split for split in notes if text in notes[split])} {text}")
    texts = {split for split, found in plain.items() if found.dtype.kind == "U"}
    if texts and len(texts) < len(plain):
        number = next(split for split in plain if split not in texts)
        raise UserError(f"{data}: the {min(texts)} labels are text, those of {number} numbers; give one kind")
    distinct = np.unique(plain["train"])
    if remap or texts:
        return _renumber(data, plain, distinct)
    if num_classes is None:
        num_classes = _count(data, distinct)
        _require_known(data, plain, distinct)
    for split, found in plain.items():
        if found.size and (found.min() < 0 or found.max() >= num_classes):
            raise UserError(
                f"{data}: the {split} split has labels {found.min()} to {found.max()}; with {num_classes} classes "
                f"they must lie in 0 to {num_classes - 1}"
            )
    return Numbered({split: found.astype(np.int32) for split, found in plain.items()}, num_classes, ())


def _flat(where: str, labels: np.ndarray, notes: list[str]) -> np.ndarray:
    """Labels [N] as integers or text; conversions are added to `notes`."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "biuf":
        return _from_one_hot(where, labels, notes)
    if labels.ndim != 1:
        raise UserError(f"{where} labels have shape {list(labels.shape)}; give [N], [N, 1] or one-hot [N, K]")
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8", "replace")
    if labels.dtype.kind in "iuU":
        return labels
    if labels.dtype.kind == "b":
        notes.append("labels are booleans; false is read as class 0 and true as class 1")
        return labels.astype(np.int64)
    if labels.dtype.kind != "f":
        raise UserError(f"{where} labels have dtype {labels.dtype}; give class numbers or names")
    odd = ~(np.isfinite(labels) & (labels == np.rint(labels)) & (np.abs(labels) < 2**53))
    if odd.any():
        first = int(np.argmax(odd))
        raise UserError(
            f"{where} labels are {labels.dtype}, and {int(odd.sum()):,} of {labels.size:,} are not whole numbers "
            f"(label {first} is {labels[first]:g}); give class numbers, as regression is not supported"
        )
    notes.append(f"labels are whole numbers stored as {labels.dtype}; they are read as integers")
    return labels.astype(np.int64)


def _from_one_hot(where: str, labels: np.ndarray, notes: list[str]) -> np.ndarray:
    if not (np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all()):
        raise UserError(
            f"{where} labels have shape {list(labels.shape)}, but rows are not one-hot (one 1, otherwise 0); "
            "give one class number for each image"
        )
    notes.append(f"labels are one-hot with {labels.shape[1]} columns; the column of the 1 is the class number")
    return labels.argmax(1)


def _count(data: str, distinct: np.ndarray) -> int:
    """The number of classes of training labels that are 0 to K-1."""
    count = len(distinct)
    if count == 0 or (distinct[0] == 0 and distinct[-1] == count - 1):
        return count
    raise UserError(
        f"{data}: the training labels are {_listed(distinct)}, {count} classes that are not numbered 0 to {count - 1}; "
        "--data.remap_labels true numbers them in this way and keeps the old labels as names"
    )


def _renumber(data: str, labels: Labels, distinct: np.ndarray) -> Numbered:
    _require_known(data, labels, distinct)
    names = tuple(str(label) for label in distinct.tolist())
    if names == tuple(map(str, range(len(names)))) and distinct.dtype.kind != "U":
        names = ()
    else:
        kind = "labels are text" if distinct.dtype.kind == "U" else "labels are renumbered"
        _note(f"{data}: {kind}; {_listed(distinct)} become the classes 0 to {len(distinct) - 1}")
    numbers = {split: np.searchsorted(distinct, found).astype(np.int32) for split, found in labels.items()}
    return Numbered(numbers, len(distinct), names)


def _require_known(data: str, labels: Labels, distinct: np.ndarray) -> None:
    """Refuse labels of other splits that no training image has."""
    for split, found in labels.items():
        unknown = ~np.isin(found, distinct)
        if unknown.any():
            unseen = np.unique(found[unknown])
            raise UserError(
                f"{data}: {int(unknown.sum()):,} of the {found.size:,} labels of the {split} split are "
                f"{_listed(unseen)}, which no training image has (they have {_listed(distinct)}); "
                "give all splits the same classes"
            )


def _listed(labels: np.ndarray) -> str:
    shown = [repr(label) if isinstance(label, str) else f"{label}" for label in labels.tolist()]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:3], "…", *shown[-2:]])


def _note(text: str) -> None:
    warnings.warn(text, DataNote, stacklevel=4)
