"""A check that the splits of a data set hold the same classes: one rule for every source and every split."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jdarts.errors import DataWarning, UserError

LARGE_SHARE = 0.2
"""Splits are refused if a larger share of the images belongs to classes that the other split lacks."""
IMAGES_A_CLASS = 10
"""A class may be missing by chance from a split with fewer images per class than this."""
REORDER = "--data.shuffle 0 shuffles the training images, --data.stratify true gives every part all classes"


class Part(NamedTuple):
    """The labels of a split, and its name in messages."""

    title: str
    labels: np.ndarray


def compare_classes(data: str, train: Part, other: Part, names: Sequence[str], remedy: str) -> None:
    """Refuse two splits of `data` that largely hold different classes; warn if they differ a little.

    `train` trains the weights; `other` trains the alphas, validates or tests. They are refused if more than a fifth of
    `other` belongs to classes that `train` lacks. They are also refused if more than a fifth of `train` belongs to
    classes that `other` lacks, unless `other` has fewer than 10 images per class and may lack some by chance. `names`
    are the class names, or empty.

    Raises `UserError`; warns with `DataWarning`.
    """
    unseen, unseen_classes = _missing(other.labels, train.labels)
    if not unseen:
        _require_two_classes(data, train, names, remedy)
    absent, absent_classes = _missing(train.labels, other.labels)
    parts = []
    if unseen:
        share = unseen / len(other.labels)
        parts.append(
            f"{unseen:,} of the {len(other.labels):,} {other.title} ({share:.0%}) are of "
            f"{_listed(unseen_classes, names)}, which the {train.title} lack"
        )
    if absent:
        share = absent / len(train.labels)
        parts.append(
            f"the {other.title} have none of {_listed(absent_classes, names)}, but "
            f"{absent:,} of the {len(train.labels):,} {train.title} ({share:.0%}) are"
        )
    if not parts:
        return
    enough = len(other.labels) >= IMAGES_A_CLASS * len(np.unique(train.labels))
    wrong = unseen > LARGE_SHARE * len(other.labels) or (enough and absent > LARGE_SHARE * len(train.labels))
    message = f"{data}: {'; '.join(parts)}; {remedy}"
    if wrong:
        raise UserError(message)
    warnings.warn(message, DataWarning, stacklevel=3)


def check_limit(data: str, every: np.ndarray, limited: np.ndarray, names: Sequence[str]) -> None:
    """Refuse or warn if the first images, with labels `limited`, miss classes of all the training images, `every`.

    Raises `UserError` if more than a fifth of all images belongs to missing classes; otherwise warns with
    `DataWarning`.
    """
    lost, classes = _missing(every, limited)
    if not lost:
        return
    message = (
        f"{data}: the first {len(limited):,} training images (data.limit) have none of {_listed(classes, names)}, but "
        f"{lost:,} of all {len(every):,} ({lost / len(every):.0%}) are; raise data.limit, or reorder: {REORDER}"
    )
    if lost > LARGE_SHARE * len(every):
        raise UserError(message)
    warnings.warn(message, DataWarning, stacklevel=3)


def _require_two_classes(data: str, train: Part, names: Sequence[str], remedy: str) -> None:
    classes = np.unique(train.labels)
    if len(classes) < 2:
        raise UserError(
            f"{data}: all {len(train.labels):,} {train.title} are of {_listed(classes, names)}; a network learns "
            f"nothing from one class; {remedy}"
        )


def _missing(labels: np.ndarray, present: np.ndarray) -> tuple[int, np.ndarray]:
    """The number of `labels` whose class is not `present`, and these classes."""
    classes, counts = np.unique(labels, return_counts=True)
    missing = ~np.isin(classes, present)
    return int(counts[missing].sum()), classes[missing]


def _listed(classes: np.ndarray, names: Sequence[str]) -> str:
    """`class 3 (cat)`, or the number of classes and the first of them."""
    shown = [f"{label} ({names[label]})" if _has_name(label, names) else f"{label}" for label in classes[:4].tolist()]
    if len(classes) == 1:
        return f"class {shown[0]}"
    more = ", …" if len(classes) > len(shown) else ""
    return f"{len(classes)} classes ({', '.join(shown)}{more})"


def _has_name(label: int, names: Sequence[str]) -> bool:
    return label < len(names) and names[label] != str(label)
