"""Losses on logits."""

import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits: jax.Array, labels: jax.Array, label_smoothing: float = 0.0) -> jax.Array:
    """Mean cross-entropy, in nats, of `logits [N, classes]` and integer `labels [N]`.

    With `label_smoothing` s, the target is 1 − s on the label plus s / classes on every class.
    """
    targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    if label_smoothing:
        targets = optax.smooth_labels(targets, label_smoothing)
    return jnp.mean(optax.softmax_cross_entropy(logits, targets))


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Fraction of `labels [N]` that equal the argmax of `logits [N, classes]`, a float32 scalar in [0, 1]."""
    return jnp.mean((jnp.argmax(logits, -1) == labels).astype(jnp.float32))
