"""NAS-Bench-Macro (Su et al. 2021, arXiv:2103.11922): the 6,561 networks of space `nasbench_macro` on CIFAR-10.

The public file `nas-bench-macro_cifar10.json` is an object that maps the code of each network to

    test_acc          test accuracies in % of three seeds
    mean_acc, std     their mean and standard deviation
    params, flops     parameters, and multiply–accumulates for one image of 32×32
"""

import json
from pathlib import Path
from typing import Any

from jdarts.benchmarks.table import BenchmarkTable, column
from jdarts.errors import UserError
from jdarts.genotypes import excerpt
from jdarts.genotypes.macro import MacroNetwork, macro_of

_MOST = {"mean_acc": 100.0, "std": 100.0, "params": 1e12, "flops": 1e15}


class NASBenchMacroTable(BenchmarkTable):
    """All 6,561 networks with the mean test accuracies of three seeds; the benchmark has no validation accuracies."""

    space = "nasbench_macro"
    chosen_by = "mean_acc"

    def test_accuracies(self, architecture: Any) -> dict[str, float]:
        """The test accuracy on CIFAR-10, the mean of three seeds."""
        return {"benchmark_c10_accuracy": self.query(architecture)["mean_acc"] / 100}

    def text(self, architecture: Any) -> str:
        """The code; raises `UserError` for a network of another space."""
        if isinstance(architecture, str):
            return architecture
        network = macro_of(architecture)
        if network is None:
            raise UserError(f"{excerpt(architecture)} is no network of NAS-Bench-Macro, whose table was asked")
        return network.code


def load_macro_table(path: str | Path) -> NASBenchMacroTable:
    """The table with the columns `mean_acc`, `std`, `params`, `flops` and `test_acc_0` to `test_acc_2`.

    Raises `UserError`, one line, for a file of another kind, a code that is none, and numbers that cannot be.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {str(path)!r}: {reason}; give nas-bench-macro_cifar10.json") from None
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path} is no object of networks by code; give nas-bench-macro_cifar10.json")
    for code, entry in content.items():
        MacroNetwork(code)
        if not isinstance(entry, dict) or not isinstance(entry.get("test_acc"), list) or len(entry["test_acc"]) != 3:
            raise UserError(f"{path}, network {code}: expected an object with the list test_acc of three accuracies")
        for name in _MOST:
            if entry.get(name) is None:
                raise UserError(f"{path}, network {code}: {name} is missing")
    codes, entries = list(content), list(content.values())

    def read(values: list[Any], name: str, most: float):
        return column(values, name, path, most=most, rows=lambda i: f"network {codes[i]}")

    columns = {name: read([entry[name] for entry in entries], name, most) for name, most in _MOST.items()}
    for seed in range(3):
        columns[f"test_acc_{seed}"] = read([entry["test_acc"][seed] for entry in entries], "test_acc", 100.0)
    accuracies = [name for name in columns if "acc" in name]
    return NASBenchMacroTable(columns, codes, accuracies, "mean_acc")
