"""The table estimator of a space: the benchmark that has its architectures."""

from dataclasses import replace
from pathlib import Path

from jdarts.benchmarks import load_accel_table, load_macro_table, load_nasbench201_table
from jdarts.errors import UserError
from jdarts.estimation.estimator import PerformanceEstimator
from jdarts.estimation.surrogate import fit_surrogate
from jdarts.estimation.table_lookup import macro_lookup, nasbench201_lookup
from jdarts.spaces.mnasnet import mnasnet, read

SPACES = ("nasbench201", "nasbench_macro", "mnasnet")
"""The spaces with a public table."""


def table_estimator(space: str, file: str | Path) -> PerformanceEstimator:
    """The estimator that reads the benchmark table of a space from its public file, for a search.

    For `nasbench201` it has the validation accuracy after 12 epochs; no budget gives the test accuracy.
    The table of `mnasnet`, Accel-NASBench, has a small part of the architectures; a model that is fitted to it predicts
    accuracy, parameters and MACs. Raises `UserError` for a space without table and a file that cannot be read.
    """
    if space not in SPACES:
        raise UserError(f"space {space} has no benchmark table; choose from {', '.join(SPACES)}, or train")
    if not str(file):
        raise UserError(f"there is no table for space {space}; name its file with --table FILE")
    if space == "nasbench201":
        lookup = nasbench201_lookup(load_nasbench201_table(file))
        return replace(lookup, by_epochs={12: lookup.columns})
    if space == "nasbench_macro":
        return macro_lookup(load_macro_table(Path(file)))
    columns = {"accuracy": "val_top1", "parameters": "params", "macs": "macs"}
    return fit_surrogate(mnasnet, load_accel_table(Path(file)), read, columns)
