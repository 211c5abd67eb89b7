"""Nodes, edges and op weights of the cells of Liu et al. 2019, by number.

A cell has two inputs (nodes 0 and 1, the outputs of the two cells before), four intermediate nodes 2–5 and 14 edges;
row `OFFSETS[i] + j` of an op-weight matrix belongs to the edge from node j to node i.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

NODES = 4
EDGES = 14
OFFSETS = {2: 0, 3: 2, 4: 5, 5: 9}
NASBENCH201_NODES = 4  # the input included
NASBENCH201_EDGES = tuple((source, target) for target in range(1, NASBENCH201_NODES) for source in range(target))
DARTS_EDGES = tuple((source, target) for target in OFFSETS for source in range(target))

OpTable = tuple[tuple[str, ...], ...]
Edges = tuple[tuple[int, int], ...]  # (source, target), in the order of the rows of the alphas
OpWeights = dict[str, Any]  # arrays `[edges, ops]`, or lists of their rows


def row(source: int, target: int) -> int:
    """The op-weight row of the edge `source → target` in a cell with all 14 edges."""
    return OFFSETS[target] + source


def rows_of(p: Any) -> list[jax.Array]:
    """The rows of an array, or of a list of them, each by itself: derivatives then tell them apart."""
    return p if isinstance(p, list) else [jnp.squeeze(row, 0) for row in lax.split(p, [1] * len(p))]


class WholeVariables:
    """The answers that `Packing` needs, of a network whose variables are not split by edges or bodies of cells."""

    def edges_of(self, path: tuple[str, ...]) -> None:
        """No variable is stacked over edges."""
        del path

    def body_of(self, path: tuple[str, ...]) -> None:
        """No variable is part of a cell's body."""
        del path
