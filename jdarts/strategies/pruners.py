"""Pruners of Optuna by name: they end trials that are worse than others after as many epochs."""

from collections.abc import Callable

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner

from jdarts.errors import unknown
from jdarts.strategies.learning_curve_pruner import LearningCurvePruner

PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "none": NopPruner,
    "median": MedianPruner,
    "successive_halving": lambda: SuccessiveHalvingPruner(min_resource=1),
    "hyperband": HyperbandPruner,
    "learning_curve": LearningCurvePruner,
}
"""`median` ends trials below the median of earlier ones; `successive_halving` is ASHA (Li et al. 2020,
arXiv:1810.05934), `hyperband` several of them with different patience (Li et al. 2018, arXiv:1603.06560);
`learning_curve` ends trials that will hardly become the best one (Domhan et al. 2015)."""


def pruner_by_name(name: str) -> BasePruner:
    """The pruner of that name with Optuna's settings; raises `UserError` for an unknown one."""
    if name not in PRUNERS:
        raise unknown("pruner", name, PRUNERS)
    return PRUNERS[name]()
