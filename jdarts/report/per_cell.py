"""Charts of searches with alphas for each cell: skip connections and op weights over the depth of the network.

DARTS+ shows with the same two figures where a search collapses first (Liang et al. 2019, arXiv:1909.06035).
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jdarts.analysis import indicators
from jdarts.genotypes import StackedGenotype, parse_result
from jdarts.genotypes.stacked import CELL
from jdarts.networks.edges import EDGES_SUFFIX
from jdarts.networks.reductions import reduction_cells
from jdarts.report.charts import Scales, Series, heat_map, line_chart, scale_bar
from jdarts.report.records import SearchRecord

_BY_CELL = "cell, from the input on"


def skips_by_cell(search: SearchRecord) -> str:
    """Skip connections of every derived cell: over the epochs, and at three times over the depth.

    Empty if the genotypes have no cell for every position.
    """
    counts: dict[int, list[int]] = {}
    one_input = False
    for record in search.genotypes:
        genotype = parse_result(record["genotype"])
        if not isinstance(genotype, StackedGenotype):
            return ""
        one_input = genotype.nasbench201
        counts[record["epoch"]] = [indicators.skip_count(ops) for ops in indicators.op_counts(genotype).values()]
    if not counts:
        return ""
    epochs, values = list(counts), np.array(list(counts.values()), float).T  # [cells, epochs]
    span = (0.0, max(1.0, float(values.max())))
    rows = [cell_title(f"{CELL}{i}", len(values), one_input=one_input) for i in range(len(values))]
    lines = [
        Series(f"epoch {epochs[k]}", range(len(values)), values[:, k].tolist(), f"s{i}", i)
        for i, k in enumerate(sorted({0, len(epochs) // 2, len(epochs) - 1}))
    ]
    scales = Scales("edges of the derived cell", _BY_CELL, from_zero=True, whole=True)
    depth = line_chart("Skip connections by cell", lines, scales)
    heat = heat_map("Skip connections of every cell over the epochs", rows, epochs, values, span)
    return f"{depth}<div>{heat}{scale_bar(span, 'skip connections')}</div>"


def weights_by_cell(
    op_weights: Mapping[str, np.ndarray],
    tables: Mapping[str, Sequence[Sequence[str]]],
    styles: Callable[[Sequence[str]], Mapping[str, tuple[str, int]]],
) -> str:
    """The mean weight of each op over the edges of a cell, by cell; empty unless there are op weights for each cell.

    `op_weights` are those of the last epoch, `{"cell_0": [edges, ops], …}`; `styles` gives the colour and the dash of
    each op.
    """
    names = [name for name in op_weights if is_cell(name)]
    if len(names) < 2 or any(name not in tables for name in names):
        return ""
    shares = [indicators.op_shares(op_weights[name], tables[name]) for name in names]
    lines = [
        Series(op, range(len(names)), [each.get(op, np.nan) for each in shares], *style)
        for op, style in styles(list(dict.fromkeys(op for each in shares for op in each))).items()
    ]
    return line_chart("Mean weight of each op by cell, last epoch", lines, Scales("mean over edges", _BY_CELL))


def is_cell(name: str) -> bool:
    """True for the name of one cell among many, as in `cell_3`."""
    return name.startswith(CELL) and not name.endswith(EDGES_SUFFIX)


def cell_title(name: str, cells: int, *, one_input: bool = False) -> str:
    """`Cell 3`, or `Cell 2, reduction`, for the cell of that name in a network of so many cells."""
    number = int(name.removeprefix(CELL))
    return f"Cell {number}" + (", reduction" if not one_input and number in reduction_cells(cells) else "")
