"""The cell-based supernet shared by the DARTS space S0 and the RobustDARTS spaces S1–S4.

A cell has two inputs (nodes 0 and 1, the outputs of the two cells before), four intermediate nodes 2–5 and 14 edges;
row `OFFSETS[i] + j` of an op-weight matrix belongs to the edge from node j to node i. Node i is the sum of its mixed
edges, the cell's output the concatenation of its four nodes (Liu et al. 2019, §2.1 and code).

The network never sees alphas: it takes op weights `{"normal": [14, ops], "reduce": [14, ops]}`, any real numbers.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts import kernels, staging
from jdarts.initializers import abstract_network, identity, uniform_fan_in
from jdarts.ops import BatchNorm, FactorizedReduce, Layout, ReLUConvBN, candidate, edge_slice, has_weights
from jdarts.replicas import Share
from jdarts.spaces.edges import (
    EDGES_SUFFIX,
    PLAIN,
    EdgeSettings,
    EdgeValues,
    drop_path,
    dropout,
    join_channels,
    split_channels,
)
from jdarts.spaces.packing import Packing

NODES = 4
EDGES = 14
OFFSETS = {2: 0, 3: 2, 4: 5, 5: 9}
STEM_MULTIPLIER = 3

OpTable = tuple[tuple[str, ...], ...]
OpWeights = dict[str, jax.Array]


def row(source: int, target: int) -> int:
    """The op-weight row of the edge `source → target`."""
    return OFFSETS[target] + source


def reduction_cells(cells: int) -> tuple[int, ...]:
    """Indices of the cells that halve the image: ⌊L/3⌋ and ⌊2L/3⌋ (one index for very short networks)."""
    return tuple(sorted({cells // 3, 2 * cells // 3}))


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

    @nn.compact
    def __call__(self, s0, s1, weights, train: bool, edge_weights=None, edge_values: EdgeValues | None = None):
        """`s0, s1 [N, H, W, ·]`, `weights [14, ops]` → `[N, H', W', 4·channels]`.

        `edge_weights [14]` multiply the edges' outputs; `edge_values`: see `jdarts.spaces.edges`.
        """
        if self.reduction_before:
            reduce = FactorizedReduce(self.channels, affine=False, axis_name=self.axis_name, name="preprocess_0")
            s0 = reduce(s0, train)[0]
        else:
            s0 = ReLUConvBN(self.channels, False, self.axis_name, name="preprocess_0")(s0, train)
        s1 = ReLUConvBN(self.channels, False, self.axis_name, name="preprocess_1")(s1, train)
        nodes: dict[int, jax.Array] = {0: s0, 1: s1}
        sums: dict[int, jax.Array] = {}
        for source in range(NODES + 1):
            if source >= 2:
                nodes[source] = sums[source]
            x = kernels.cut(nodes[source])
            mixed = self._edges_from(source, x, weights, train, edge_values or {})
            for target, value in mixed.items():
                if edge_weights is not None:
                    value = value * edge_weights[row(source, target)]
                if edge_values and "drop_path" in edge_values:
                    value = drop_path(self.make_rng("drop_path"), value, edge_values["drop_path"], self._share)
                sums[target] = sums[target] + value if target in sums else value
        nodes[5] = sums[5]
        return kernels.cut(jnp.concatenate([nodes[i] for i in range(2, 6)], axis=-1))

    def _edges_from(self, source: int, x, weights, train: bool, edge_values: EdgeValues) -> dict[int, jax.Array]:
        """The mixed output of every edge that leaves `source`, by its target."""
        stride = 2 if self.reduction and source < 2 else 1
        targets = [t for t in range(2, 2 + NODES) if t > source]
        parts, width = self.edge.partial_channels, self.channels // self.edge.partial_channels
        inner, bypass = split_channels(x, parts) if parts > 1 else (x, x)
        by_edge = staging.in_pieces() and not self.is_initializing()
        mixed = _Mixture(targets, width)
        shared: dict[str, list[jax.Array]] = {}
        for op in dict.fromkeys(op for t in targets for op in self.table[row(source, t)]):
            mine = [t for t in targets if op in self.table[row(source, t)]]
            if op == "none":
                continue  # contributes zeros; its weight acts through the relaxation alone
            if by_edge and has_weights(op, stride):
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
            chunks = [kernels.cut(chunk) for chunk in module(inner, train)]
            if op == "skip_connect" and stride == 1 and "skip_dropout" in edge_values:
                rate = edge_values["skip_dropout"]
                chunks = [dropout(self.make_rng("drop_path"), chunks[0], rate, self._share) for _ in mine]
            if by_edge:
                shared[op] = [edge_slice(chunks, i, width) for i in range(len(mine))]
                continue
            columns = [self.table[row(source, t)].index(op) for t in mine]
            p = weights[jnp.array([row(source, t) for t in mine]), jnp.array(columns)]
            mixed.add(mine, chunks, p)
        if by_edge:
            values = self._edges_by_piece(source, targets, stride, width, inner, shared, weights, train)
        else:
            shape = (x.shape[0], x.shape[1] // stride, x.shape[2] // stride, width)
            values = mixed.values(jnp.zeros(shape, x.dtype))
        if self.edge.auxiliary_skip != "none":
            beta = edge_values["auxiliary_skip"]
            chunks = self._auxiliary(source, inner, stride, len(targets), train)
            values = {t: values[t] + beta * edge_slice(chunks, i, width) for i, t in enumerate(targets)}
        if parts > 1:
            values = {t: join_channels(value, bypass, parts, stride) for t, value in values.items()}
        return values

    def _edges_by_piece(self, source, targets, stride, width, x, shared, weights, train: bool) -> dict[int, jax.Array]:
        """The same sums with every mixed edge as a unit of compilation; `shared` has the ops without weights."""
        params, stats = (dict(self.variables.get(name, {})) for name in ("params", "batch_stats"))
        update = train and self.is_mutable_collection("batch_stats")
        used = dict.fromkeys(shared, 0)
        values = {}
        for target in targets:
            ops, edge = self.table[row(source, target)], edge_name(source, target)
            light = {}
            for op in ops:
                if op in shared:
                    light[op] = shared[op][used[op]]
                    used[op] += 1
            run = _mixed_edge(ops, width, stride, self.axis_name, self.impl, train, update)
            running = None if train else stats.get(edge)
            values[target], new = run(x, light, weights[row(source, target)], params.get(edge), running)
            if update and new is not None:
                self.put_variable("batch_stats", edge, new)
        return values

    @property
    def _share(self) -> Share:
        return Share(None if self.is_initializing() else self.axis_name)

    def _auxiliary(self, source: int, x, stride: int, edges: int, train: bool) -> list[jax.Array]:
        """The auxiliary skip of every edge out of `source`, as chunks."""
        name, c = f"from_{source}_auxiliary", x.shape[-1]
        if stride == 2:
            return FactorizedReduce(c, edges, affine=False, axis_name=self.axis_name, name=name)(x, train)
        if self.edge.auxiliary_skip == "identity":
            return [x]
        kernel = self.param(f"{name}_identity", identity, (edges, c, c))
        return [x @ kernel[i] for i in range(edges)] if edges > 1 else [x @ kernel[0]]


def edge_name(source: int, target: int) -> str:
    """The name under which the packed weights of an edge stand among the variables of its cell."""
    return f"edge_{source}_{target}"


@lru_cache(maxsize=256)
def _mixed_edge(ops: tuple[str, ...], channels: int, stride: int, axis_name, impl, train: bool, update: bool):
    """The mixed edge over `ops` as a piece (see `jdarts.staging`).

    `(x, {op: output}, op weights, weights, running statistics) -> (value, new running statistics)`. The outputs are
    those of ops without weights, computed once a source node. Weights and statistics are vectors, None if there are
    none; new statistics are what starts from zero gives, so that the caller can add the decayed old ones.
    """
    modules = {
        op: candidate(
            op,
            search=True,
            channels=channels,
            stride=stride,
            affine=False,
            axis_name=axis_name,
            impl=impl,
            activated=True,
        )
        for op in sorted(ops)
        if has_weights(op, stride)
    }
    images = jax.ShapeDtypeStruct((2, 8, 8, channels), jnp.float32)
    shapes = {op: abstract_network(module, images, True)[0] for op, module in modules.items()}
    packings = {
        name: Packing({op: tree[name] for op, tree in shapes.items()}) for name in ("params", "batch_stats") if shapes
    }

    def mixed_edge(x, light, p, weights, running):
        total, changed = None, {}
        if modules:
            params = packings["params"].unravel(weights)
            stats = packings["batch_stats"]
            stats = stats.unravel(jnp.zeros(stats.size, x.dtype) if running is None else running)
            activated = kernels.cut(nn.relu(x))
        for k, op in enumerate(ops):
            if op == "none":
                continue
            if op in light:
                y = light[op]
            else:
                variables = {"params": params[op], "batch_stats": stats[op]}
                (y,), new = modules[op].apply(variables, activated, train, mutable=["batch_stats"] if update else [])
                changed[op] = new.get("batch_stats")
            term = p[k] * kernels.cut(y)
            total = term if total is None else total + term
        return total, packings["batch_stats"].ravel(changed) if update and changed else None

    return staging.piece(mixed_edge)


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
        values = {}
        for i, target in enumerate(self.targets):
            terms = list(self.single[target])
            if wide is not None:
                terms.append(edge_slice([wide], i, self.channels))
            values[target] = sum(terms[1:], terms[0]) if terms else zeros
        return values


class Supernet(nn.Module):
    """The weight-sharing network: stem, cells, global average pooling, linear classifier."""

    normal: OpTable
    reduce: OpTable
    channels: int
    cells: int
    classes: int
    axis_name: str | None = None
    layout: Layout = "auto"
    impl: kernels.Impl = "auto"
    edge: EdgeSettings = PLAIN
    remat: bool = False

    def edges_of(self, path: tuple[str, ...]) -> list[tuple[str, ...]] | None:
        """For `Packing`: the edges over which the variable at `path` is stacked, None if it is not."""
        if len(path) < 3 or not path[1].startswith("from_"):
            return None
        cell, source, op = int(path[0].removeprefix("cell_")), int(path[1][5]), path[1][7:]
        reduction = cell in reduction_cells(self.cells)
        if not has_weights(op, 2 if reduction and source < 2 else 1):
            return None
        table = self.reduce if reduction else self.normal
        targets = [t for t in range(2, 2 + NODES) if t > source and op in table[row(source, t)]]
        return [(path[0], edge_name(source, t)) for t in targets]

    @nn.compact
    def __call__(self, op_weights: OpWeights, images, train: bool, edge_values: EdgeValues | None = None):
        """`images [N, H, W, image channels]`, `op_weights` of 14 rows each → logits `[N, classes]`.

        `op_weights` may hold `normal_edges` and `reduce_edges [14]`, factors of the edges' outputs; `edge_values` are
        the numbers that `edge` and drop-path need (`jdarts.spaces.edges`). With `remat` a cell's activations are
        computed again when its gradient is, instead of being kept.
        """
        s1 = s0 = Stem(STEM_MULTIPLIER * self.channels, self.axis_name, name="stem")(images, train)
        remat = self.remat and not self.is_initializing()
        cell_class = nn.remat(SearchCell, static_argnums=(4,)) if remat else SearchCell  # argument 4 is `train`
        channels, reduction_before = self.channels, False
        for i in range(self.cells):
            reduction = i in reduction_cells(self.cells)
            if reduction:
                channels *= 2
            cell = cell_class(
                table=self.reduce if reduction else self.normal,
                channels=channels,
                reduction=reduction,
                reduction_before=reduction_before,
                axis_name=self.axis_name,
                layout=self.layout,
                impl=self.impl,
                edge=self.edge,
                name=f"cell_{i}",
            )
            kind = "reduce" if reduction else "normal"
            edge_weights = op_weights.get(kind + EDGES_SUFFIX)
            s0, s1 = s1, cell(s0, s1, op_weights[kind], train, edge_weights, edge_values)
            reduction_before = reduction
        return Classifier(self.classes, name="classifier")(s1)


class Stem(nn.Module):
    """3 × 3 convolution and affine batch norm (no ReLU)."""

    channels: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images, train: bool):
        """`[N, H, W, C_in]` → `[N, H, W, channels]`."""
        c_in = images.shape[-1]
        kernel = self.param("conv", uniform_fan_in(9 * c_in), (3, 3, c_in, self.channels))
        y = kernels.convolution(images, kernel, padding=1)
        return BatchNorm(self.channels, axis_name=self.axis_name, name="norm")([y], train)[0]


class Classifier(nn.Module):
    """Global average pooling and a linear layer with bias."""

    classes: int

    @nn.compact
    def __call__(self, x):
        """`[N, H, W, C]` → `[N, classes]`."""
        features = jnp.mean(x, (1, 2))
        init = uniform_fan_in(features.shape[-1])
        kernel = self.param("kernel", init, (features.shape[-1], self.classes))
        bias = self.param("bias", init, (self.classes,))
        return features @ kernel + bias
