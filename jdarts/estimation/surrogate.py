"""Models fitted to a benchmark table, for spaces that are too large to be trained completely.

Accel-NASBench (Ahmad et al. 2024, arXiv:2404.08005) is meant to be used so: 5,125 of about 10¹¹ networks were trained,
and a model predicts the others. DIFF: the authors fit gradient-boosted trees; here it is a ridge regression on pairs of
options, which is fitted in seconds and predicts an architecture in milliseconds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jdarts.benchmarks import ArchitectureTable
from jdarts.errors import UserError, unknown
from jdarts.estimation.estimator import Budget, Score
from jdarts.spaces import DecisionSpace


@dataclass(frozen=True)
class Quality:
    """Predictions for rows that were left out of the fit: rank correlation, and the mean absolute error."""

    spearman: float
    mean_error: float


class TableSurrogate:
    """Predicts the values of any architecture of a space; see `fit_surrogate`.

    Attributes:
      quality: by value, on rows that were left out of the fit.
    """

    def __init__(self, space: DecisionSpace, models: Mapping[str, Any], quality: Mapping[str, Quality]):
        self._space, self._models, self.quality = space, models, quality

    def predict(self, choices: np.ndarray) -> dict[str, np.ndarray]:
        """The values of tuples of canonical choices `[architectures, decisions]`."""
        return {name: np.asarray(model.predict(choices)) for name, model in self._models.items()}

    def __call__(self, architecture: Any, budget: Budget) -> Score:
        """The predicted values; the cost is unknown."""
        if budget:
            raise UserError(f"the surrogate has no results for the budget {dict(budget)}; leave it out")
        predicted = self.predict(np.array([self._space.encode(architecture)]))
        return Score({name: float(values[0]) for name, values in predicted.items()})


def fit_surrogate(
    space: DecisionSpace,
    table: ArchitectureTable,
    read: Callable[[str], Any],
    columns: Mapping[str, str],
    *,
    left_out: float = 0.2,
    seed: int = 0,
) -> TableSurrogate:
    """A model for every value of `columns`, fitted to a random part of the rows and judged on the others.

    Args:
      space: the space of the table's architectures.
      table: at least 20 rows; those where a column is missing are not used for it.
      read: the architecture of a text of the table, such as `jdarts.spaces.mnasnet.read`.
      columns: the column of every value, as in `TableLookup`.
      left_out: the share of the rows for `quality`.
      seed: of the division.
    """
    if len(table) < 20 or not 0 < left_out < 1:
        raise UserError(
            f"a surrogate needs at least 20 rows, and a share of 0 to 1 to leave out; found {len(table)} and {left_out}"
        )
    choices = np.array([space.encode(read(text)) for text in table.architectures])
    order = np.random.default_rng(seed).permutation(len(table))
    models, quality = {}, {}
    for name, column in columns.items():
        if column not in table.columns:
            raise unknown("column", column, table.columns)
        values = table.columns[column]
        rows = order[np.isfinite(values[order])]
        rest, fitted = np.split(rows, [max(1, round(left_out * len(rows)))])
        models[name] = _quadratic(space).fit(choices[fitted], values[fitted])
        quality[name] = _quality(models[name].predict(choices[rest]), values[rest])
    return TableSurrogate(space, models, quality)


def _quadratic(space: DecisionSpace) -> Any:
    """Ridge regression on the options of all decisions and on all pairs of them."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures

    options: Any = [list(range(decision.options)) for decision in space.decisions]
    kind: Any = np.float32  # scikit-learn's annotations know one type only
    encoder = OneHotEncoder(categories=options, drop="first", sparse_output=False, dtype=kind)
    return make_pipeline(encoder, PolynomialFeatures(2, interaction_only=True, include_bias=False), Ridge(1.0))


def _quality(predicted: np.ndarray, true: np.ndarray) -> Quality:
    from scipy.stats import spearmanr

    correlation: Any = spearmanr(predicted, true)
    return Quality(float(correlation.statistic), float(np.mean(np.abs(predicted - true))))
