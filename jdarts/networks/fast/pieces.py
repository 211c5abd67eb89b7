"""The units in which supernets are compiled (see `jdarts.staging`), as functions that are marked once.

Their weights and running statistics come as arguments: trees, or for a mixed edge the vector that `Packing.pack` makes
of its part. In training, statistics are not read; what a piece returns is what an update from zero gives, so that the
caller can add the decayed old ones.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts import kernels, staging
from jdarts.kernels import normed_sum, recomputing, relu, weighted_sum
from jdarts.networks.cells import SearchCell
from jdarts.networks.fast.layers import FactorizedReduce, ReLUConvBN, edge_by_edge
from jdarts.networks.fast.ops import candidate
from jdarts.networks.fast.packing import Packing, stacked_edges
from jdarts.networks.plain import PlainCell
from jdarts.ops import user_ops
from jdarts.ops.batch_norm import BatchNorm
from jdarts.ops.candidates import has_weights
from jdarts.ops.initializers import abstract_network

DRAWING = {"drop_path", "skip_dropout"}
"""The edge values that draw random numbers."""


class Options(NamedTuple):
    """Settings that the ops of an edge share: sizes, the mapped axis of the batch, and the mode of batch norm."""

    channels: int
    stride: int
    axis_name: str | None
    train: bool
    update: bool


def variables(parent: nn.Module, train: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of `parent` and the running statistics that its pieces read, none in training."""
    known = parent.variables
    return dict(known.get("params", {})), {} if train else dict(known.get("batch_stats", {}))


def updating(parent: nn.Module, train: bool) -> bool:
    """True if the running statistics of `parent` move."""
    return train and parent.is_mutable_collection("batch_stats")


def put_statistics(parent: nn.Module, new: dict[str, Any]) -> None:
    """Store new running statistics, by the name of the piece; None where there are none."""
    for name, value in new.items():
        if value is not None:
            parent.put_variable("batch_stats", name, value)


def child(parent: nn.Module, network: nn.Module, name: str, x, train: bool) -> jax.Array:
    """`network` as the submodule `name` of `parent`, applied to `x`; a piece where programs are compiled in pieces."""
    if not staging.in_pieces():
        return network.clone(parent=parent, name=name)(x, train)
    params, running = variables(parent, train)
    y, new = module(network, train, updating(parent, train))(x, params.get(name), running.get(name))
    put_statistics(parent, {name: new})
    return y


class CellWithLayers(SearchCell):
    """A cell of the DARTS spaces with the layers before its edges; a form adds `mix`."""

    def preprocess(self, name: str, x, train: bool) -> jax.Array:
        """ReLU, 1 × 1 convolution, batch norm."""
        return child(self, ReLUConvBN(self.channels, False, self.axis_name, parent=None), name, x, train)

    def halve(self, name: str, x, channels: int, edges: int, train: bool) -> list[jax.Array]:
        """A factorised reduction on every edge."""
        network = FactorizedReduce(x.shape[-1], channels, edges, False, self.axis_name, parent=None)
        return edge_by_edge(child(self, network, name, x, train), edges)


@lru_cache(maxsize=256)
def module(network: nn.Module, train: bool, update: bool) -> Callable:
    """`network(x, train)` as a piece: `(x, params, running statistics) -> (value, new running statistics)`."""

    def layer(x, params, running):
        if running is None:
            running = _zeros(abstract_network(network, jax.ShapeDtypeStruct(x.shape, x.dtype), train)[0])
        return _apply(network, params or {}, running, x, train, update=update)

    return staging.piece(layer)


@lru_cache(maxsize=256)
def cell(network: nn.Module, train: bool) -> Callable:
    """A cell without statistics and noise as a piece: `(x, params, op weights, edge weights, edge values) -> value`."""

    def whole_cell(x, params, weights, edge_weights, edge_values):
        with staging.undivided():
            return network.apply({"params": params}, x, weights, train, edge_weights, edge_values)

    return staging.piece(whole_cell)


class _Called(nn.Module):
    """A network under the name that it has in its own network, which its random numbers depend on."""

    network: nn.Module
    called: str

    @nn.compact
    def __call__(self, *args):
        return self.network.clone(parent=self, name=self.called)(*args)


def body(network: Any, train: bool, update: bool, called: str | None) -> Callable:
    """A cell behind its preprocessing as a piece, as accelerators want it.

    `(keys, params, running statistics, s0, s1, op weights, edge weights, edge values) -> (value, new running
    statistics)`, parameters and statistics as vectors (`Packing`) or None. `keys` are those of its random numbers,
    which depend on the cell's name `called`; without any the cells of a resolution are one program.
    """
    ops = {op for row in network.table for op in row}
    return _body(network, train, update, called, user_ops.among(tuple(sorted(ops))))


@lru_cache(maxsize=256)
def _body(network: Any, train: bool, update: bool, called: str | None, own: tuple[user_ops.OwnOp, ...]) -> Callable:
    del own  # part of the cache's key

    def cell_body(keys, vector, running, *inputs):
        s0, s1, weights, edge_weights, edge_values = inputs
        with staging.undivided():
            args = s0, s1, weights, train, edge_weights, edge_values
            params, stats = _packings_of_body(network, *jax.tree.map(_like, args))
            if running is None:
                running = jnp.zeros(stats.size, jnp.promote_types(s0.dtype, jnp.float32))
            trees = {"params": params.unravel(vector), "batch_stats": stats.unravel(running)}
            run = network
            if called is not None:
                run = _Called(network, called)
                trees = {name: {called: tree} for name, tree in trees.items()}
            mutable = ["batch_stats"] if update else []
            y, new = run.apply(trees, *args, mutable=mutable, rngs=keys or None)
            if not (update and stats.size):
                return y, None
            moved: Any = new["batch_stats"]
            return y, stats.ravel(moved if called is None else moved[called])

    return staging.piece(recomputing(cell_body))


def _packings_of_body(network: Any, *args) -> list[Packing]:
    """The order of the parameters, and of the statistics, of a cell behind its preprocessing in their vectors."""
    settings = {name: getattr(network, name) for name in ("table", "channels", "edge", "edges", "reduction")}
    shapes, _ = abstract_network(PlainCell(**settings, parent=None), *args)

    def edges_of(path):
        return stacked_edges(path, network.table, network.reduction, network.edges)

    kept = {
        name: {part: tree for part, tree in shapes.get(name, {}).items() if not part.startswith("preprocess")}
        for name in ("params", "batch_stats")
    }
    return [Packing(trees, edges_of) for trees in kept.values()]


def _like(x):
    """The shape of `x`, in the type in which parameters are initialised."""
    if isinstance(x, bool):
        return x
    return jax.ShapeDtypeStruct(x.shape, jnp.result_type(float) if jnp.issubdtype(x.dtype, jnp.floating) else x.dtype)


def pools(ops: tuple[str, ...], options: Options) -> Callable:
    """Pooling ops on one node: `(x, {op: running statistics}) -> ({op: value}, {op: new running statistics})`."""
    return _pools(ops, options, user_ops.among(ops))


@lru_cache(maxsize=256)
def _pools(ops: tuple[str, ...], options: Options, own: tuple[user_ops.OwnOp, ...]) -> Callable:
    del own  # part of the cache's key
    made = {op: candidate_of(op, options, parent=None) for op in ops}

    def pooling(x, running):
        values, changed = {}, {}
        for op, network in made.items():
            stats = running.get(op)
            if stats is None:
                stats = _zeros(abstract_network(network, jax.ShapeDtypeStruct(x.shape, x.dtype), True)[0])
            y, changed[op] = _apply(network, {}, stats, x, options.train, update=options.update)
            values[op] = y
        return values, changed

    return staging.piece(pooling)


def mixed_edge(ops: tuple[str, ...], options: Options) -> Callable:
    """The mixed edge over `ops` as a piece.

    `(x, {op: value}, op weights, weights, running statistics) -> (value, new running statistics)`. The values are those
    of ops without weights, computed once a source node. Weights and statistics are vectors, None if there are none.
    """
    return _mixed_edge(ops, options, user_ops.among(ops))


@lru_cache(maxsize=256)
def _mixed_edge(ops: tuple[str, ...], options: Options, own: tuple[user_ops.OwnOp, ...]) -> Callable:
    raw = {op.name for op in own}  # these take the node's value as it is
    made: dict[str, Any] = {
        op: candidate_of(op, options, parent=None) for op in sorted(ops) if has_weights(op, options.stride)
    }
    margin = max((network.padding for op, network in made.items() if op not in raw), default=0)
    made |= {op: network.clone(activated=True, margin=margin) for op, network in made.items() if op not in raw}
    images = jax.ShapeDtypeStruct((2, 8, 8, options.channels), jnp.result_type(float))
    shapes = {op: abstract_network(network, images, True)[0] for op, network in made.items()}
    packings = {
        name: Packing({op: tree.get(name, {}) for op, tree in shapes.items()})
        for name in ("params", "batch_stats")
        if shapes
    }

    def mixed(x, light, p, weights, running):
        # Elsewhere ops end in batch norms of their own, one after the other.
        together = options.train and options.axis_name is None and not kernels.on_accelerator()
        params, stats, changed, normed, images, activated = {}, {}, {}, {}, {}, x
        if made:
            params = packings["params"].unravel(weights)
            size = packings["batch_stats"].size
            stats = packings["batch_stats"].unravel(jnp.zeros(size, x.dtype) if running is None else running)
            activated = relu(x)
        for k, op in enumerate(ops):
            if op in made:
                state = made[op], params.get(op, {}), stats.get(op, {})
                source = x if op in raw else activated
                found = None
                if together and op not in raw:
                    call = {"update": options.update, "method": "before_last_norm"}
                    found, changed[op] = _apply(*state, source, options.train, **call)
                if found is not None:
                    normed[k] = found
                else:
                    images[k], changed[op] = _apply(*state, source, options.train, update=options.update)
            elif op != "none":
                images[k] = light[op]
        sums = []
        if normed:
            total, means, variances = normed_sum(_chosen(p, list(normed)), list(normed.values()), BatchNorm.eps)
            sums.append(total.astype(jnp.result_type(p, x)))
            if options.update:
                samples = total.size // total.shape[-1]
                for k, mean, var in zip(normed, means, variances, strict=True):
                    state = made[ops[k]], params.get(ops[k], {}), changed[ops[k]]
                    changed[ops[k]] = _apply(*state, mean, var, samples, update=True, method="record_last")[1]
        if images:
            sums.append(weighted_sum(_chosen(p, list(images)), list(images.values())))
        total = sum(sums[1:], sums[0]) if sums else jnp.zeros_like(x[:, :: options.stride, :: options.stride])
        return total, packings["batch_stats"].ravel(changed) if options.update and changed else None

    return staging.piece(mixed)


def _chosen(vector, places: list[int]):
    """`vector[places]` without a gather, whose gradient is a slow scatter."""
    if len(places) == vector.size:
        return vector
    entries = lax.split(vector, [1] * vector.size)
    return lax.concatenate([entries[k] for k in places], 0)


def candidate_of(op: str, options: Options, **fields: Any) -> nn.Module:
    """The module of a candidate op with these options; `fields` are others of it."""
    shared = {"channels": options.channels, "stride": options.stride, "axis_name": options.axis_name}
    return candidate(op, search=True, affine=False, **shared, **fields)


def _apply(network: nn.Module, params, running, *args, update: bool, method: str | None = None):
    y, new = network.apply(
        {"params": params, "batch_stats": running}, *args, method=method, mutable=["batch_stats"] if update else []
    )
    return y, new.get("batch_stats")


def _zeros(shapes):
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes.get("batch_stats", {}))
