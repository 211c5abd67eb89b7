"""Rules that derive a genotype from op weights, besides `space.derive` (the DARTS top two, or the argmax).

Op weights are `{cell type: [edges, ops]}`. Ties are resolved in favour of the lower row and column. In a space of DARTS
cells a rule also chooses the edges of each node. In NAS-Bench-201 every edge has an op, and `none` is an absent edge.

Every rule raises `UserError` for op weights of another shape and for NaN and infinite entries.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import Cell, Genotype, MacroArchitecture, RecurrentGenotype, StackedGenotype, normal_cells
from jdarts.networks.wiring import OpTable, OpWeights
from jdarts.ops.candidates import SKIPS
from jdarts.spaces.layer_choices import LayerChoices
from jdarts.spaces.nasbench201 import NASBench201Space
from jdarts.spaces.per_cell import PerCellSpace
from jdarts.spaces.space import Space
from jdarts.spaces.weight_checks import finite_weights

ScoredOp = tuple[float, int, str]  # score, source, op


def threshold(space: Space, op_weights: OpWeights, least: float) -> Genotype:
    """FairDARTS: a node keeps its two strongest edges, each with its best op, if their weight is at least `least`.

    A node keeps two edges, one or none. If no edge from an input remains in a cell, the strongest one is kept. In
    NAS-Bench-201 each edge is decided separately, and `none` replaces an op whose weight is below `least`. A layer of a
    chain keeps its strongest op in any case (`dominant_ops` counts those above a threshold).
    """
    weights = finite_weights(space, op_weights)
    if isinstance(space, LayerChoices):
        return space.derive(weights)
    if isinstance(space, PerCellSpace):
        return space.by_cell(weights, lambda shared, p: threshold(shared, p, least))
    if isinstance(space, NASBench201Space):
        best = [
            max((-np.inf if op == "none" else p, -k) for k, (op, p) in enumerate(zip(ops, row, strict=True)))
            for ops, row in zip(space.cell, weights["cell"], strict=True)
        ]
        return space.genotype([ops[-k] if p >= least else "none" for ops, (p, k) in zip(space.cell, best, strict=True)])

    def nodes(entries: dict[int, list[ScoredOp]], first: int):
        kept = {t: [e for e in _strongest(found)[:2] if e[0] >= least] for t, found in entries.items()}
        if not any(source < first for edges in kept.values() for _, source, _ in edges):
            best = max((e[0], -t) for t, found in entries.items() for e in found if e[1] < first)
            target = -best[1]
            kept[target] = [next(e for e in _strongest(entries[target]) if e[1] < first and e[0] == best[0])]
        return kept

    return _build(space, weights, nodes)


def best_pairs(space: Space, op_weights: OpWeights) -> Genotype:
    """PR-DARTS: each node keeps the two (edge, op) pairs with the largest weights, possibly both on one edge.

    `none` is never chosen. NAS-Bench-201 and chains have one op an edge; there it is `space.derive`.
    """
    if isinstance(space, NASBench201Space | LayerChoices):
        return space.derive(op_weights)
    weights = finite_weights(space, op_weights)
    if isinstance(space, PerCellSpace):
        return space.by_cell(weights, best_pairs)
    return _build(
        space, weights, lambda entries, first: {t: _strongest(e, edges=False)[:2] for t, e in entries.items()}
    )


def best_of(space: Space, genotypes: Iterable[Genotype], evaluate: Callable[[OpWeights], float]) -> Genotype:
    """The genotype with the highest score, and the first of equal ones.

    The score is `evaluate(space.one_hot(genotype))`. Raises `UserError` if there is no genotype or a score is NaN.
    """
    scores: list[tuple[float, Genotype]] = []
    for genotype in genotypes:
        score = float(evaluate(space.one_hot(genotype)))
        if math.isnan(score):
            raise UserError(f"candidate {len(scores)} scored nan and cannot be compared: {genotype.to_text()}")
        scores.append((score, genotype))
    if not scores:
        raise UserError("there are no candidate genotypes to compare; give at least one")
    return max(scores, key=lambda scored: scored[0])[1]


def random_genotypes(space: Space, count: int, key: jax.Array) -> list[Genotype]:
    """`count` independent uniformly random genotypes."""
    return [space.random_genotype(int(seed)) for seed in _seeds(key, count)]


def most_probable(
    space: Space, op_weights: OpWeights, count: int, key: jax.Array, *, log: bool = False
) -> list[Genotype]:
    """SETN: the `count` architectures with the largest probability Π_e p[e, op].

    In NAS-Bench-201 all architectures are ranked, and the most probable one comes first. In DARTS cells the result is
    `count` random draws: two edges of each node in proportion to their largest weight, without replacement, and an op
    on each edge in proportion to its weight, without `none`. In a chain it is `count` random draws of an op a layer;
    with alphas for each cell, of every cell (refused for NAS-Bench-201, whose stacks of cells cannot be ranked one by
    one).

    Args:
      space: the space of the genotypes.
      op_weights: p, not negative; or with `log` the logarithms of p, up to a constant in each cell type. A softmax in
        float32 underflows to 0 where an alpha is about 90 below the largest one; logarithms keep the order.
      count: number of genotypes, at least 1.
      key: PRNG key of the draws.
      log: `op_weights` are logarithms.

    Architectures with a weight of 0 come last, those with fewer zeros first, then by the product of the other weights.
    """
    logs = finite_weights(space, op_weights) if log else _logarithms(space, op_weights)
    if isinstance(space, PerCellSpace):
        return _most_probable_stacks(space, logs, count, key)
    seeds = _seeds(key, count)
    if isinstance(space, LayerChoices):
        return [_sampled_chain(space, logs, np.random.default_rng(int(seed))) for seed in seeds]
    if not isinstance(space, NASBench201Space):
        return [_sample(space, logs, np.random.default_rng(int(seed))) for seed in seeds]
    zeros = np.array([sum(row) for row in itertools.product(*np.isneginf(logs["cell"]).tolist())])
    finite = np.where(np.isneginf(logs["cell"]), 0.0, logs["cell"]).tolist()
    total = np.array([math.fsum(row) for row in itertools.product(*finite)])  # exact, so that equal products tie
    best = np.lexsort((-total, zeros))[:count]
    places = zip(*np.unravel_index(best, [len(ops) for ops in space.cell]), strict=True)
    return [space.genotype([ops[k] for ops, k in zip(space.cell, place, strict=True)]) for place in places]


def refuse_stacks_of_nasbench201(space: Space) -> None:
    """Raise `UserError` for NAS-Bench-201 with alphas for each cell, where `most_probable` is not defined."""
    if isinstance(space, PerCellSpace) and space.one_input:
        raise UserError(
            f"the most probable of all {space.size:.0e} architectures of {space.cells} cells cannot be found by "
            "ranking them; use space.shared true, or a method without that comparison"
        )


def _most_probable_stacks(space: PerCellSpace, logs: Any, count: int, key: jax.Array) -> list[Genotype]:
    """`count` draws of every cell, put together."""
    refuse_stacks_of_nasbench201(space)
    columns = [
        most_probable(own.space, own.weights(logs[name]), count, jax.random.fold_in(key, i), log=True)
        for i, (name, own) in enumerate(space.alone.items())
    ]
    return [StackedGenotype(tuple(genotype.normal for genotype in row)) for row in zip(*columns, strict=True)]


def dominant_ops(space: LayerChoices, op_weights: OpWeights, least: float = 0.75) -> dict[str, int]:
    """FairDARTS on a chain: how many layers have an op of each name among their dominant ones.

    The dominant ops of a layer are the two of largest weight (the lower number first, where they are equal), as far as
    their weight exceeds `least`, σ(α) > 0.75 in the paper (Chu et al. 2020, arXiv:1911.12126).
    """
    weights = finite_weights(space, op_weights)
    counts = {op: 0 for table in space.tables.values() for ops in table for op in ops}
    for name, table in space.tables.items():
        for ops, row in zip(table, weights[name], strict=True):
            for k in np.argsort(-row, kind="stable")[:2]:
                counts[ops[k]] += bool(row[k] > least)
    return counts


def limit_skips(space: Space, op_weights: OpWeights, most: int) -> Genotype:
    """P-DARTS: derive with at most `most` skip connections in the normal cell.

    While there are more, the weight of the weakest one is set to 0 and the genotype is derived again.
    """
    weights = finite_weights(space, op_weights)
    rows = {edge: row for row, edge in enumerate(space.edges)}
    while True:
        genotype = space.derive(weights)
        skips = [
            (rows[source, target], space.tables["normal"][rows[source, target]].index(op))
            for target, edges in enumerate(genotype.normal.nodes, start=genotype.normal.inputs)
            for op, source in edges
            if op == "skip_connect"
        ]
        live = [place for place in skips if weights["normal"][place] > 0]
        if len(skips) <= most or not live:
            return genotype
        weights["normal"][min(live, key=lambda place: weights["normal"][place])] = 0.0


def skips_in(genotype: Genotype) -> int:
    """The number of skip connections in the normal cell; of several normal cells, in the one with the most."""
    return max(map(_skips, normal_cells(genotype)), default=0)


def _skips(cell: Cell) -> int:
    return sum(op in SKIPS for edges in cell.nodes for op, _ in edges)


def free_edges(genotype: Genotype) -> dict[str, int]:
    """The number of edges that pass their input on: `skip_connections` of the normal cell, or `identities`.

    With a cell for every position, `skip_connections` are those of all normal cells together. `identities` are the
    nodes of a recurrent cell with the activation identity. In a chain of layers the layers count.
    """
    if isinstance(genotype, RecurrentGenotype):
        return {"identities": sum(activation == "identity" for activation, _ in genotype.recurrent)}
    return {"skip_connections": sum(map(_skips, normal_cells(genotype)))}


def free_shares(genotypes: Sequence[Genotype]) -> dict[str, float]:
    """The mean share of such edges among those of all cells: `skip_share`, or `identity_share` of recurrent cells.

    In ENAS macro networks it is the share of skips among all possible ones.
    """
    macro = [genotype.skip_rate for genotype in genotypes if isinstance(genotype, MacroArchitecture)]
    if macro:
        return {"skip_share": float(np.mean(macro))}
    recurrent = isinstance(genotypes[0], RecurrentGenotype)
    op, name = ("identity", "identity_share") if recurrent else ("skip_connect", "skip_share")
    ops = [[op for cell in g.cells.values() for edges in cell.nodes for op, _ in edges] for g in genotypes]
    return {name: float(np.mean([each.count(op) / len(each) for each in ops]))}


def _sampled_chain(space: LayerChoices, logs: dict[str, np.ndarray], rng: np.random.Generator) -> Any:
    return space.decode([int(_draw(list(logs[name][row]), 1, rng)[0]) for name, row in space.rows])


def _logarithms(space: Space, op_weights: OpWeights) -> dict[str, np.ndarray]:
    weights = finite_weights(space, op_weights)
    for cell_type, p in weights.items():
        if p.min() < 0:
            row = int(np.argwhere(p < 0)[0][0])
            raise UserError(
                f'op_weights["{cell_type}"] row {row} has the negative weight {p[row].min():g}; probabilities are 0 or '
                "more (pass logarithms with log=True)"
            )
    with np.errstate(divide="ignore"):
        return {cell_type: np.log(p) for cell_type, p in weights.items()}


def _entries(space: Space, p: np.ndarray, table: OpTable) -> dict[int, list[ScoredOp]]:
    found: dict[int, list[ScoredOp]] = {}
    for row, (source, target) in enumerate(space.edges):
        found.setdefault(target, [])
        found[target] += [(float(p[row, k]), source, op) for k, op in enumerate(table[row]) if op != "none"]
    return found


def _strongest(entries: list[ScoredOp], *, edges: bool = True) -> list[ScoredOp]:
    """Entries in descending order of score; with `edges` only the best op of each edge."""
    ordered = sorted(entries, key=lambda e: -e[0])
    return [e for i, e in enumerate(ordered) if not edges or e[1] not in {other[1] for other in ordered[:i]}]


def _build(space: Space, weights: dict[str, np.ndarray], choose: Callable) -> Genotype:
    cells = {}
    first = space.edges[0][1]
    for cell_type, table in space.tables.items():
        kept = choose(_entries(space, weights[cell_type], table), first)
        nodes = tuple(tuple((op, source) for _, source, op in kept[t]) for t in sorted(kept))
        cells[cell_type] = Cell(nodes=nodes, concat=tuple(range(first, first + len(nodes))), inputs=first)
    return Genotype(**cells)


def _sample(space: Space, logs: dict[str, np.ndarray], rng: np.random.Generator) -> Genotype:
    def choose(entries: dict[int, list[ScoredOp]], first: int):
        del first
        kept = {}
        for target, found in entries.items():
            sources = sorted({e[1] for e in found})
            strength = [max(e[0] for e in found if e[1] == s) for s in sources]
            kept[target] = []
            for source in sorted(sources[i] for i in _draw(strength, 2, rng)):
                ops = [e for e in found if e[1] == source]
                kept[target].append(ops[_draw([e[0] for e in ops], 1, rng)[0]])
        return kept

    return _build(space, logs, choose)


def _draw(logs: list[float], count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of up to `count` draws without replacement, with probabilities proportional to `exp(logs)`.

    The largest values of `logs` plus Gumbel noise are such draws, without underflow. An index with probability 0 is
    drawn only if no other index is left.
    """
    impossible = np.isneginf(logs)
    noisy = np.where(impossible, 0.0, logs) + rng.gumbel(size=len(logs))
    return np.lexsort((-noisy, impossible))[:count]


def _seeds(key: jax.Array, count: int) -> np.ndarray:
    if count < 1:
        raise UserError(f"candidates is {count}; use at least 1")
    return np.asarray(jax.random.randint(key, (count,), 0, 2**31 - 1))


def all_architectures() -> Iterable[tuple[str, ...]]:
    """The ops on the six edges of all 15,625 architectures of NAS-Bench-201, in alpha order."""
    return itertools.product(*NASBench201Space().cell)
