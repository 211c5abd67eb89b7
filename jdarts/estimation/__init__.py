"""Performance estimation: `(architecture, budget) -> Score`, by training, inherited weights, tables and models.

table = load_table("nasbench201.csv.gz")
estimator = nasbench201_lookup(table)
estimator(genotype, {})["accuracy"]                 # validation accuracy after 12 epochs
estimator(genotype, {"epochs": 200})["accuracy"]    # test accuracy after 200 epochs

estimator = FromScratch.of(config)
estimator(genotype, {"epochs": 3, "data": 0.25})["accuracy"]  # validation accuracy of a short training; of text
                                                              # it is ["perplexity"]

estimator = inherited("runs/darts_cifar10")                   # the shared weights of a finished search
estimator(genotype, {"recalibration": 16})["accuracy"]        # after 16 training batches for batch norm
inherited("runs/ptb_rnn")(cell, {})["perplexity"]             # of the validation text
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
from jdarts.estimation.from_scratch import FromScratch, children_of, measure_of
from jdarts.estimation.image_children import FIDELITIES
from jdarts.estimation.inheritance import INHERITED_BUDGET, Inherited, inherited
from jdarts.estimation.learning_curves import Extrapolation, extrapolate
from jdarts.estimation.surrogate import TableSurrogate, fit_surrogate
from jdarts.estimation.table_lookup import TableLookup, accel_lookup, macro_lookup, nasbench201_lookup
from jdarts.estimation.text_children import TEXT_FIDELITIES
from jdarts.estimation.text_inheritance import INHERITED_TEXT_BUDGET, InheritedText
from jdarts.estimation.tradeoffs import HARD, SOFT, hypervolume, mnasnet_product, pareto_front

__all__ = [
    "ACCURACY",
    "FIDELITIES",
    "HARD",
    "INHERITED_BUDGET",
    "INHERITED_TEXT_BUDGET",
    "SOFT",
    "TEXT_FIDELITIES",
    "Budget",
    "Criterion",
    "Extrapolation",
    "FromScratch",
    "Inherited",
    "InheritedText",
    "PerformanceEstimator",
    "Report",
    "ReportingEstimator",
    "Score",
    "TableLookup",
    "TableSurrogate",
    "accel_lookup",
    "children_of",
    "criterion",
    "extrapolate",
    "fit_surrogate",
    "hypervolume",
    "inherited",
    "macro_lookup",
    "measure_of",
    "mnasnet_product",
    "nasbench201_lookup",
    "pareto_front",
]
