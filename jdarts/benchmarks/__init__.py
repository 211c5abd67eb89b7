"""Tables of trained architectures, to look a genotype up instead of training it."""

from jdarts.benchmarks.nasbench201 import Entry, Table, load_table

__all__ = ["Entry", "Table", "load_table"]
