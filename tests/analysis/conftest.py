"""Float64 for comparisons with oracles, and one small supernet in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import spaces
from jdarts.losses import accuracy, cross_entropy
from jdarts.ops.initializers import init_network
from jdarts.relaxation import softmax


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


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


@pytest.fixture(scope="session")
def supernet():
    """`(losses by batch-norm mode, weights, alphas, batches)` of a one-cell supernet in float64."""
    space = spaces.get("robust_s3")
    network = space.supernet(channels=2, cells=1, classes=3)
    with jax.enable_x64(False):
        images = jax.random.normal(jax.random.key(0), (2, 6, 4, 4, 3))
        labels = jax.random.randint(jax.random.key(1), (2, 6), 0, 3)
        alphas = space.init_alphas(jax.random.key(2), 0.3)
        init = jax.jit(lambda key: init_network(network, key, softmax(alphas), images[0], True))
        variables = init(jax.random.key(3))
    with jax.enable_x64(True):
        images, variables, alphas = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), (images, variables, alphas))
        w, unravel = jax.flatten_util.ravel_pytree(variables["params"])

        def loss_in(train):
            def loss(vector, alphas, batch):
                state = {"params": unravel(vector), "batch_stats": variables["batch_stats"]}
                logits, _ = network.apply(state, softmax(alphas), batch[0], train, mutable=["batch_stats"])
                return cross_entropy(logits, batch[1]), {"accuracy": accuracy(logits, batch[1])}

            return loss

        losses = {train: loss_in(train) for train in (True, False)}
        return losses, w, alphas, [(images[i], labels[i]) for i in range(2)]
