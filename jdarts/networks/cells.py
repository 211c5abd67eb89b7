"""A cell of mixed edges: the search cell of the DARTS space S0 and the RobustDARTS spaces S1–S4.

Node i is the sum of its mixed edges, the cell's output the concatenation of its nodes (Liu et al. 2019, §2.1 and code).
`jdarts.networks.wiring` numbers the nodes and edges.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts import kernels, staging
from jdarts.devices.replicas import Share
from jdarts.kernels import saved
from jdarts.networks import plain
from jdarts.networks.edges import PLAIN, EdgeSettings, EdgeValues, drop_path, dropout, join_channels, split_channels
from jdarts.networks.fast import pieces
from jdarts.networks.fast.joint_ops import JointOps
from jdarts.networks.wiring import DARTS_EDGES, Edges, OpTable
from jdarts.ops import user_ops
from jdarts.ops.candidates import has_weights, is_pool
from jdarts.ops.initializers import identity
from jdarts.ops.layers import FactorizedReduce, Layout, ReLUConvBN, edge_slice
from jdarts.ops.table import candidate

BODY = "body"  # the packed variables of a cell behind its preprocessing
_DRAWING = {"drop_path", "skip_dropout"}  # the edge values that draw random numbers


class SearchCell(nn.Module):
    """A cell of mixed edges.

    All edges that leave a node share their modules: `from_{source}_{op}` holds the weights of that op on every edge
    out of `source` that has it as a candidate, stacked in order of the target node.
    """

    table: OpTable
    channels: int
    reduction: bool
    reduction_before: bool
    axis_name: str | None = None
    layout: Layout = "auto"
    impl: kernels.Impl = "auto"
    edge: EdgeSettings = PLAIN
    edges: Edges = DARTS_EDGES
    preprocessed: bool = False
    """The inputs are the nodes 0 and 1 already."""

    def edges_of(self, path: tuple[str, ...]) -> list[tuple[str, ...]] | None:
        """For `Packing`: the edges over which the variable at `path`, seen from this cell, is stacked, or None."""
        return stacked_edges(path, self.table, self.reduction, self.edges)

    @property
    def targets(self) -> tuple[int, ...]:
        """The intermediate nodes, in order."""
        return tuple(sorted({target for _, target in self.edges}))

    @property
    def _by_edge(self) -> bool:
        return staging.unit() == "edges"

    def _row(self, source: int, target: int) -> int:
        return self.edges.index((source, target))

    @nn.compact
    def __call__(self, s0, s1, weights, train: bool, edge_weights=None, edge_values: EdgeValues | None = None):
        """`s0, s1 [N, H, W, ·]`, `weights [edges, ops]` → `[N, H', W', nodes·channels]`.

        `edge_weights [edges]` multiply the edges' outputs; `edge_values`: see `jdarts.networks.edges`.
        """
        if self.is_initializing():
            form = plain.Cell(
                self.table,
                self.channels,
                self.reduction,
                self.reduction_before,
                self.edge,
                self.edges,
                self.preprocessed,
            )
            nn.share_scope(self, form)
            return form(s0, s1, weights, train, edge_weights, edge_values)
        if not self.preprocessed:
            convolve = partial(ReLUConvBN, self.channels, False, self.axis_name)
            if self.reduction_before:
                s0 = self._child(partial(self._halving, s0.shape[-1], self.channels), "preprocess_0", s0, train)[0]
            else:
                s0 = self._child(convolve, "preprocess_0", s0, train)
            s1 = self._child(convolve, "preprocess_1", s1, train)
            if staging.unit() == "cells":
                return self._body_by_piece(s0, s1, weights, train, edge_weights, edge_values)
        if not self._by_edge:  # entry by entry; a gather's gradient is a slow scatter
            entries = iter(lax.split(jnp.reshape(weights, -1), [1] * jnp.size(weights)))
            weights = [[next(entries) for _ in range(weights.shape[1])] for _ in self.table]
        nodes: dict[int, jax.Array] = {0: s0, 1: s1}
        sums: dict[int, jax.Array] = {}
        for source in sorted({source for source, _ in self.edges}):
            if source >= 2:
                nodes[source] = sums[source] = saved(sums[source]) if kernels.on_accelerator() else sums[source]
            x = nodes[source] if staging.in_pieces() else kernels.cut(nodes[source])
            mixed = self._edges_from(source, x, weights, train, edge_values or {})
            for target, value in mixed.items():
                if edge_weights is not None:
                    value = value * edge_weights[self._row(source, target)]
                if edge_values and "drop_path" in edge_values:
                    value = drop_path(self.make_rng("drop_path"), value, edge_values["drop_path"], self._share)
                sums[target] = sums[target] + value if target in sums else value
        output = jnp.concatenate([sums[target] for target in self.targets], axis=-1)
        return output if staging.in_pieces() else kernels.cut(output)

    def _edges_from(self, source: int, x, weights, train: bool, edge_values: EdgeValues) -> dict[int, jax.Array]:
        """The mixed output of every edge that leaves `source`, by its target."""
        stride = 2 if self.reduction and source < 2 else 1
        targets = [t for s, t in self.edges if s == source]
        parts, width = self.edge.partial_channels, self.channels // self.edge.partial_channels
        inner, bypass = split_channels(x, parts) if parts > 1 else (x, x)
        by_edge = self._by_edge
        together = train and kernels.on_accelerator() and self.layout != "per_edge"
        mixed, joint = _Mixture(targets, width), JointOps(targets, width)
        shared: dict[str, list[jax.Array]] = {}
        for op in dict.fromkeys(op for t in targets for op in self.table[self._row(source, t)]):
            mine = [t for t in targets if op in self.table[self._row(source, t)]]
            if op == "none":
                continue  # contributes zeros; its weight acts through the relaxation alone
            if by_edge and (has_weights(op, stride) or is_pool(op)):
                continue
            module = candidate(
                op,
                search=True,
                channels=width,
                stride=stride,
                edges=len(mine),
                affine=False,
                axis_name=self.axis_name,
                layout=self.layout,
                impl=self.impl,
                name=f"from_{source}_{op}",
            )
            norms = module.norms() if together else []
            if norms:
                joint.add(module, norms, mine, self._weights_of(op, source, mine, weights))
                continue
            chunks = module(inner, train)
            if not by_edge:
                chunks = [kernels.cut(chunk) for chunk in chunks]
            if op == "skip_connect" and stride == 1 and "skip_dropout" in edge_values:
                rate = edge_values["skip_dropout"]
                chunks = [dropout(self.make_rng("drop_path"), chunks[0], rate, self._share) for _ in mine]
            if by_edge:
                shared[op] = [edge_slice(chunks, i, width) for i in range(len(mine))]
                continue
            p = self._weights_of(op, source, mine, weights)
            if together:
                joint.add_chunk(jnp.concatenate(chunks, axis=-1), mine, p)
            else:
                mixed.add(mine, chunks, p)
        sums, rest = joint.mixed(inner)
        mixed.wide += sums
        for chunk, mine, p in rest:
            mixed.add(mine, [chunk], p)
        if by_edge:
            values = self._edges_by_piece(source, targets, stride, width, inner, shared, weights, train)
        else:
            shape = (x.shape[0], x.shape[1] // stride, x.shape[2] // stride, width)
            values = mixed.values(jnp.zeros(shape, x.dtype))
        if self.edge.auxiliary_skip != "none":
            beta = jnp.asarray(edge_values["auxiliary_skip"], x.dtype)
            chunks = self._auxiliary(source, inner, stride, len(targets), train)
            values = {t: values[t] + beta * edge_slice(chunks, i, width) for i, t in enumerate(targets)}
        if parts > 1:
            values = {t: join_channels(value, bypass, parts, stride) for t, value in values.items()}
        return values

    def _weights_of(self, op: str, source: int, targets: list[int], weights: list[list[jax.Array]]) -> jax.Array:
        """The weights of an op on the edges `source → targets`, `[len(targets)]`."""
        rows = [(self.table[r], weights[r]) for r in (self._row(source, t) for t in targets)]
        # an op may be listed again (StacNAS' placeholder)
        sums = [sum(p for other, p in zip(ops, row, strict=False) if other == op) for ops, row in rows]
        return jnp.concatenate(sums)

    def _body_by_piece(self, s0, s1, weights, train: bool, edge_weights, edge_values: EdgeValues | None):
        """The cell behind its preprocessing as one piece."""
        values = dict(edge_values or {})
        drawn = {"noise": self._noisy, "drop_path": bool(_DRAWING & values.keys())}
        rngs: Any = self.scope.rngs if self.scope else {}
        keys = {name: rngs[name].rng for name in drawn if drawn[name] and name in rngs}  # without the cell's name
        alone = self.clone(parent=None, name=None, preprocessed=True, reduction_before=False)
        params, running = pieces.variables(self, train)
        run = pieces.body(alone, train, self._updating(train), self.name if keys else None)
        y, new = run(keys, params.get(BODY), running.get(BODY), s0, s1, weights, edge_weights, values)
        self._put_statistics({BODY: new})
        return y

    @property
    def _halving(self) -> Callable[..., FactorizedReduce]:
        return partial(FactorizedReduce, affine=False, axis_name=self.axis_name, impl=self.impl)

    @property
    def _noisy(self) -> bool:
        return any("noise" in ops or any(map(user_ops.is_own, ops)) for ops in self.table)

    def _edges_by_piece(self, source, targets, stride, width, x, shared, weights, train: bool) -> dict[int, jax.Array]:
        """The same sums with every mixed edge as a piece; `shared` has what ops without weights give on each edge."""
        options = pieces.Options(width, stride, self.axis_name, self.impl, train, self._updating(train))
        params, running = pieces.variables(self, train)
        pools = tuple(
            op for op in dict.fromkeys(op for t in targets for op in self.table[self._row(source, t)]) if is_pool(op)
        )
        pooled = {}
        if pools:
            names = {op: f"from_{source}_{op}" for op in pools}
            pooled, new = pieces.pools(pools, options)(x, {op: running.get(name) for op, name in names.items()})
            self._put_statistics({names[op]: tree for op, tree in new.items()})
        used = dict.fromkeys(shared, 0)
        values = {}
        for target in targets:
            ops, edge = self.table[self._row(source, target)], edge_name(source, target)
            light = {op: pooled[op] for op in ops if op in pooled}
            for op in ops:
                if op in shared:
                    light[op] = shared[op][used[op]]
                    used[op] += 1
            mixed = pieces.mixed_edge(ops, options)
            values[target], new = mixed(
                x, light, weights[self._row(source, target)], params.get(edge), running.get(edge)
            )
            self._put_statistics({edge: new})
        return values

    def _child(self, make: Callable[..., nn.Module], name: str, x, train: bool):
        """The submodule `name` applied to `x`, as a piece where the program is compiled in pieces."""
        if not staging.in_pieces():
            return make(name=name)(x, train)
        params, running = pieces.variables(self, train)
        run = pieces.module(make(parent=None), train, self._updating(train))
        y, new = run(x, params.get(name), running.get(name))
        self._put_statistics({name: new})
        return y

    def _updating(self, train: bool) -> bool:
        return train and self.is_mutable_collection("batch_stats")

    def _put_statistics(self, new):
        for name, value in new.items():
            if value is not None:
                self.put_variable("batch_stats", name, value)

    @property
    def _share(self) -> Share:
        return Share(self.axis_name)

    def _auxiliary(self, source: int, x, stride: int, edges: int, train: bool) -> list[jax.Array]:
        """The auxiliary skip of every edge out of `source`, as chunks."""
        name, c = f"from_{source}_auxiliary", x.shape[-1]
        if stride == 2:
            return self._halving(c, c, edges, name=name)(x, train)
        if self.edge.auxiliary_skip == "identity":
            return [x]
        kernel = self.param(f"{name}_identity", identity, (edges, c, c))
        return [x @ kernel[i] for i in range(edges)] if edges > 1 else [x @ kernel[0]]


def edge_name(source: int, target: int) -> str:
    """The name under which the packed weights of an edge stand among the variables of its cell."""
    return f"edge_{source}_{target}"


def stacked_edges(path: tuple[str, ...], table: OpTable, reduction: bool, edges: Edges) -> list[tuple[str, ...]] | None:
    """The edges over which the variable at `path` inside a cell is stacked, None if it is not."""
    if len(path) < 2 or not path[0].startswith("from_"):
        return None
    number, _, op = path[0].removeprefix("from_").partition("_")
    source = int(number)
    if not has_weights(op, 2 if reduction and source < 2 else 1):
        return None
    return [(edge_name(source, t),) for k, (s, t) in enumerate(edges) if s == source and op in table[k]]


class _Mixture:
    """The weighted sums of ops on the edges out of one node, side by side where the ops' outputs are."""

    def __init__(self, targets: list[int], channels: int):
        self.targets, self.channels = targets, channels
        self.wide: list[jax.Array] = []
        self.single: dict[int, list[jax.Array]] = {t: [] for t in targets}

    def add(self, mine: list[int], chunks: list[jax.Array], p: jax.Array):
        """Add an op's output on the edges to `mine`, weighted by `p [len(mine)]`."""
        if len(chunks) == 1 and mine == self.targets and len(mine) > 1:
            chunk, t = chunks[0], len(mine)
            if chunk.shape[-1] == self.channels:
                chunk = jnp.tile(chunk, (1, 1, 1, t))
            self.wide.append(chunk * jnp.repeat(p, self.channels))
            return
        for i, target in enumerate(mine):
            self.single[target].append(p[i] * edge_slice(chunks, i, self.channels))

    def values(self, zeros: jax.Array) -> dict[int, jax.Array]:
        """The mixed output of every edge, by its target."""
        wide = kernels.cut(sum(self.wide[1:], self.wide[0])) if self.wide else None
        parts = [] if wide is None else lax.split(wide, [self.channels] * len(self.targets), axis=-1)
        values = {}
        for i, target in enumerate(self.targets):
            terms = [*self.single[target], *parts[i : i + 1]]
            values[target] = sum(terms[1:], terms[0]) if terms else zeros
        return values
