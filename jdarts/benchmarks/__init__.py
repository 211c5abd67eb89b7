"""Tables of trained architectures, in which to look up a genotype instead of training it."""

from jdarts.benchmarks.nasbench201 import Entry, Table, load_table

__all__ = ["Entry", "Table", "load_table"]
