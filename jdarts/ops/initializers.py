"""Initial weights: PyTorch's default distribution, all parameters drawn from one stream.

Flax initialises parameter by parameter; XLA then compiles one random generator for each of the thousands of arrays of a
supernet, which takes longer than a search epoch. Here the network is only traced to learn the range of each parameter;
the values come from one draw. Parameters are float32, under `jax_enable_x64` float64, whatever the images are, and a
network computes in the type of its parameters.
"""

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.core import Tracer


class InitialDistribution(NamedTuple):
    """The initial distribution of a parameter: uniform on `centre ± half_width`; `centre` may be an array.

    `draw`, if there is one, is used instead: `key -> array`, for each row of a parameter stacked over edges.
    """

    centre: Any
    half_width: float
    draw: Callable[[jax.Array], jax.Array] | None = None


_seen: ContextVar[dict[int, tuple[Any, InitialDistribution]] | None] = ContextVar("seen", default=None)


def _initializer(range_: InitialDistribution):
    def init(key, shape, dtype=None):
        dtype = dtype or jnp.result_type(float)
        seen = _seen.get()
        if seen is not None:
            value = jnp.zeros(shape, dtype)
            seen[id(value)] = (value, range_)
            return value
        if range_.draw is not None:
            return jax.vmap(range_.draw)(jax.random.split(key, shape[0])).astype(dtype)
        return range_.centre + jax.random.uniform(key, shape, dtype, -range_.half_width, range_.half_width)

    return init


def uniform_fan_in(fan_in: int):
    """PyTorch's default initialiser of convolutions and linear layers: U(−1/√fan_in, 1/√fan_in)."""
    return _initializer(InitialDistribution(0.0, fan_in**-0.5))


def uniform(half_width: float):
    """An initialiser of U(−half_width, half_width)."""
    return _initializer(InitialDistribution(0.0, half_width))


def uniform_fan_out(fan_out: int):
    """An initialiser of variance 2 / fan_out (He et al. 2015): U(−√(6/fan_out), √(6/fan_out))."""
    return _initializer(InitialDistribution(0.0, (6 / fan_out) ** 0.5))


def constant(value: float):
    """An initialiser for parameters that start at a constant (batch norm's scale and shift)."""
    return _initializer(InitialDistribution(value, 0.0))


def drawn(draw: Callable[[jax.Array], jax.Array]):
    """An initialiser for parameters `[edges, …]` of which `draw(key)` makes one row."""
    return _initializer(InitialDistribution(0.0, 0.0, draw))


def draw_rows(key: jax.Array, wanted: Sequence[tuple[Callable[[jax.Array], jax.Array], int]]) -> list[jax.Array]:
    """`rows` independent rows for each `(draw, rows)`; one compiled generator for each different `draw`."""
    totals: dict[Callable[[jax.Array], jax.Array], int] = {}
    places = []
    for draw, rows in wanted:
        first = totals.get(draw, 0)
        places.append((draw, first, first + rows))
        totals[draw] = first + rows
    keys = jax.random.split(key, max(len(totals), 1))
    made = {draw: jax.vmap(draw)(jax.random.split(k, n)) for k, (draw, n) in zip(keys, totals.items(), strict=False)}
    return [made[draw][first:last] for draw, first, last in places]


def identity(key, shape, dtype=None):
    """An initialiser for square kernels `[…, C, C]` that start as the identity."""
    return _initializer(InitialDistribution(np.broadcast_to(np.eye(shape[-1], dtype=np.float32), shape), 0.0))(
        key, shape, dtype
    )


@contextmanager
def noting_ranges():
    """Initialisers inside make zeros and note the distribution of each in the yielded dictionary, by `id`."""
    seen: dict[int, tuple[Any, InitialDistribution]] = {}
    token = _seen.set(seen)
    try:
        yield seen
    finally:
        _seen.reset(token)


def abstract_network(network: nn.Module, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], Any]:
    """`(variables, ranges)` of `network` for the call `network(*args, **kwargs)`.

    `variables` are shapes, `ranges` has an `InitialDistribution` for each parameter. Nothing is computed; arguments may
    be `jax.ShapeDtypeStruct`s.
    """
    ranges = None

    def init(*args):
        nonlocal ranges
        rngs = {name: jax.random.key(0) for name in ("params", "noise", "drop_path")}
        with noting_ranges() as seen:
            variables = network.init(rngs, *args, **kwargs)
            ranges = jax.tree.map(lambda leaf: seen[id(leaf)][1], variables.get("params", {}))
        return variables

    static = {i: arg for i, arg in enumerate(args) if isinstance(arg, (bool, int, float, str))}
    arrays = [arg for i, arg in enumerate(args) if i not in static]

    def call(*arrays):
        rest = iter(arrays)
        return init(*(static[i] if i in static else next(rest) for i in range(len(args))))

    return jax.eval_shape(call, *arrays), ranges


def init_network(network: nn.Module, key: jax.Array, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Variables of `network` for the call `network(*args, **kwargs)`, distributed as `network.init` draws them.

    Call it without `jax.jit`: a compiled form would be another program for every network, and XLA takes seconds for the
    hundreds of slices in it. Under `jax.jit` the values are the same.
    """
    shapes, ranges = abstract_network(network, *args, **kwargs)
    leaves, structure = jax.tree.flatten(shapes["params"])
    is_range = lambda leaf: isinstance(leaf, InitialDistribution)  # noqa: E731
    stream = jax.random.uniform(key, (sum(leaf.size for leaf in leaves),), minval=-1.0)
    if not isinstance(stream, Tracer):
        stream = np.asarray(stream)  # NumPy slices views; JAX would compile a program for every slice
    flat = jax.tree.leaves(ranges, is_leaf=is_range)
    made, start = [], 0
    for leaf, range_ in zip(leaves, flat, strict=True):
        values = stream[start : start + leaf.size].reshape(leaf.shape)
        made.append((range_.centre + range_.half_width * values).astype(leaf.dtype))
        start += leaf.size
    own = [i for i, range_ in enumerate(flat) if range_.draw is not None]
    rows = draw_rows(jax.random.fold_in(key, 1), [(flat[i].draw, len(made[i])) for i in own])
    for i, value in zip(own, rows, strict=True):
        made[i] = value.astype(leaves[i].dtype)
    return {**initial_statistics(shapes), "params": jax.tree.unflatten(structure, [jnp.array(value) for value in made])}


def initial_statistic(name: str) -> float:
    """Initial value of a running statistic of batch norm: 0 for a mean, 1 for a variance."""
    return 1.0 if name.split("_")[-1] == "var" else 0.0


def initial_statistics(shapes: dict[str, Any]) -> dict[str, Any]:
    """The collections beside the parameters at their start."""

    def start(path, leaf):
        return jnp.full(leaf.shape, initial_statistic(path[-1].key), leaf.dtype)

    others = {name: tree for name, tree in shapes.items() if name != "params"}
    return jax.tree_util.tree_map_with_path(start, others)
