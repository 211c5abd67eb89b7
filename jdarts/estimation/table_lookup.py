"""Estimates from the tables of benchmarks, and from models that are fitted to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jdarts.benchmarks import ArchitectureTable
from jdarts.errors import UserError, unknown
from jdarts.estimation.estimator import Budget, Score


@dataclass(frozen=True)
class TableLookup:
    """Looks architectures up.

    Attributes:
      table: the table.
      columns: the column of every value, such as `{"accuracy": "c10_valid_12", "macs": "flops_c10"}`.
      cost: the column with the seconds of the training, if the table has one.
      by_epochs: other columns for a budget of `epochs`, such as `{200: {"accuracy": "c10_test_200"}}`.

    Raises `UserError` for a column that the table lacks.
    """

    table: ArchitectureTable
    columns: Mapping[str, str]
    cost: str | None = None
    by_epochs: Mapping[int, Mapping[str, str]] | None = None

    def __post_init__(self):
        groups = [self.columns, *(self.by_epochs or {}).values(), {} if self.cost is None else {"cost": self.cost}]
        for column in (column for group in groups for column in group.values()):
            if column not in self.table.columns:
                raise unknown("column", column, self.table.columns)

    def __call__(self, architecture: Any, budget: Budget) -> Score:
        """The row of an architecture. The budget may name `epochs` of `by_epochs`."""
        columns = dict(self.columns)
        for name, amount in budget.items():
            known = self.by_epochs or {}
            if name != "epochs" or amount not in known:
                raise UserError(
                    f"the table has no results for the budget {name} = {amount:g}; "
                    f"it has {', '.join(f'epochs = {epochs}' for epochs in known) or 'none but its own'}"
                )
            columns |= known[int(amount)]
        entry = self.table.query(architecture)
        values = {name: entry[column] for name, column in columns.items()}
        missing = [columns[name] for name, value in values.items() if np.isnan(value)]
        if missing:
            raise UserError(f"the table has no {missing[0]} for {entry.arch}")
        return Score(values, None if self.cost is None else entry[self.cost])


def nasbench201_lookup(table: ArchitectureTable, data: str = "c10") -> TableLookup:
    """NAS-Bench-201: validation accuracy after 12 epochs, as its own experiments search.

    With the budget `{"epochs": 200}` the test accuracy after the full training, which a search must not see. `data` is
    `c10`, `c100` or `in16`. The table of jdarts has no times; the cost is unknown.
    """
    if data not in ("c10", "c100", "in16"):
        raise unknown("data set of NAS-Bench-201", data, ("c10", "c100", "in16"))
    sizes = {"parameters": "params_c10", "macs": "flops_c10"}
    known = {name: column for name, column in sizes.items() if column in table.columns}
    valid = f"{data}_valid_12"
    return TableLookup(
        table, {"accuracy": valid} | known, by_epochs={12: {"accuracy": valid}, 200: {"accuracy": f"{data}_test_200"}}
    )


def macro_lookup(table: ArchitectureTable) -> TableLookup:
    """NAS-Bench-Macro: the mean test accuracy of three seeds, parameters and MACs."""
    return TableLookup(table, {"accuracy": "mean_acc", "parameters": "params", "macs": "flops"})


def accel_lookup(table: ArchitectureTable, device: str = "zcu102") -> TableLookup:
    """Accel-NASBench: top-1 accuracy, parameters and MACs in millions, latency in milliseconds, seconds of training."""
    column = f"latency_{device}"
    if column not in table.columns:
        devices = [name.partition("_")[2] for name in table.columns if name.startswith("latency_")]
        raise unknown("device", device, devices)
    columns = {"accuracy": "val_top1", "parameters": "params", "macs": "macs", "latency": column}
    return TableLookup(table, columns, cost="train_time")
