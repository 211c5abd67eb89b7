"""The wiring of search cells: nodes, mixed edges, and what the methods change on an edge.

A node is the sum of its mixed edges (Liu et al. 2019, §2.1). The mixed op itself, ō(x) = Σ_o p_o · o(x) (eq. 2), is
`mix`. Each form of a cell defines it: `jdarts.networks.plain` as the paper writes it, `jdarts.networks.fast` as CPUs
and accelerators compute it fast.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts.devices.replicas import Share
from jdarts.kernels import product
from jdarts.networks.edges import PLAIN, EdgeSettings, EdgeValues, drop_path, dropout, join_channels, split_channels
from jdarts.networks.wiring import DARTS_EDGES, Edges, OpTable
from jdarts.ops.initializers import identity


class MixedEdges(nn.Module):
    """The nodes of a cell, and the mixed edges between them.

    Attributes:
      table: the candidate ops of every edge.
      channels: of every node.
      axis_name: mesh axis over which the batch is split.
      edge: what a method changes on an edge.
      edges: `(source, target)` of every row of the op weights.
    """

    table: OpTable
    channels: int
    axis_name: str | None = None
    edge: EdgeSettings = PLAIN
    edges: Edges = DARTS_EDGES

    def mix(self, source: int, x, p, train: bool, values: EdgeValues) -> dict[int, jax.Array]:
        """ō(x) = Σ_o p_o · o(x) on every edge out of `source`, by its target; `p [edges, ops]` has all op weights."""
        raise NotImplementedError

    def filled(self, nodes: dict[int, Any], p, train: bool, edge_weights, values: EdgeValues) -> dict[int, Any]:
        """The values of all nodes, given those of the cell's inputs."""
        for source in sorted({source for source, _ in self.edges}):
            nodes[source] = self.ready(source, nodes[source])
            for target, y in self.edges_from(source, nodes[source], p, train, values).items():
                if edge_weights is not None:
                    y = y * edge_weights[self.row(source, target)]
                if "drop_path" in values:
                    y = drop_path(self.make_rng("drop_path"), y, values["drop_path"], Share(self.axis_name))
                nodes[target] = nodes[target] + y if target in nodes else y
        return nodes

    def edges_from(self, source: int, x, p, train: bool, values: EdgeValues) -> dict[int, jax.Array]:
        """The output of every edge out of `source`, by its target: a mixed op on the first 1/K of the channels."""
        parts = self.edge.partial_channels
        inner, bypass = split_channels(x, parts) if parts > 1 else (x, x)
        mixed = self.mix(source, inner, p, train, values)
        if self.edge.auxiliary_skip != "none":
            beta = jnp.asarray(values["auxiliary_skip"], x.dtype)
            skips = self.auxiliary(source, inner, len(mixed), train)
            mixed = {t: y + beta * skip for (t, y), skip in zip(mixed.items(), skips, strict=True)}
        if parts == 1:
            return mixed
        return {t: join_channels(y, bypass, parts, self.stride(source)) for t, y in mixed.items()}

    def skips(self, x, edges: int, values: EdgeValues) -> list[jax.Array]:
        """The op `skip_connect` of stride 1 on every edge, with the dropout of P-DARTS if there is any."""
        if "skip_dropout" not in values:
            return [x] * edges
        rate, share = values["skip_dropout"], Share(self.axis_name)
        return [dropout(self.make_rng("drop_path"), x, rate, share) for _ in range(edges)]

    def auxiliary(self, source: int, x, edges: int, train: bool) -> list[jax.Array]:
        """The skip of DARTS- beside the mixed op of every edge out of `source`."""
        name, c = f"from_{source}_auxiliary", x.shape[-1]
        if self.stride(source) == 2:
            return self.halve(name, x, c, edges, train)
        if self.edge.auxiliary_skip == "identity":
            return [x] * edges
        matrices = self.param(f"{name}_identity", identity, (edges, c, c))
        return [product(x, matrices[i]) for i in range(edges)]

    def halve(self, name: str, x, channels: int, edges: int, train: bool) -> list[jax.Array]:
        """A factorised reduction on every edge: `[N, H/2, W/2, channels]` each."""
        raise NotImplementedError

    def ready(self, source: int, x):
        """The value of a node, once it is complete."""
        del source
        return x

    def stride(self, source: int) -> int:
        """Stride of the edges out of `source`."""
        del source
        return 1

    def targets(self, source: int) -> list[int]:
        """The nodes that the edges out of `source` enter."""
        return [t for s, t in self.edges if s == source]

    def row(self, source: int, target: int) -> int:
        """The row of the op weights that belongs to the edge `source → target`."""
        return self.edges.index((source, target))

    def columns(self, op: str, source: int, target: int) -> list[int]:
        """The columns of `op` on the edge `source → target`; an op may be listed again (StacNAS' placeholder)."""
        return [k for k, name in enumerate(self.table[self.row(source, target)]) if name == op]

    def candidates(self, source: int) -> dict[str, list[int]]:
        """The ops on the edges out of `source`, without `none`, and the targets of the edges that have them."""
        ops = {t: self.table[self.row(source, t)] for t in self.targets(source)}
        found = dict.fromkeys(op for row in ops.values() for op in row if op != "none")
        return {op: [t for t, row in ops.items() if op in row] for op in found}


class SearchCell(MixedEdges):
    """A cell of the DARTS spaces: two inputs, intermediate nodes, their concatenation.

    `from_{source}_{op}` holds the weights of that op on every edge out of `source` that has it as a candidate, stacked
    in order of the target node.
    """

    reduction: bool = False
    reduction_before: bool = False

    @nn.compact
    def __call__(self, s0, s1, p, train: bool, edge_weights=None, edge_values: EdgeValues | None = None):
        """`s0, s1 [N, H, W, ·]`, op weights `p [edges, ops]` → `[N, H', W', nodes·channels]`.

        `edge_weights [edges]` multiply the edges' outputs; `edge_values`: see `jdarts.networks.edges`.
        """
        if self.reduction_before:
            (s0,) = self.halve("preprocess_0", s0, self.channels, 1, train)
        else:
            s0 = self.preprocess("preprocess_0", s0, train)
        s1 = self.preprocess("preprocess_1", s1, train)
        return self.body(s0, s1, p, train, edge_weights, edge_values or {})

    def body(self, s0, s1, p, train: bool, edge_weights, values: EdgeValues):
        """The cell behind its preprocessing."""
        nodes = self.filled({0: s0, 1: s1}, p, train, edge_weights, values)
        return jnp.concatenate([nodes[target] for target in self.intermediate], axis=-1)

    def preprocess(self, name: str, x, train: bool) -> jax.Array:
        """ReLU, 1 × 1 convolution, batch norm: `[N, H, W, ·]` → `[N, H, W, channels]`."""
        raise NotImplementedError

    def stride(self, source: int) -> int:
        """2 on the edges out of the inputs of a reduction cell, else 1."""
        return 2 if self.reduction and source < 2 else 1

    @property
    def intermediate(self) -> list[int]:
        """The intermediate nodes, in order."""
        return sorted({target for _, target in self.edges})


class SearchCell201(MixedEdges):
    """A cell of NAS-Bench-201: node 0 is the input, the last node the output (Dong and Yang 2020, §2)."""

    @nn.compact
    def __call__(self, x, p, train: bool, edge_weights=None, edge_values: EdgeValues | None = None):
        """`x [N, H, W, C]`, op weights `p [6, ops]` → `[N, H, W, C]`."""
        return self.body(x, p, train, edge_weights, edge_values or {})

    def body(self, x, p, train: bool, edge_weights, values: EdgeValues):
        """The value of the last node."""
        return self.filled({0: x}, p, train, edge_weights, values)[max(t for _, t in self.edges)]
