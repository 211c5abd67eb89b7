"""What a cell-based search space offers: its table of candidate ops, alphas, supernet, derivation, derived networks."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import kernels
from jdarts.errors import UserError, unknown
from jdarts.genotype import Cell, Genotype
from jdarts.ops import CANDIDATES, Layout
from jdarts.spaces.cells import EDGES, NODES, OpTable, OpWeights, Supernet, reduction_cells, row
from jdarts.spaces.edges import PLAIN, EdgeSettings

CELL_TYPES = ("normal", "reduce")


@dataclass(frozen=True)
class CellSpace:
    """A space of two cells, each with 14 edges that carry one op of a list of candidates.

    Attributes:
      name: the registered name.
      normal, reduce: for each of the 14 edges its candidate ops; their order is that of the alpha columns.
    """

    name: str
    normal: OpTable
    reduce: OpTable

    def __post_init__(self):
        for cell_type, table in self.tables.items():
            if len(table) != EDGES or len({len(ops) for ops in table}) != 1:
                raise UserError(
                    f"space {self.name}: the {cell_type} table needs {EDGES} edges with equally many candidates; "
                    f"it has {[len(ops) for ops in table]}"
                )
            for op in (op for ops in table for op in ops):
                if op not in CANDIDATES:
                    raise UserError(f"space {self.name}, {cell_type} table: {unknown('op', str(op), CANDIDATES)}")

    @property
    def tables(self) -> dict[str, OpTable]:
        """The candidate ops by cell type."""
        return {"normal": self.normal, "reduce": self.reduce}

    @property
    def alpha_shapes(self) -> dict[str, tuple[int, int]]:
        """Shapes of the alphas and of the op weights, `{"normal": (14, ops), "reduce": (14, ops)}`."""
        return {cell_type: (EDGES, len(table[0])) for cell_type, table in self.tables.items()}

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """`(source, target)` of every row of the alphas; nodes 0 and 1 are the cell's inputs."""
        return tuple((source, target) for target in range(2, 2 + NODES) for source in range(target))

    def init_alphas(self, key: jax.Array, scale: float = 1e-3) -> dict[str, jax.Array]:
        """Alphas drawn from N(0, scale²), float32."""
        keys = jax.random.split(key, len(CELL_TYPES))
        shapes = self.alpha_shapes
        return {c: scale * jax.random.normal(k, shapes[c]) for c, k in zip(CELL_TYPES, keys, strict=True)}

    def supernet(
        self,
        *,
        channels: int,
        cells: int,
        classes: int,
        axis_name: str | None = None,
        layout: Layout = "auto",
        impl: kernels.Impl = "auto",
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
            layout=layout,
            impl=impl,
            edge=edge,
            remat=remat,
        )

    def check_weights(self, op_weights: OpWeights, what: str = "op_weights") -> None:
        """Raise `UserError` unless `op_weights` (or alphas) have this space's names and shapes."""
        if set(op_weights) != set(CELL_TYPES):
            raise UserError(f"{what} has the entries {sorted(op_weights)}; space {self.name} needs {list(CELL_TYPES)}")
        for cell_type, shape in self.alpha_shapes.items():
            have = tuple(op_weights[cell_type].shape)
            if have != shape:
                raise UserError(f'{what}["{cell_type}"] has shape {have}; space {self.name} needs {shape}')

    def check_image(self, height: int, width: int, cells: int, what: str = "space.cells") -> None:
        """Raise `UserError` unless the image can be halved exactly at every reduction cell."""
        factor = 2 ** len(reduction_cells(cells))
        if height % factor or width % factor or min(height, width) < factor:
            raise UserError(
                f"images of {height}x{width} cannot pass the {len(reduction_cells(cells))} reduction cells of a "
                f"network with {what} = {cells}; use height and width divisible by {factor}"
            )

    def derive(self, op_weights: OpWeights) -> Genotype:
        """The DARTS derivation: per node the two edges with the largest non-none op weight, each with that op.

        `op_weights` are compared across edges, so pass relaxed (softmaxed) values, not alphas. Ties go to the lower
        index (Liu et al. 2019, §2.4 and code).
        """
        self.check_weights(op_weights)
        derived = {
            cell_type: _top_two(np.asarray(op_weights[cell_type], np.float64), table)
            for cell_type, table in self.tables.items()
        }
        return Genotype(**derived)

    def one_hot(self, genotype: Genotype) -> OpWeights:
        """Op weights that switch on exactly the ops of `genotype` inside the supernet."""
        weights = {}
        for cell_type, cell in genotype.cells.items():
            table = self.tables[cell_type]
            p = np.zeros(self.alpha_shapes[cell_type], np.float32)
            for i, edges in enumerate(cell.live_nodes):
                for op, source in edges:
                    candidates = table[row(source, i + 2)]
                    if op not in candidates:
                        raise UserError(
                            f"{op} on edge {source}→{i + 2} of the {cell_type} cell is no candidate in space "
                            f"{self.name}; it has {', '.join(candidates)}"
                        )
                    p[row(source, i + 2), candidates.index(op)] = 1.0
            weights[cell_type] = jnp.asarray(p)
        return weights

    def random_genotype(self, seed: int) -> Genotype:
        """Two distinct predecessors a node, uniformly; a uniform non-none op on each (DARTS' random baseline)."""
        rng = np.random.default_rng(seed)
        cells = {}
        for cell_type, table in self.tables.items():
            nodes = []
            for target in range(2, 2 + NODES):
                sources = sorted(int(s) for s in rng.choice(target, size=2, replace=False))
                edges = []
                for source in sources:
                    ops = [op for op in table[row(source, target)] if op != "none"]
                    edges.append((ops[int(rng.integers(len(ops)))], source))
                nodes.append(tuple(edges))
            cells[cell_type] = Cell(nodes=tuple(nodes), concat=tuple(range(2, 2 + NODES)))
        return Genotype(**cells)


def _top_two(p: np.ndarray, table: OpTable) -> Cell:
    nodes = []
    for target in range(2, 2 + NODES):
        best = []
        for source in range(target):
            ops = table[row(source, target)]
            scores = [(-np.inf if op == "none" else p[row(source, target), k]) for k, op in enumerate(ops)]
            k = int(np.argmax(scores))
            best.append((scores[k], source, ops[k]))
        best.sort(key=lambda item: -item[0])  # stable: equal scores keep the lower source first
        nodes.append(tuple((op, source) for _, source, op in best[:2]))
    return Cell(nodes=tuple(nodes), concat=tuple(range(2, 2 + NODES)))
