"""Latency: tables of blocks, measured on a device, and predictions from them (Cai et al. 2019, §3.3).

The latency of a mobile network is predicted as the sum over its blocks, each measured once for a space:

    from jdarts import latency, spaces

    table = latency.measure_space(spaces.get("nasbench_macro"), classes=10, image_size=32)
    latency.write_table(table, "macro.yaml")
    table.predict(architecture, classes=10, image_size=32)           # milliseconds
    table.costs(space, classes=10, image_size=32).layers             # of every option of every layer

`choice_costs` gives parameters and multiply–accumulates in the same form, with `block_parameters` and `block_macs`.
"""

from jdarts.latency.blocks import Block, ChoiceCosts, block_macs, block_parameters, blocks_of, choice_costs, keys_of
from jdarts.latency.measure import ALONE, Measuring, measure_block, measure_space
from jdarts.latency.table import LatencyTable, read_fbnet, read_table, write_fbnet, write_table
from jdarts.latency.whole import measure_network

__all__ = [
    "ALONE",
    "Block",
    "ChoiceCosts",
    "LatencyTable",
    "Measuring",
    "block_macs",
    "block_parameters",
    "blocks_of",
    "choice_costs",
    "keys_of",
    "measure_block",
    "measure_network",
    "measure_space",
    "read_fbnet",
    "read_table",
    "write_fbnet",
    "write_table",
]
