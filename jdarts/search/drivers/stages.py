"""Functions shared by drivers with several stages: other depths, and spaces with fewer candidates."""

from dataclasses import replace
from typing import Any, cast

import numpy as np

from jdarts.search.search_run import SearchRun
from jdarts.spaces.space import Space


def with_cells(run: SearchRun, cells: int) -> SearchRun:
    """The run with a supernet of `cells` cells."""
    return replace(run, config=replace(run.config, space=replace(run.config.space, cells=cells)))


def narrowed(space: Space, op_weights: Any, keep: int) -> Any:
    """`space` with only the `keep` candidates of largest weight on every edge, in their original order."""
    tables = {}
    for cell_type, table in space.tables.items():
        order = np.argsort(-np.asarray(op_weights[cell_type]), axis=-1, kind="stable")[:, :keep]
        tables[cell_type] = tuple(tuple(ops[k] for k in sorted(best)) for ops, best in zip(table, order, strict=True))
    return replace(cast(Any, space), **tables)
