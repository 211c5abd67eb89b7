"""The order of training images, and shares of classes, which determine the halves of a search.

Letters: N images, K classes.
"""

from collections.abc import Sequence

import numpy as np

from jdarts.errors import UserError


def fixed_order(n: int, seed: int = 0) -> np.ndarray:
    """A permutation of `range(n)` that never changes for a seed (NumPy froze the stream of `RandomState`)."""
    return np.random.RandomState(seed).permutation(n)


def training_order(labels: np.ndarray, *, shuffle: int | None, stratify: bool) -> np.ndarray | None:
    """The rows of `labels` [N] in the order that `data.shuffle` and `data.stratify` ask for; None keeps their order.

    Stratified rows are interleaved: image r of the n images of a class is placed at (r + 1/2) / n of the way, so that
    every contiguous part of the order has nearly the class proportions of the whole.
    """
    if shuffle is None and not stratify:
        return None
    order = np.arange(len(labels)) if shuffle is None else fixed_order(len(labels), shuffle)
    return interleaved(labels, order) if stratify else order


def interleaved(labels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """`order`, with the rows of all classes spread evenly; rows of one class keep their order."""
    _, classes, counts = np.unique(labels[order], return_inverse=True, return_counts=True)
    by_class = np.argsort(classes, kind="stable")
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(order), np.int64)
    rank[by_class] = np.arange(len(order)) - np.repeat(starts, counts)
    place = (2 * rank + 1) / (2 * counts[classes])
    return order[np.lexsort((classes, place))]


def class_split(labels: np.ndarray, fractions: Sequence[float], *, seed: int = 0) -> list[np.ndarray]:
    """Disjoint rows with a share of every class each, in a fixed random order of each class; sorted int64 arrays.

    Shares are rounded down, but at least one image of each class is taken. Raises `UserError` if a class has too few.
    """
    random = np.random.RandomState(seed)  # NumPy froze its stream
    parts: list[list[np.ndarray]] = [[] for _ in fractions]
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        counts = [max(int(np.floor(fraction * len(rows) + 1e-6)), 1) for fraction in fractions]
        if sum(counts) > len(rows):
            raise UserError(f"class {label} has {len(rows)} images, too few for shares of {list(fractions)} of a class")
        starts = np.cumsum([0, *counts])
        for part, start, count in zip(parts, starts, counts, strict=False):
            part.append(rows[start : start + count])
    return [np.sort(np.concatenate(part)) for part in parts]
