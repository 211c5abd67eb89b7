"""Spaces with fewer candidates, for the stages of a progressive search."""

import dataclasses
from typing import Any, cast

import numpy as np

from jdarts.spaces.space import Space


def narrowed(space: Space, op_weights: Any, keep: int) -> Any:
    """`space` with only the `keep` candidates of largest weight on every edge, in their old order."""
    tables = {}
    for cell_type, table in space.tables.items():
        order = np.argsort(-np.asarray(op_weights[cell_type]), axis=-1, kind="stable")[:, :keep]
        tables[cell_type] = tuple(tuple(ops[k] for k in sorted(best)) for ops, best in zip(table, order, strict=True))
    return dataclasses.replace(cast(Any, space), **tables)
