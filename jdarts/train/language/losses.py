"""The loss of a language model on the counted time steps of a window, and its penalties (Merity et al. 2017)."""

import jax
import jax.numpy as jnp
import optax


def next_word_losses(logits: jax.Array, targets: jax.Array, counted: jax.Array) -> jax.Array:
    """The sum of the cross-entropies, in nats, of `logits [time, batch, words]` over the `counted [time]` steps."""
    each = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return jnp.sum(jnp.where(counted[:, None], each, 0))


def activation_penalty(dropped: jax.Array, counted: jax.Array) -> jax.Array:
    """The mean square of the outputs `[time, batch, units]` behind their dropout."""
    squared = jnp.mean(jnp.square(dropped), axis=(1, 2))
    return jnp.sum(jnp.where(counted, squared, 0)) / jnp.maximum(jnp.sum(counted), 1)


def slowness_penalty(raw: jax.Array, counted: jax.Array) -> jax.Array:
    """The mean squared difference of successive hidden states `[time, batch, units]`; 0 of a single time step."""
    squared = jnp.mean(jnp.square(raw[1:] - raw[:-1]), axis=(1, 2))
    return jnp.sum(jnp.where(counted[1:], squared, 0)) / jnp.maximum(jnp.sum(counted[1:]), 1)
