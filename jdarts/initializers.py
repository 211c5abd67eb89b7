"""Initial weights: PyTorch's default distribution, all parameters drawn from one stream.

Flax initialises parameter by parameter; XLA then compiles one random generator for each of the thousands of arrays of a
supernet, which takes longer than a search epoch. `init_network` draws one vector and cuts it up.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

_bounds_only: ContextVar[bool] = ContextVar("bounds_only", default=False)


def uniform_fan_in(fan_in: int):
    """PyTorch's default initialiser of convolutions and linear layers: U(−1/√fan_in, 1/√fan_in)."""
    bound = fan_in**-0.5

    def init(key, shape, dtype=jnp.float32):
        if _bounds_only.get():
            return jnp.full(shape, bound, dtype)
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def constant(value: float):
    """An initialiser for parameters that start at a constant (batch norm's scale and shift)."""

    def init(key, shape, dtype=jnp.float32):
        del key
        return jnp.full(shape, 0.0 if _bounds_only.get() else value, dtype)

    return init


def identity(key, shape, dtype=jnp.float32):
    """An initialiser for square kernels `[…, C, C]` that start as the identity; their name ends in `identity`."""
    del key
    return jnp.broadcast_to(jnp.zeros(()) if _bounds_only.get() else jnp.eye(shape[-1], dtype=dtype), shape)


@contextmanager
def _only_bounds():
    token = _bounds_only.set(True)
    try:
        yield
    finally:
        _bounds_only.reset(token)


def init_network(network: nn.Module, key: jax.Array, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Variables of `network` for the call `network(*args, **kwargs)`, distributed as `network.init` draws them."""
    rngs = {name: key for name in ("params", "noise", "drop_path")}
    with _only_bounds():
        bounds = network.init(rngs, *args, **kwargs)
    leaves, structure = jax.tree.flatten(bounds["params"])
    stream = jax.random.uniform(key, (sum(leaf.size for leaf in leaves),), jnp.float32, -1.0, 1.0)
    drawn, start = [], 0
    for leaf in leaves:
        drawn.append(leaf * stream[start : start + leaf.size].reshape(leaf.shape).astype(leaf.dtype))
        start += leaf.size
    params = jax.tree.map(jnp.add, jax.tree.unflatten(structure, drawn), _constants(bounds["params"]))
    return {**bounds, "params": params}


def _constants(params):
    """1 for batch norm's scales, the identity for kernels of that name, 0 for everything else."""

    def value(path, leaf):
        if path[-1].key.endswith("identity"):
            return identity(None, leaf.shape, leaf.dtype)
        return jnp.ones_like(leaf) if path[-1].key == "scale" else jnp.zeros_like(leaf)

    return jax.tree_util.tree_map_with_path(value, params)
