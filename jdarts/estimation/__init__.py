"""Performance estimation: `(architecture, budget) -> Score`, by training, from tables of benchmarks and fitted models.

table = load_table("nasbench201.csv.gz")
estimator = nasbench201_lookup(table)
estimator(genotype, {})["accuracy"]                 # validation accuracy after 12 epochs
estimator(genotype, {"epochs": 200})["accuracy"]    # test accuracy after 200 epochs

estimator = FromScratch(config, data.load(config.data))
estimator(genotype, {"epochs": 3, "data": 0.25})["accuracy"]  # validation accuracy of a short training
"""

from jdarts.estimation.estimator import (
    ACCURACY,
    Budget,
    Criterion,
    PerformanceEstimator,
    Report,
    ReportingEstimator,
    Score,
    criterion,
)
from jdarts.estimation.from_scratch import FIDELITIES, FromScratch
from jdarts.estimation.learning_curves import Extrapolation, extrapolate
from jdarts.estimation.surrogate import TableSurrogate, fit_surrogate
from jdarts.estimation.table_lookup import TableLookup, accel_lookup, macro_lookup, nasbench201_lookup
from jdarts.estimation.tradeoffs import HARD, SOFT, hypervolume, mnasnet_product, pareto_front

__all__ = [
    "ACCURACY",
    "FIDELITIES",
    "HARD",
    "SOFT",
    "Budget",
    "Criterion",
    "Extrapolation",
    "FromScratch",
    "PerformanceEstimator",
    "Report",
    "ReportingEstimator",
    "Score",
    "TableLookup",
    "TableSurrogate",
    "accel_lookup",
    "criterion",
    "extrapolate",
    "fit_surrogate",
    "hypervolume",
    "macro_lookup",
    "mnasnet_product",
    "nasbench201_lookup",
    "pareto_front",
]
