"""Performance estimation: `(architecture, budget) -> Score`, from tables of benchmarks and models fitted to them.

table = load_table("nasbench201.csv.gz")
estimator = nasbench201_lookup(table)
estimator(genotype, {})["accuracy"]                 # validation accuracy after 12 epochs
estimator(genotype, {"epochs": 200})["accuracy"]    # test accuracy after 200 epochs
"""

from jdarts.estimation.estimator import ACCURACY, Budget, Criterion, PerformanceEstimator, Score, criterion
from jdarts.estimation.surrogate import TableSurrogate, fit_surrogate
from jdarts.estimation.table_lookup import TableLookup, accel_lookup, macro_lookup, nasbench201_lookup
from jdarts.estimation.tradeoffs import HARD, SOFT, hypervolume, mnasnet_product, pareto_front

__all__ = [
    "ACCURACY",
    "HARD",
    "SOFT",
    "Budget",
    "Criterion",
    "PerformanceEstimator",
    "Score",
    "TableLookup",
    "TableSurrogate",
    "accel_lookup",
    "criterion",
    "fit_surrogate",
    "hypervolume",
    "macro_lookup",
    "mnasnet_product",
    "nasbench201_lookup",
    "pareto_front",
]
