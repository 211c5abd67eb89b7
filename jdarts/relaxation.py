"""Relaxations map alphas to op weights. The network never sees alphas.

All functions take and return `{cell type: [edges, ops]}`. Random ones take one PRNG key and draw independently for each
cell type. A softmax relaxation does not change when a constant is added to a row of alphas.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jdarts.networks.wiring import OpWeights

Alphas = dict[str, jax.Array]


def softmax(alphas: Alphas) -> OpWeights:
    """Softmax over the candidates of each edge, `[edges, ops]` → `[edges, ops]` (DARTS, Liu et al. 2019, eq. 2)."""
    return {name: jax.nn.softmax(a, axis=-1) for name, a in alphas.items()}


def sigmoid(alphas: Alphas) -> OpWeights:
    """An independent weight in (0, 1) for every op (FairDARTS, Chu et al. 2020; Single-DARTS, Hou et al. 2021)."""
    return {name: jax.nn.sigmoid(a) for name, a in alphas.items()}


def masked_softmax(alphas: Alphas, keep: OpWeights) -> OpWeights:
    """Softmax over the candidates whose `keep` is positive; the others get weight 0.

    Every row must keep at least one candidate; a row that keeps none becomes NaN.
    """
    return {name: jax.nn.softmax(jnp.where(keep[name] > 0, a, -jnp.inf), axis=-1) for name, a in alphas.items()}


def gumbel_softmax(
    alphas: Alphas, key: jax.Array, temperature: jax.Array | float, *, straight_through: bool = False
) -> OpWeights:
    """`softmax((log softmax(α) + G) / temperature)` with standard Gumbel noise G, drawn for each edge and op.

    With `straight_through`, the value is the one-hot row of the largest entry and the derivative is that of the soft
    row (GDAS, Dong & Yang 2019). Without it, the result is the soft row (SNAS, Xie et al. 2019).
    """

    def one(a, k):
        soft = jax.nn.softmax((jax.nn.log_softmax(a) + jax.random.gumbel(k, a.shape, a.dtype)) / temperature)
        return harden(soft) if straight_through else soft

    return _for_each(one, alphas, key)


def harden(p: jax.Array) -> jax.Array:
    """One-hot rows of the largest entries of `p`, with the derivative of `p` (straight-through)."""
    hard = jax.nn.one_hot(jnp.argmax(p, -1), p.shape[-1], dtype=p.dtype)
    return lax.stop_gradient(hard - p) + p


def dirichlet(alphas: Alphas, key: jax.Array) -> OpWeights:
    """A reparameterised sample of Dirichlet(ELU(α) + 1) for each edge (DrNAS, Chen et al. 2021)."""
    return _for_each(lambda a, k: jax.random.dirichlet(k, jax.nn.elu(a) + 1), alphas, key)


def uniform_one_hot(alphas: Alphas, key: jax.Array) -> OpWeights:
    """One op on every edge, drawn uniformly and independently of the alphas (SETN, RSPS)."""

    def one(a, k):
        return jax.nn.one_hot(jax.random.randint(k, a.shape[:1], 0, a.shape[1]), a.shape[1], dtype=a.dtype)

    return _for_each(one, alphas, key)


def node_softmax(edge_alphas: jax.Array, targets: Sequence[int]) -> jax.Array:
    """Softmax over the edges that enter the same node: `[edges]` → `[edges]` (PC-DARTS, Xu et al. 2020, eq. 3)."""
    segments = jnp.asarray(targets) - min(targets)
    nodes = max(targets) - min(targets) + 1
    peak = jax.ops.segment_max(lax.stop_gradient(edge_alphas), segments, nodes)
    e = jnp.exp(edge_alphas - peak[segments])
    return e / jax.ops.segment_sum(e, segments, nodes)[segments]


def entropy(op_weights: OpWeights) -> jax.Array:
    """Mean entropy of the edges' op distributions, in nats: ln(ops) for uniform rows, 0 for one-hot rows."""
    rows = [-jnp.sum(p * jnp.log(jnp.clip(p, 1e-30)), axis=-1) for p in op_weights.values()]
    return jnp.mean(jnp.concatenate(rows))


def _for_each(function: Callable, alphas: Alphas, key: jax.Array) -> OpWeights:
    names = sorted(alphas)
    return {name: function(alphas[name], k) for name, k in zip(names, jax.random.split(key, len(names)), strict=True)}
