"""The functions of exported language models, in JAX alone: their source is copied into the exported file."""

import jax
import jax.numpy as jnp


def gated(product, activation, s):
    """`s + σ(c) · (f(h) − s)` of `product = [c, h]`, `[batch, 2 · units]`, and the state `s [batch, units]`."""
    c, h = jnp.split(product, 2, axis=-1)
    return s + jax.nn.sigmoid(c) * (activation(h) - s)


def identity(h):
    """The activation `identity`."""
    return h
