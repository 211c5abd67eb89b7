"""Early stopping by the extrapolation of learning curves (Domhan et al. 2015, IJCAI)."""

import math

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from jdarts.estimation.learning_curves import SHORTEST, extrapolate
from jdarts.strategies.strategy import at_least, fraction


class LearningCurvePruner(BasePruner):
    """Ends a trial as soon as P(final score > best final score so far) is less than a threshold.

    The score is reported after every epoch (`trial.report(score, epoch)`); the value of a trial is its last one.
    Nothing is pruned until a trial is complete, and no trial with a gap in its reports.

    Args:
      threshold: the probability, 0.05 in the paper.
      warmup: the least number of epochs before a trial is ended, at least 4.
      final: the number of epochs of a complete trial; by default that of the longest complete one.

    Raises `UserError` for values that are not possible.
    """

    def __init__(self, threshold: float = 0.05, *, warmup: int = 8, final: int | None = None):
        self.threshold = fraction("threshold", threshold)
        self.warmup = at_least("warmup", warmup, SHORTEST)
        self.final = None if final is None else at_least("final", final, SHORTEST + 1)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """True if the trial should end."""
        curve = self._curve(study, trial)
        if len(curve) < self.warmup:
            return False
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        finished = [other for other in complete if other.value is not None and math.isfinite(other.value)]
        final = self.final or max((len(other.intermediate_values) for other in finished), default=0)
        if not finished or len(curve) >= final:
            return False
        best = max(self._sign(study) * other.value for other in finished if other.value is not None)
        return extrapolate(curve, final).above(best) < self.threshold

    def _curve(self, study: Study, trial: FrozenTrial) -> list[float]:
        """The scores of all epochs so far, larger is better; empty with a gap or a score that is not finite."""
        epochs = sorted(trial.intermediate_values)
        scores = [self._sign(study) * trial.intermediate_values[epoch] for epoch in epochs]
        whole = bool(epochs) and epochs[-1] - epochs[0] == len(epochs) - 1 and epochs[0] in (0, 1)
        return scores if whole and all(map(math.isfinite, scores)) else []

    @staticmethod
    def _sign(study: Study) -> float:
        return 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
