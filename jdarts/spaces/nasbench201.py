"""S6, the space of NAS-Bench-201 (Dong & Yang 2020, arXiv:2001.00326).

One cell of four nodes and six edges, each with one of five ops; the same cell everywhere. Its networks are in
`jdarts.networks.nasbench201`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import NASBENCH201_OPS, Cell, Genotype
from jdarts.genotypes.kinds import require_cells
from jdarts.networks.edges import EDGES_SUFFIX, PLAIN, EdgeSettings
from jdarts.networks.nasbench201 import Supernet201, check_stages
from jdarts.networks.wiring import NASBENCH201_EDGES as EDGES
from jdarts.networks.wiring import NASBENCH201_NODES as NODES
from jdarts.networks.wiring import OpTable, OpWeights
from jdarts.spaces.decisions import Choices, Decision, FreeChoices, checked_choices
from jdarts.spaces.weight_checks import finite_weights


@dataclass(frozen=True)
class NASBench201Space(FreeChoices):
    """One cell with six edges.

    Attributes:
      name: the registered name.
      cell: for each edge of `EDGES` its candidates, a subset of the benchmark's five ops (all by default).
    """

    name: str = "nasbench201"
    cell: OpTable = field(default=(NASBENCH201_OPS,) * len(EDGES))

    def __post_init__(self):
        if len(self.cell) != len(EDGES) or len({len(ops) for ops in self.cell}) != 1:
            raise UserError(
                f"space {self.name}: the cell needs {len(EDGES)} edges with equally many candidates; "
                f"it has {[len(ops) for ops in self.cell]}"
            )
        for ops in self.cell:
            for op in ops:
                if op not in NASBENCH201_OPS:
                    raise UserError(
                        f"space {self.name}: {op!r} is not an op of NAS-Bench-201: {', '.join(NASBENCH201_OPS)}"
                    )

    @property
    def tables(self) -> dict[str, OpTable]:
        """The candidate ops by cell type."""
        return {"cell": self.cell}

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """`(source, target)` of every row of the alphas."""
        return EDGES

    @property
    def alpha_shapes(self) -> dict[str, tuple[int, int]]:
        """`{"cell": (6, ops)}`."""
        return {"cell": (len(EDGES), len(self.cell[0]))}

    def init_alphas(self, key: jax.Array, scale: float = 1e-3) -> dict[str, jax.Array]:
        """Alphas drawn from N(0, scale²), float32 (under `jax_enable_x64` float64)."""
        return {"cell": scale * jax.random.normal(key, self.alpha_shapes["cell"])}

    def supernet(
        self,
        *,
        channels: int,
        cells: int,
        classes: int,
        axis_name: str | None = None,
        edge: EdgeSettings = PLAIN,
        remat: bool = False,
    ) -> Supernet201:
        """The weight-sharing network with `cells` cells a stage; call it as `(op_weights, images, train, values)`."""
        edge.check(channels)
        if edge.sampled and edge.partial_channels > 1:
            raise UserError("partial channels do not work with running only the sampled op; use gdas.sampled=false")
        return Supernet201(channels, cells, classes, axis_name, self.cell, edge, remat)

    def check_image(self, height: int, width: int, cells: int, what: str = "space.cells") -> None:
        """Raise `UserError` unless the image can be halved twice."""
        del cells, what
        check_stages(height, width)

    def derive(self, op_weights: OpWeights) -> Genotype:
        """The largest op of every edge, `none` included; ties go to the lower index.

        An entry `cell_edges` is ignored: a factor of an edge does not change which op is its largest. Raises
        `UserError` for other shapes, NaN and infinite weights.
        """
        ops = {name: q for name, q in op_weights.items() if name != "cell" + EDGES_SUFFIX}
        p = finite_weights(self, ops)["cell"]
        return self.genotype([ops[int(np.argmax(row))] for ops, row in zip(self.cell, p, strict=True)])

    def genotype(self, ops: list[str] | tuple[str, ...]) -> Genotype:
        """The genotype with these ops on the six edges."""
        nodes = [tuple((ops[EDGES.index((s, t))], s) for s in range(t)) for t in range(1, NODES)]
        return Genotype(normal=Cell(nodes=tuple(nodes), concat=(NODES - 1,), inputs=1), reduce=None)

    def one_hot(self, genotype: Genotype) -> OpWeights:
        """Op weights that switch on exactly the ops of `genotype` inside the supernet."""
        require_cells(genotype)
        p = np.zeros(self.alpha_shapes["cell"], np.float32)
        for target, edges in enumerate(genotype.normal.nodes, start=1):
            for op, source in edges:
                row = EDGES.index((source, target))
                if op not in self.cell[row]:
                    raise UserError(f"{op} on edge {source}→{target} is not a candidate in space {self.name}")
                p[row, self.cell[row].index(op)] = 1.0
        return {"cell": jnp.asarray(p)}

    def random_genotype(self, seed: int) -> Genotype:
        """A uniformly random op on each edge, `none` included."""
        rng = np.random.default_rng(seed)
        return self.genotype([ops[int(rng.integers(len(ops)))] for ops in self.cell])

    def make_decisions(self) -> tuple[Decision, ...]:
        """The op of every edge, `edge_0_1` and so on in the order of `edges`; edges with one candidate have none."""
        return tuple(
            Decision(f"edge_{source}_{target}", len(ops), "cell/op", tuple(ops))
            for (source, target), ops in zip(EDGES, self.cell, strict=True)
            if len(ops) > 1
        )

    def decode(self, choices: Sequence[int]) -> Genotype:
        """The genotype with these candidates on the edges; raises `UserError` unless the choices are valid."""
        rest = iter(checked_choices(self, choices))
        return self.genotype([ops[next(rest) if len(ops) > 1 else 0] for ops in self.cell])

    def encode(self, genotype: Genotype) -> Choices:
        """The choices of a genotype; raises `UserError` for a genotype of another space."""
        require_cells(genotype)
        if genotype.reduce is not None:
            raise UserError(f"space {self.name} has one cell; a genotype with a reduction cell does not belong to it")
        chosen = {(s, t): op for t, edges in enumerate(genotype.normal.nodes, start=1) for op, s in edges}
        for (source, target), ops in zip(EDGES, self.cell, strict=True):
            if chosen[source, target] not in ops:
                raise UserError(
                    f"{chosen[source, target]} on edge {source}→{target} is not a candidate in space {self.name}"
                )
        found = (ops.index(chosen[edge]) for edge, ops in zip(EDGES, self.cell, strict=True) if len(ops) > 1)
        return tuple(found)


nasbench201 = NASBench201Space()
