"""One small supernet in float64."""

import jax
import jax.numpy as jnp
import pytest

from jdarts import spaces
from jdarts.losses import accuracy, cross_entropy
from jdarts.ops.initializers import init_network
from jdarts.relaxation import softmax


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
