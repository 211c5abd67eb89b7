"""A cell-based search space: its table of candidate ops, alphas, supernet, derivation and derived networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.errors import UserError, unknown
from jdarts.genotypes import Cell, Genotype
from jdarts.genotypes.stacked import refuse_stacked
from jdarts.networks.edges import PLAIN, EdgeSettings
from jdarts.networks.reductions import StemName, check_reductions
from jdarts.networks.supernet import Supernet
from jdarts.networks.wiring import DARTS_EDGES, Edges, OpTable, OpWeights
from jdarts.ops import user_ops
from jdarts.ops.candidates import CANDIDATES
from jdarts.ops.user_ops import OwnOp
from jdarts.spaces.cell_decisions import CellDecisions, cell_decisions
from jdarts.spaces.decisions import Choices, Decision, checked_choices
from jdarts.spaces.space import normal_alphas
from jdarts.spaces.weight_checks import checked_weights, finite_weights

CELL_TYPES = ("normal", "reduce")


@dataclass(frozen=True)
class CellSpace:
    """A space of two cells whose edges each carry one op of a list of candidates; see the shorter `define_space`.

    Attributes:
      name: the registered name.
      normal, reduce: the candidate ops of each edge, in the order of the alpha columns.
      edges: `(source, target)` of every row of the alphas, ordered by target and source. Nodes 0 and 1 are the cell's
        inputs; each node from 2 on is the sum of its edges, and all of these together are the output.
      stem: the layers in front of the cells of the supernet: "cifar", or "imagenet" for images of 64 pixels and more.
      ops: the user's own ops among the candidates, which are registered under their names.

    Raises `UserError`, one line, for inconsistent values.
    """

    name: str
    normal: OpTable
    reduce: OpTable
    edges: Edges = DARTS_EDGES
    ops: tuple[OwnOp, ...] = ()
    stem: StemName = "cifar"

    def __post_init__(self):
        where = f"space {self.name}"
        _check_edges(self.edges, where)
        choices = (*CANDIDATES, *(op.name for op in self.ops))
        for cell_type, table in self.tables.items():
            if len(table) != len(self.edges) or len({len(ops) for ops in table}) != 1:
                raise UserError(
                    f"{where}: the {cell_type} table needs {len(self.edges)} edges with equally many candidates; "
                    f"it has {[len(ops) for ops in table]}"
                )
            for (source, target), ops in zip(self.edges, table, strict=True):
                edge = f"{where}, {cell_type} table, edge {source}→{target}"
                for op in ops:
                    if op not in choices:
                        raise UserError(f"{edge}: {unknown('op', str(op), choices)}")
        for op in self.ops:
            user_ops.enter(op)

    @property
    def tables(self) -> dict[str, OpTable]:
        """The candidate ops by cell type."""
        return {"normal": self.normal, "reduce": self.reduce}

    @property
    def alpha_shapes(self) -> dict[str, tuple[int, int]]:
        """Shapes of the alphas and of the op weights, `{"normal": (edges, ops), "reduce": (edges, ops)}`."""
        return {cell_type: (len(self.edges), len(table[0])) for cell_type, table in self.tables.items()}

    @property
    def entering(self) -> dict[int, dict[int, int]]:
        """For every intermediate node `{source: row}` of the edges that enter it."""
        rows: dict[int, dict[int, int]] = {}
        for row, (source, target) in enumerate(self.edges):
            rows.setdefault(target, {})[source] = row
        return rows

    def init_alphas(self, key: jax.Array, scale: float = 1e-3) -> dict[str, jax.Array]:
        """Alphas drawn from N(0, scale²), float32 (under `jax_enable_x64` float64)."""
        return normal_alphas(self.alpha_shapes, key, scale)

    def supernet(
        self,
        *,
        channels: int,
        cells: int,
        classes: int,
        axis_name: str | None = None,
        edge: EdgeSettings = PLAIN,
        remat: bool = False,
    ) -> Supernet:
        """The weight-sharing network; `apply(variables, op_weights, images, train, edge_values)` gives logits."""
        edge.check(channels)
        return Supernet(
            self.normal,
            self.reduce,
            channels,
            cells,
            classes,
            axis_name=axis_name,
            edge=edge,
            remat=remat,
            edges=self.edges,
            stem=self.stem,
        )

    def check_weights(self, op_weights: OpWeights, what: str = "op_weights") -> None:
        """Raise `UserError` unless `op_weights` (or alphas) have this space's names and shapes."""
        checked_weights(self, op_weights, what)

    def check_image(self, height: int, width: int, cells: int, what: str = "space.cells") -> None:
        """Raise `UserError` unless the image can be halved exactly at every reduction cell."""
        check_reductions(height, width, cells, what, self.stem)

    def derive(self, op_weights: OpWeights) -> Genotype:
        """The DARTS derivation: per node the two edges with the largest non-none op weight, each with that op.

        A node with a single incoming edge keeps that edge.

        `op_weights` are compared across edges, so pass relaxed (softmaxed) values, not alphas. Ties go to the lower
        index (Liu et al. 2019, §2.4 and code). Raises `UserError` for other shapes, NaN and infinite weights.
        """
        weights = finite_weights(self, op_weights)
        derived = {cell_type: self._top_two(weights[cell_type], table) for cell_type, table in self.tables.items()}
        return Genotype(**derived)

    def one_hot(self, genotype: Genotype) -> OpWeights:
        """Op weights that switch on exactly the ops of `genotype` inside the supernet."""
        refuse_stacked(genotype)
        weights = {}
        for cell_type, cell in genotype.cells.items():
            table = self.tables[cell_type]
            p = np.zeros(self.alpha_shapes[cell_type], np.float32)
            for target, edges in enumerate(cell.live_nodes, start=2):
                for op, source in edges:
                    row = self.entering.get(target, {}).get(source)
                    candidates = () if row is None else table[row]
                    if op not in candidates:
                        raise UserError(
                            f"{op} on edge {source}→{target} of the {cell_type} cell is not a candidate in space "
                            f"{self.name}; it has {', '.join(candidates) or 'no such edge'}"
                        )
                    p[row, candidates.index(op)] = 1.0
            weights[cell_type] = jnp.asarray(p)
        return weights

    def random_genotype(self, seed: int) -> Genotype:
        """Two distinct predecessors a node, uniformly; a uniform non-none op on each (DARTS' random baseline)."""
        rng = np.random.default_rng(seed)
        cells = {}
        for cell_type, table in self.tables.items():
            nodes = []
            for rows in self.entering.values():
                known = list(rows)
                picked = sorted(int(s) for s in rng.choice(len(known), size=min(2, len(known)), replace=False))
                edges = []
                for source in (known[i] for i in picked):
                    ops = [op for op in table[rows[source]] if op != "none"]
                    edges.append((ops[int(rng.integers(len(ops)))], source))
                nodes.append(tuple(edges))
            cells[cell_type] = Cell(nodes=tuple(nodes), concat=tuple(self.entering))
        return Genotype(**cells)

    @cached_property
    def nodes(self) -> CellDecisions:
        """The decisions node by node; `jdarts.spaces.cell_decisions` describes them."""
        return cell_decisions(self.name, self.tables, self.edges)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The inputs and ops of every node of both cells."""
        return self.nodes.decisions

    @property
    def size(self) -> int:
        """The number of different genotypes without `none`, whatever the order of the edges of a node."""
        return self.nodes.size

    def is_valid(self, choices: Sequence[int]) -> bool:
        """True if the choices are in range and every chosen op is a candidate of the chosen edge."""
        return self.nodes.edges(choices) is not None

    def decode(self, choices: Sequence[int]) -> Genotype:
        """The genotype, with the edges of a node in the order of their sources; raises `UserError` if not valid."""
        edges = self.nodes.edges(checked_choices(self, choices))
        assert edges is not None, "the choices are valid"
        return self.nodes.genotype(edges)

    def encode(self, genotype: Genotype) -> Choices:
        """The canonical choices; raises `UserError` for a genotype of another space.

        The order of a node's edges is lost, so that `decode(encode(g))` is `g` with the edges in the order of their
        sources: the same sum.
        """
        return self.nodes.choices(genotype)

    def _top_two(self, p: np.ndarray, table: OpTable) -> Cell:
        nodes = []
        for rows in self.entering.values():
            best = []
            for source, row in rows.items():
                scores = [(-np.inf if op == "none" else p[row, k]) for k, op in enumerate(table[row])]
                k = int(np.argmax(scores))
                best.append((scores[k], source, table[row][k]))
            best.sort(key=lambda item: -item[0])  # stable: equal scores keep the lower source first
            nodes.append(tuple((op, source) for _, source, op in best[:2]))
        return Cell(nodes=tuple(nodes), concat=tuple(self.entering))


def _check_edges(edges: Edges, where: str) -> None:
    if len(set(edges)) < len(edges):
        twice = next(edge for i, edge in enumerate(edges) if edge in edges[:i])
        raise UserError(f"{where}: edge {twice[0]}→{twice[1]} is listed twice; list each edge once")
    if not edges or list(edges) != sorted(edges, key=lambda edge: edge[::-1]):
        raise UserError(f"{where}: edges must be ordered by target, then source (define_space does it)")
    targets = sorted({target for _, target in edges})
    for source, target in edges:
        if not 0 <= source < target or target < 2:
            raise UserError(f"{where}: edge {source}→{target}; an edge leads from a node to a later one, from 2 on")
    for node in range(2, targets[-1] + 1):
        if node not in targets:
            raise UserError(f"{where}: no edge enters node {node}; number the nodes 2, 3, … without gaps")
