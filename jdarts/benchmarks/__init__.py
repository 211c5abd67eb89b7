"""Tables of trained architectures, in which to look up an architecture instead of training it.

The public files of NAS-Bench-201, NAS-Bench-Macro, Accel-NASBench and NAS-Bench-NLP are read; jdarts contains none of
them.
"""

from jdarts.benchmarks.accel_nasbench import load_accel_table
from jdarts.benchmarks.nasbench201 import Table, load_table
from jdarts.benchmarks.nasbench_macro import load_macro_table
from jdarts.benchmarks.nasbench_nlp import LossCurves, load_loss_curves
from jdarts.benchmarks.table import ArchitectureTable, Entry

__all__ = [
    "ArchitectureTable",
    "Entry",
    "LossCurves",
    "Table",
    "load_accel_table",
    "load_loss_curves",
    "load_macro_table",
    "load_table",
]
