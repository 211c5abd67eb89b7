"""Losses on logits, and the penalties of the states of a recurrent network (Merity et al. 2017)."""

import math

import jax
import jax.numpy as jnp
import optax

from jdarts.config.swept import is_off

_LARGEST_EXPONENT = 700.0  # the exponential of more overflows


def cross_entropy(logits: jax.Array, labels: jax.Array, label_smoothing: float = 0.0) -> jax.Array:
    """Mean cross-entropy, in nats, of `logits [N, classes]` and integer `labels [N]`.

    With `label_smoothing` s, the target is 1 − s on the label plus s / classes on every class.
    """
    return jnp.mean(cross_entropies(logits, labels, label_smoothing))


def cross_entropies(logits: jax.Array, labels: jax.Array, label_smoothing: float = 0.0) -> jax.Array:
    """The cross-entropy of every row, `[N]`, as in `cross_entropy`."""
    targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    if not is_off(label_smoothing):
        targets = optax.smooth_labels(targets, label_smoothing)
    return optax.softmax_cross_entropy(logits, targets)


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Fraction of `labels [N]` that equal the argmax of `logits [N, classes]`, a float32 scalar in [0, 1]."""
    return jnp.mean((jnp.argmax(logits, -1) == labels).astype(jnp.float32))


def largest(logits: jax.Array) -> jax.Array:
    """The class of the largest of the logits `[…, classes]`, the first one of several, `[…]` int32.

    Equals `jnp.argmax(logits, -1)` where no logit is NaN; a row with NaN gives the number of classes. XLA for CPUs
    vectorises these two reductions, but not that of `argmax`, which takes a fifth of the loss of 10,000 words.
    """
    classes = logits.shape[-1]
    is_largest = logits == logits.max(-1, keepdims=True)
    return jnp.where(is_largest, jnp.arange(classes, dtype=jnp.int32), classes).min(-1)


def next_word_losses(logits: jax.Array, targets: jax.Array, counted: jax.Array) -> jax.Array:
    """The sum of the cross-entropies, in nats, of `logits [time, batch, words]` over the `counted [time]` steps."""
    each = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return jnp.sum(jnp.where(counted[:, None], each, 0))


def perplexity(loss: float) -> float:
    """The exponential of a mean cross-entropy in nats, at most e^700; NaN of NaN."""
    return math.exp(min(loss, _LARGEST_EXPONENT)) if not math.isnan(loss) else math.nan


def activation_penalty(dropped: jax.Array, counted: jax.Array) -> jax.Array:
    """The mean square of the outputs `[time, batch, units]` behind their dropout."""
    squared = jnp.mean(jnp.square(dropped), axis=(1, 2))
    return jnp.sum(jnp.where(counted, squared, 0)) / jnp.maximum(jnp.sum(counted), 1)


def slowness_penalty(raw: jax.Array, counted: jax.Array) -> jax.Array:
    """The mean squared difference of successive hidden states `[time, batch, units]`; 0 of a single time step."""
    squared = jnp.mean(jnp.square(raw[1:] - raw[:-1]), axis=(1, 2))
    return jnp.sum(jnp.where(counted[1:], squared, 0)) / jnp.maximum(jnp.sum(counted[1:]), 1)
