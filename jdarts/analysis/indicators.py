"""Indicators of op weights in plain NumPy, without a network: skip dominance, entropy, margins, op shares.

`p`: op weights of one cell type, `[edges, ops]`; `table`: the candidate ops of each edge, in column order.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jdarts.genotypes import Genotype, normal_cells
from jdarts.ops.candidates import SKIPS

PARAMETER_FREE = frozenset({"none", *SKIPS, "max_pool_3x3", "avg_pool_3x3", "noise"})
SKIP_SHARE = 0.5
"""A cell with more than this share of skip connections among its edges counts as collapsed."""

EdgeOps = Sequence[Sequence[str]]


def softmax(alphas: Any) -> np.ndarray:
    """Softmax over the last axis in float64."""
    a = np.asarray(alphas, np.float64)
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def entropies(p: np.ndarray) -> np.ndarray:
    """Entropy of each edge relative to its maximum, ln ops: `[edges]`, 1 for uniform and 0 for one-hot rows.

    Rows are normalised first, so that sigmoid weights also have an entropy.
    """
    p = np.asarray(p, np.float64)
    q = p / np.clip(p.sum(-1, keepdims=True), 1e-300, None)
    return -(q * np.log(np.clip(q, 1e-300, None))).sum(-1) / np.log(max(p.shape[-1], 2))


def margins(p: np.ndarray) -> np.ndarray:
    """Largest minus second-largest op weight of each edge, `[edges]`; near 0 while an edge is undecided."""
    top = np.sort(np.asarray(p, np.float64), -1)
    return top[:, -1] - (top[:, -2] if top.shape[1] > 1 else 0)


def op_shares(p: np.ndarray, table: EdgeOps) -> dict[str, float]:
    """Mean op weight of each op over the edges that have it as a candidate."""
    values: dict[str, list[float]] = {}
    for row, ops in zip(np.asarray(p, np.float64), table, strict=True):
        for value, op in zip(row, ops, strict=True):
            values.setdefault(op, []).append(float(value))
    return {op: float(np.mean(v)) for op, v in values.items()}


def skip_dominance(p: np.ndarray, table: EdgeOps) -> float:
    """Mean over edges of the skip weight minus the largest weight of a learnable op; positive if skips lead.

    NaN if no edge of the table has both as candidates.
    """
    gaps = []
    for row, ops in zip(np.asarray(p, np.float64), table, strict=True):
        learnable = [v for v, op in zip(row, ops, strict=True) if op not in PARAMETER_FREE]
        skips = [v for v, op in zip(row, ops, strict=True) if op in SKIPS]
        if skips and learnable:
            gaps.append(skips[0] - max(learnable))
    return float(np.mean(gaps)) if gaps else float("nan")


def op_counts(genotype: Genotype) -> dict[str, dict[str, int]]:
    """Number of times each op occurs in each cell of a genotype, `{"normal": {"skip_connect": 2, …}, …}`."""
    counts: dict[str, dict[str, int]] = {}
    for name, cell in genotype.cells.items():
        counts[name] = {}
        for op, _ in (edge for node in cell.live_nodes for edge in node):
            counts[name][op] = counts[name].get(op, 0) + 1
    return counts


def normal_counts(genotype: Genotype) -> dict[str, int]:
    """Number of times each op occurs in the normal cell, or in all normal cells of a network with several."""
    counts: dict[str, int] = {}
    for cell in normal_cells(genotype):
        for op, _ in (edge for node in cell.live_nodes for edge in node):
            counts[op] = counts.get(op, 0) + 1
    return counts


def skip_count(counts: Mapping[str, int]) -> int:
    """The skip connections in counts of ops, with and without a batch norm."""
    return sum(counts.get(op, 0) for op in SKIPS)


def depth(genotype: Genotype, cell: str = "normal") -> int:
    """Longest path, in edges, from an input to a node of the cell; shallow cells are a symptom of collapse."""
    chosen = genotype.cells[cell]
    length = dict.fromkeys(range(chosen.inputs), 0)
    for node, edges in enumerate(chosen.live_nodes, start=chosen.inputs):
        length[node] = max((length[source] + 1 for op, source in edges if op != "none"), default=0)
    return max(length.values())


def summary(op_weights: Mapping[str, Any], tables: Mapping[str, EdgeOps]) -> dict[str, dict[str, Any]]:
    """All indicators by cell type, ready for JSON."""
    found = {}
    for cell, table in tables.items():
        p = np.asarray(op_weights[cell], np.float64)
        found[cell] = {
            "entropy": float(entropies(p).mean()),
            "margin": float(margins(p).mean()),
            "max_weight": float(p.max(-1).mean()),
            "skip_dominance": skip_dominance(p, table),
            "op_shares": op_shares(p, table),
        }
    return found
