"""Accuracy against cost: MnasNet's product, Pareto fronts and their hypervolume."""

from collections.abc import Sequence

import numpy as np

from jdarts.errors import UserError
from jdarts.estimation.estimator import Criterion, Score

SOFT, HARD = (-0.07, -0.07), (0.0, -1.0)
"""The exponents (α, β) of MnasNet: double latency for 5 % relative accuracy, and a penalty above the target only."""


def mnasnet_product(
    target: float, exponents: tuple[float, float] = SOFT, *, accuracy: str = "accuracy", cost: str = "latency"
) -> Criterion:
    """ACC · (LAT / T)^w with w = α if LAT ≤ T, else β (Tan et al. 2019, arXiv:1807.11626, eq. 2).

    Args:
      target: T, in the unit of `cost`.
      exponents: (α, β): `SOFT` or `HARD`.
      accuracy, cost: the values of an estimate.
    """
    if not target > 0:
        raise UserError(f"the target of {cost} is {target!r}; use a number above 0")

    def value(score: Score) -> float:
        ratio = score[cost] / target
        return score[accuracy] * ratio ** exponents[ratio > 1]

    return Criterion(f"{accuracy}_by_{cost}", value=value)


def signed(points: Sequence[Sequence[float]] | np.ndarray, objectives: Sequence[Criterion]) -> np.ndarray:
    """The values of objectives `[points, objectives]`, negated where larger is better, so that less is better."""
    values = np.asarray(points, float)
    if values.ndim != 2 or values.shape[1] != len(objectives) or not np.all(np.isfinite(values)):
        raise UserError(f"points have shape {values.shape}; expected finite numbers [points, {len(objectives)}]")
    return values * np.where([objective.maximize for objective in objectives], -1.0, 1.0)


def pareto_front(points: Sequence[Sequence[float]] | np.ndarray, objectives: Sequence[Criterion]) -> np.ndarray:
    """The indices of the points that no other point dominates; equal points are all kept."""
    losses = signed(points, objectives)
    kept = []
    for i, loss in enumerate(losses):
        no_worse, better = np.all(losses <= loss, axis=1), np.any(losses < loss, axis=1)
        if not np.any(no_worse & better):
            kept.append(i)
    return np.array(kept, int)


def hypervolume(
    points: Sequence[Sequence[float]] | np.ndarray, objectives: Sequence[Criterion], reference: Sequence[float]
) -> float:
    """The volume that the points dominate up to a reference point, by Optuna; 0 for points beyond it."""
    from optuna._hypervolume import compute_hypervolume

    losses, corner = signed(points, objectives), signed([reference], objectives)[0]
    inside = losses[np.all(losses <= corner, axis=1)]
    return float(compute_hypervolume(inside, corner)) if len(inside) else 0.0
