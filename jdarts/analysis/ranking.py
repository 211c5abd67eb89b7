"""Rank correlation between two scores of the same architectures: Kendall's τ-b and Spearman's ρ, ties included."""

from collections.abc import Mapping, Sequence

import numpy as np

from jdarts.errors import UserError


def kendall(x: Sequence[float], y: Sequence[float]) -> float:
    """Kendall's τ-b: concordant minus discordant pairs over the geometric mean of the numbers of untied pairs.

    NaN if `x` or `y` is constant.
    """
    dx, dy = (np.sign(v[:, None] - v[None, :])[np.triu_indices(len(v), 1)] for v in _checked(x, y))
    untied = np.sqrt(float((dx != 0).sum()) * float((dy != 0).sum()))
    return float((dx * dy).sum() / untied) if untied else float("nan")


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's ρ: Pearson's correlation of the ranks; tied values share their mean rank. NaN if one is constant."""
    a, b = (r - r.mean() for r in map(ranks, _checked(x, y)))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else float("nan")


def ranks(x: Sequence[float] | np.ndarray) -> np.ndarray:
    """Ranks, 1 for the smallest value; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(np.asarray(x, np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def rank_correlation(scores: Mapping[str, float], table: Mapping[str, float]) -> dict[str, float | int]:
    """τ and ρ between `scores` (architecture → e.g. supernet accuracy) and a `table` (architecture → true accuracy).

    Raises `UserError` naming the first architecture that the table lacks.
    """
    missing = [name for name in scores if name not in table]
    if missing:
        raise UserError(
            f"the table has no architecture {missing[0]!r} ({len(missing)} of {len(scores)} are missing); "
            "check that scores and table belong to the same space"
        )
    x, y = list(scores.values()), [table[name] for name in scores]
    return {"kendall": kendall(x, y), "spearman": spearman(x, y), "architectures": len(x)}


def _checked(x, y) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise UserError(
            f"rank correlation of arrays of shapes {a.shape} and {b.shape}; give two lists of equal length, at least 2"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise UserError("rank correlation of scores that are not finite; leave out these architectures")
    return a, b
