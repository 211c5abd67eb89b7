"""Losses on logits."""

import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits: jax.Array, labels: jax.Array, label_smoothing: float = 0.0) -> jax.Array:
    """Mean cross-entropy of `logits [N, classes]` and integer `labels [N]`, optionally with smoothed labels."""
    targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    if label_smoothing:
        targets = optax.smooth_labels(targets, label_smoothing)
    return jnp.mean(optax.softmax_cross_entropy(logits, targets))


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Share of `labels [N]` that are the argmax of `logits [N, classes]`; float32 scalar."""
    return jnp.mean((jnp.argmax(logits, -1) == labels).astype(jnp.float32))
