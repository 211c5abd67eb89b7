"""Handwritten digits with pixels that are black in every training image, and the same problem without their weights.

The weight of such a pixel has no influence on the training loss and never moves. The hypergradient is therefore that of
the problem in which the pixel is removed and its weight's contribution to the validation images is a constant. This
oracle shares nothing with the treatment of zeros.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

HIDDEN, IMAGES = 4, 20
STARTS = (0, 740)  # of the training and the validation images in the data set


@cache
def digits():
    """`(x [2, 20, 64], y [2, 20], mask of the pixels black in every training image)`; some are not in the others."""
    data = load_digits()
    x = np.stack([data.data[at : at + IMAGES] for at in STARTS]) / 16
    black = (x[0] == 0).all(axis=0)
    assert black.sum() >= 8 and (x[1][:, black] != 0).any(), "a pixel that is black only in training has u != 0"
    return x, np.stack([data.target[at : at + IMAGES] for at in STARTS]), black


def loss(w, alphas, batch):
    """An MLP whose activation is a mixture weighted by alphas, with a decay strength for each layer except the first.

    A decay of the first layer would give the black pixels' weights an influence.
    """
    z = batch["x"] @ w["in"] + w["bias"] + batch["offset"]
    p = jax.nn.softmax(alphas["mix"])
    h = p[0] * jnp.tanh(z) + p[1] * jax.nn.relu(z) + p[2] * jnp.sin(z)
    logits = h @ w["out"]
    rows = jnp.arange(len(batch["y"]))
    error = -jnp.mean(jax.nn.log_softmax(logits)[rows, batch["y"]])
    return error + jnp.exp(alphas["decay"]) * jnp.sum(w["out"] ** 2), None


def problem(*, black: bool, dtype=np.float64, steps: int = 1):
    """`(w, alphas, train batch (stacked if steps > 1), val batch)`, with the black pixels' weights or without."""
    x, y, dark = digits()
    kept = slice(None) if black else ~dark
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(64, HIDDEN)) / 4
    w = {
        "in": jnp.asarray(kernel[kept], dtype),
        "bias": jnp.zeros(HIDDEN, dtype),
        "out": jnp.asarray(rng.normal(size=(HIDDEN, 10)) / 2, dtype),
    }
    alphas = {"mix": jnp.asarray(0.3 * rng.normal(size=3), dtype), "decay": jnp.asarray(-3.0, dtype)}

    def batch(side, rows=slice(None)):
        chosen = x[side][rows]
        offset = 0 * chosen[:, :1] @ kernel[:1] if black else chosen[:, dark] @ kernel[dark]
        return {
            "x": jnp.asarray(chosen[:, kept], dtype),
            "y": jnp.asarray(y[side][rows]),
            "offset": jnp.asarray(offset, dtype),
        }

    if steps == 1:
        return w, alphas, batch(0), batch(1)
    parts = [batch(0, rows) for rows in np.split(np.arange(IMAGES), steps)]
    return w, alphas, jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts), batch(1)


def after(optimizer, w, alphas, batch, steps: int):
    """`(w, state)` after that many real steps on `batch`."""
    state = optimizer.init(w)

    def step(_, carry):
        w, state = carry
        updates, state = optimizer.update(jax.grad(lambda w: loss(w, alphas, batch)[0])(w), state, w)
        return optax.apply_updates(w, updates), state

    return jax.jit(lambda w, state: jax.lax.fori_loop(0, steps, step, (w, state)))(w, state)
