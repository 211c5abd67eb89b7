"""Two layers whose activations are mixtures of ops, with batch norm between: a small loss for analyses."""

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.losses import accuracy, cross_entropy
from jdarts.relaxation import softmax


def mixture_loss(w, alphas, batch):
    """Two layers whose activations are softmax mixtures (two rows each), with batch norm between; aux has accuracy."""
    return mixture_network(w, softmax(alphas), batch)


def mixture_network(w, op_weights, batch, unseen=()):
    """`mixture_loss` as a function of op weights; those at `unseen` of both cells count as zero."""
    h = batch["x"]
    for kernel, name in zip(w["layers"], ("normal", "reduce"), strict=True):
        z = h @ kernel
        ops = [[jnp.tanh(z), z, jnp.sin(z)], [jnp.cos(z), z**2, jax.nn.sigmoid(z)]]
        p = op_weights[name]
        h = sum(p[r][k] * ops[r][k] for r in range(2) for k in range(3) if (r, k) not in unseen)
        h = (h - h.mean(0)) / jnp.sqrt(h.var(0) + 1e-3)
    logits = h @ w["head"]
    return cross_entropy(logits, batch["y"]), {"accuracy": accuracy(logits, batch["y"])}


def mixture_problem(dtype=np.float64, rows=8, batches=2):
    """`(w, alphas, batches)` for `mixture_loss`."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), dtype)

    w = {"layers": [normal(4, 5) / 2, normal(5, 5) / 2], "head": normal(5, 3) / 2}
    alphas = {"normal": normal(2, 3), "reduce": normal(2, 3)}
    made = [{"x": normal(rows, 4), "y": jnp.asarray(rng.integers(0, 3, rows))} for _ in range(batches)]
    return w, alphas, made
