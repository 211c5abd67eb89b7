"""Evaluations of losses by an estimator, counted from inside the loss."""

import jax
import jax.numpy as jnp

from jdarts import hypergrad


def count_products(*, damping: float) -> int:
    """Iterations of CG on a loss with curvature 2, 1, −1, −3 along its axes; one evaluation of the loss each."""
    estimator = lambda *losses: hypergrad.conjugate_gradient(*losses, iterations=5, damping=damping)  # noqa: E731
    return counts(estimator)["train"] - 1  # the last product gives the gradient and the residual


def counts(build) -> dict[str, int]:
    """Evaluations of the losses in one compiled call of `build(train_loss, val_loss)`, on the loss above."""
    calls = {"train": 0, "val": 0}

    def count(which):
        calls[which] += 1

    curvature = jnp.asarray([2.0, 1.0, -1.0, -3.0])

    def train_loss(w, alphas, batch):
        jax.debug.callback(lambda: count("train"))
        return 0.5 * jnp.sum(curvature * w**2) + jnp.sum(w * alphas) + 0 * jnp.sum(batch), None

    def val_loss(w, alphas, batch):
        jax.debug.callback(lambda: count("val"))
        return jnp.sum((w - 1) ** 2) + jnp.sum(alphas) + 0 * jnp.sum(batch), None

    estimator = build(train_loss, val_loss)
    w, alphas, batch = jnp.zeros(4), jnp.ones(4), jnp.zeros(1)
    jax.block_until_ready(jax.jit(estimator)(w, alphas, (), batch, batch)[0])
    jax.effects_barrier()
    return calls
