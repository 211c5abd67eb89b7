"""Extrapolation of learning curves judged on real ones, those of NAS-Bench-NLP.

    python -m jdarts.bench.learning_curves logs.zip

The validation loss after the last of 50 epochs is predicted from the first 25 % and 50 %, and compared with the last
one seen. P(final > x) should hold as often as it says. Every third curve is left out, as the constants of
`jdarts.estimation.learning_curves` were chosen on them.
"""

import argparse
import time
from typing import NamedTuple

import numpy as np

from jdarts.benchmarks import LossCurves, load_loss_curves
from jdarts.estimation.learning_curves import extrapolate

EPOCHS = 50
LEVELS = (0.5, 0.8, 0.9)


class Judgement(NamedTuple):
    """Predictions of the final losses of many trainings.

    Attributes:
      errors, naive: absolute errors of the predicted medians, and of the last loss seen, `[trainings]`.
      below: the predicted probability of a final score of at most the true one, `[trainings]`; uniform on 0…1 if the
        predictions are calibrated.
    """

    errors: np.ndarray
    naive: np.ndarray
    below: np.ndarray

    def coverage(self, level: float) -> float:
        """The share of the true values that lie in the central interval of this probability."""
        return float(np.mean(np.abs(self.below - 0.5) <= level / 2))


def judge(curves: list[LossCurves], seen: int) -> Judgement:
    """Predictions of the last epoch of complete curves from the first `seen` epochs."""
    errors, naive, below = [], [], []
    for curve in curves:
        scores = -curve.validation
        predicted = extrapolate(scores[:seen], len(scores))
        errors.append(abs(predicted.median - scores[-1]))
        naive.append(abs(scores[seen - 1] - scores[-1]))
        below.append(predicted.below(scores[-1]))
    return Judgement(np.array(errors), np.array(naive), np.array(below))


def stopping(curves: list[LossCurves], order: np.ndarray, threshold: float = 0.05) -> tuple[float, float]:
    """The share of epochs that a search in this order trains, and the loss by which its best is worse.

    A training stops as soon as P(final > best so far) is less than the threshold.
    """
    best, trained = -np.inf, 0
    for row in order:
        scores = -curves[row].validation
        stop = len(scores)
        for seen in range(8, len(scores)):
            if np.isfinite(best) and extrapolate(scores[:seen], len(scores)).above(best) < threshold:
                stop = seen
                break
        else:
            best = max(best, scores[-1])
        trained += stop
    true = max(-curve.validation[-1] for curve in curves)
    return trained / sum(len(curves[row].validation) for row in order), float(true - best)


def main() -> None:
    """Prints errors and coverage for 25 % and 50 % of the epochs, and what early stopping saves."""
    parser = argparse.ArgumentParser(description="Judge the extrapolation of learning curves on NAS-Bench-NLP.")
    parser.add_argument("logs")
    curves = [c for c in load_loss_curves(parser.parse_args().logs) if len(c.validation) == EPOCHS]
    judged = [curve for number, curve in enumerate(curves) if number % 3]
    print(f"{len(judged)} of {len(curves)} complete curves; final validation loss in nats")
    for seen in (EPOCHS // 4, EPOCHS // 2):
        start = time.perf_counter()
        found = judge(judged, seen)
        each = 1000 * (time.perf_counter() - start) / len(judged)
        told = "  ".join(f"{level:.0%}: {found.coverage(level):.0%}" for level in LEVELS)
        for name, errors in (("predicted", found.errors), ("last seen", found.naive)):
            print(f"{seen} epochs, {name}: median error {np.median(errors):.4f}, mean {errors.mean():.4f}")
        print(f"{seen} epochs, share of true values in the central interval  {told}  ({each:.1f} ms each)")
    saved = [stopping(judged, np.random.default_rng(seed).permutation(len(judged))) for seed in range(10)]
    shares, losses = np.array(saved).T
    print(f"stop at P(final > best) < .05: {shares.mean():.0%} of the epochs; best worse by {losses.mean():.4f} nats")


if __name__ == "__main__":
    main()
