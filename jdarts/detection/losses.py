"""The two losses of a detector."""

import jax
import jax.numpy as jnp
import optax

ALPHA, GAMMA = 0.25, 2.0


def focal_losses(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Sigmoid focal losses `α_t (1 − p_t)^γ · −log p_t` of `logits […]` for `targets […]` that are 0 or 1.

    α is 0.25 and γ 2 (Lin et al. 2017, eq. 5).
    """
    p = jax.nn.sigmoid(logits)
    wrong = jnp.where(targets == 1, 1 - p, p)
    alpha = jnp.where(targets == 1, ALPHA, 1 - ALPHA)
    return alpha * wrong**GAMMA * optax.sigmoid_binary_cross_entropy(logits, targets.astype(logits.dtype))


def smooth_l1_losses(found: jax.Array, wanted: jax.Array, beta: float) -> jax.Array:
    """`x² / 2β` below β and `x − β / 2` above, of x = |found − wanted|; the absolute difference for β = 0."""
    x = jnp.abs(found - wanted)
    return x if beta == 0 else jnp.where(x < beta, x**2 / (2 * beta), x - beta / 2)
