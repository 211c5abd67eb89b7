"""Relaxations: alphas → op weights. The network never sees alphas."""

import jax
import jax.numpy as jnp

Alphas = dict[str, jax.Array]
OpWeights = dict[str, jax.Array]


def softmax(alphas: Alphas) -> Alphas:
    """Softmax over the candidates of each edge, `[edges, ops]` → `[edges, ops]` (DARTS, Liu et al. 2019, eq. 2)."""
    return {name: jax.nn.softmax(a, axis=-1) for name, a in alphas.items()}


def entropy(op_weights: Alphas) -> jax.Array:
    """Mean entropy of the edges' op distributions, in nats; ln(ops) when uniform, 0 when decided."""
    rows = [-jnp.sum(p * jnp.log(jnp.clip(p, 1e-30)), axis=-1) for p in op_weights.values()]
    return jnp.mean(jnp.concatenate(rows))
