"""Tables of trained architectures, in which to look up an architecture instead of training it.

The public files of NAS-Bench-201, NAS-Bench-Macro, Accel-NASBench and NAS-Bench-NLP are read; jdarts contains none of
them.
"""

from pathlib import Path

from jdarts.benchmarks.accel_nasbench import load_accel_table
from jdarts.benchmarks.nasbench201 import NASBench201Table, load_nasbench201_table
from jdarts.benchmarks.nasbench_macro import NASBenchMacroTable, load_macro_table
from jdarts.benchmarks.nasbench_nlp import LossCurves, load_loss_curves
from jdarts.benchmarks.table import ArchitectureTable, BenchmarkTable, Entry

__all__ = [
    "ArchitectureTable",
    "BenchmarkTable",
    "Entry",
    "LossCurves",
    "NASBench201Table",
    "NASBenchMacroTable",
    "load_accel_table",
    "load_loss_curves",
    "load_macro_table",
    "load_nasbench201_table",
    "load_table",
]


def load_table(path: str | Path) -> BenchmarkTable:
    """The table in a file: NAS-Bench-Macro's in `.json`, NAS-Bench-201's in any other (`.csv`, `.csv.gz`).

    Raises `UserError` for a file of another kind, pickles included.
    """
    return load_macro_table(path) if Path(path).suffix == ".json" else load_nasbench201_table(path)
