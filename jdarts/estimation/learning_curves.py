"""Extrapolation of learning curves: the final score of a training from its first epochs.

As in Domhan et al. (2015, IJCAI), a weighted ensemble of parametric families predicts a distribution. Each family has
the form c − a·g(epoch; θ):

    power law  x^−θ          power law with offset  (x + θ₂)^−θ₁         logarithm  −log(x + θ)
    exponential  e^−θx       Weibull  exp(−(θ₁x)^θ₂)                     MMF  1/(1 + (θ₁x)^θ₂)          constant  0

DIFF: the authors sample the parameters of one weighted sum of all families by Markov chains. Here θ is on a grid, and
c, a and the variance of the noise are integrated out in closed form (Bayesian linear regression), so that an
extrapolation takes milliseconds and is deterministic. A grid point's weight is its marginal likelihood. Since the
deviations of neighbouring epochs are not independent, ten epochs count as one observation. This number and the prior
of the noise were chosen on a third of the curves of NAS-Bench-NLP; `jdarts.bench.learning_curves` judges on the others.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from jdarts.errors import UserError

SHORTEST = 4
"""The least number of epochs from which a curve is extrapolated."""

_INDEPENDENT = 0.1  # observations for each epoch
_PRIOR = np.array([1.0, -1.0])  # of (c, −a), in units of the range of the curve so far
_DEVIATION = 3.0  # of the prior of c and a, in standard deviations of the noise
_SHAPE, _RATE = 1.0, 1e-5  # of the inverse gamma prior of the variance of the noise


@dataclass(frozen=True)
class Extrapolation:
    """The distribution of a score: a mixture of Student's t distributions.

    Attributes:
      weights, centres, scales: of the components, `[components]`; the weights sum to 1.
      freedom: the degrees of freedom of all components.
    """

    weights: np.ndarray
    centres: np.ndarray
    scales: np.ndarray
    freedom: float

    def below(self, score: float) -> float:
        """P(final ≤ score)."""
        from scipy.special import stdtr

        return float(self.weights @ stdtr(self.freedom, (score - self.centres) / self.scales))

    def above(self, score: float) -> float:
        """P(final > score)."""
        return 1.0 - self.below(score)

    @property
    def median(self) -> float:
        """The score that is exceeded with probability ½."""
        from scipy.optimize import brentq

        low, high = float(np.min(self.centres)), float(np.max(self.centres))
        if high == low:
            return low
        found: Any = brentq(lambda score: self.below(score) - 0.5, low, high)
        return float(found)


def extrapolate(scores: Any, final: int) -> Extrapolation:
    """The distribution of the score of epoch `final`.

    Args:
      scores: the scores after epochs 1, 2, …, at least `SHORTEST`; larger is better (negate a loss).
      final: the number of the epoch to predict.

    Raises `UserError` for a shorter curve, one that is not finite, and one that is already as long as `final`.
    """
    curve = np.asarray(scores, float)
    if curve.ndim != 1 or len(curve) < SHORTEST or not np.isfinite(curve).all():
        raise UserError(
            f"a curve of shape {curve.shape} cannot be extrapolated; give at least {SHORTEST} finite scores"
        )
    if final <= len(curve):
        raise UserError(f"epoch {final} cannot be predicted from {len(curve)} epochs; it is not after them")
    lowest, spread = float(curve.min()), float(np.ptp(curve)) or 1e-6 * max(1.0, abs(float(curve[0])))
    features, prior = _features(len(curve), final)
    weights, centres, scales = _regression(features, prior, (curve - lowest) / spread)
    freedom = 2 * (_SHAPE + _INDEPENDENT * len(curve) / 2)
    return Extrapolation(weights, lowest + spread * centres, spread * scales, freedom)


def _regression(
    features: np.ndarray, prior: np.ndarray, curve: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, centres and scales of all grid points, for features `[points, epochs + 1, 2]` and a curve `[epochs]`.

    Those that predict a falling score (a < 0) have the weight 0; the constant remains, whose a keeps its prior mean.
    """
    seen, last = features[:, :-1], features[:, -1]
    precision = np.eye(2) / _DEVIATION**2
    after = precision + _INDEPENDENT * np.einsum("gni,gnj->gij", seen, seen)
    right = precision @ _PRIOR + _INDEPENDENT * np.einsum("gni,n->gi", seen, curve)
    mean = np.linalg.solve(after, right[..., None])[..., 0]
    shape = _SHAPE + _INDEPENDENT * len(curve) / 2
    squares = _INDEPENDENT * (curve @ curve) + _PRIOR @ precision @ _PRIOR - np.einsum("gi,gi->g", mean, right)
    rate = _RATE + np.maximum(squares, 0) / 2
    evidence = np.log(prior) - 0.5 * np.linalg.slogdet(after)[1] - shape * np.log(rate)
    evidence = np.where(mean[:, 1] > 0, -np.inf, evidence)
    weights = np.exp(evidence - evidence.max())
    unit = np.einsum("gi,gi->g", last, np.linalg.solve(after, last[..., None])[..., 0])
    return weights / weights.sum(), np.einsum("gi,gi->g", mean, last), np.sqrt(rate / shape * (1 + unit))


@cache
def _features(seen: int, final: int) -> tuple[np.ndarray, np.ndarray]:
    """1 and g at the epochs seen and at the final one `[points, seen + 1, 2]`, and prior weights `[points]`.

    g is shifted and scaled to 0…1 on the epochs seen. All families have the same prior weight.
    """
    epochs = np.append(np.arange(1.0, seen + 1), final)
    features, prior = [], []
    for family in _families(epochs):
        low, spread = family[:, :seen].min(axis=1, keepdims=True), np.ptp(family[:, :seen], axis=1, keepdims=True)
        features.append((family - low) / np.where(spread > 0, spread, 1.0))
        prior += [1 / len(family)] * len(family)
    g = np.concatenate(features)
    return np.stack([np.ones_like(g), g], axis=-1), np.array(prior)


def _families(x: np.ndarray) -> list[np.ndarray]:
    """g of every family on its grid, `[points, epochs]`."""
    powers, rates = np.geomspace(0.05, 4, 24), np.geomspace(0.005, 3, 14)
    scaled = rates[:, None, None] * x
    return [
        np.zeros((1, len(x))),
        x ** -powers[:, None],
        ((x + np.array([1.0, 3.0, 10.0, 30.0])[:, None]) ** -powers[:, None, None]).reshape(-1, len(x)),
        -np.log(x + np.array([0.0, 1.0, 3.0, 10.0])[:, None]),
        np.exp(-np.geomspace(0.005, 3, 24)[:, None] * x),
        np.exp(-(scaled ** np.array([0.25, 0.5, 0.75, 1.5, 2.0])[:, None])).reshape(-1, len(x)),
        (1 / (1 + scaled ** np.array([0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0])[:, None])).reshape(-1, len(x)),
    ]
