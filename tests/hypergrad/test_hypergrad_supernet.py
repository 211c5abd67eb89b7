"""`unrolled` on a supernet with batch norm against autodiff through the whole step, in float64."""

import jax
import jax.numpy as jnp
import optax
import pytest
from support.hypergrad_problems import CHAINS, error, objective

from jdarts import hypergrad
from jdarts.genotypes import DARTS_OPS
from jdarts.losses import cross_entropy
from jdarts.ops.initializers import init_network
from jdarts.relaxation import softmax
from jdarts.spaces import define_space

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def supernet():
    """A supernet with batch norm and every op: weights, alphas, two batches and its loss, in float64."""
    space = define_space("one_node", nodes=1, normal=DARTS_OPS)
    network = space.supernet(channels=4, cells=1, classes=3)
    images = jax.random.normal(jax.random.key(0), (2, 6, 8, 8, 3))
    labels = jax.random.randint(jax.random.key(1), (2, 6), 0, 3)
    alphas = space.init_alphas(jax.random.key(2), 0.3)
    init = jax.jit(lambda key: init_network(network, key, softmax(alphas), images[0], True))
    variables = init(jax.random.key(3))
    with jax.enable_x64(True):
        images = jnp.asarray(images, jnp.float64)
        variables, alphas = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), (variables, alphas))
        w, unravel = jax.flatten_util.ravel_pytree(variables["params"])

        def loss(vector, alphas, batch):
            logits, changed = network.apply(
                {"params": unravel(vector), "batch_stats": variables["batch_stats"]},
                softmax(alphas),
                batch[0],
                True,
                mutable=["batch_stats"],
            )
            return cross_entropy(logits, batch[1]), changed["batch_stats"]

        return loss, w, alphas, [(images[i], labels[i]) for i in range(2)]


def either(first, second):
    """One chain that is `first` or `second` by a flag in its state: one compilation serves both chains."""

    def init(w):
        return jnp.asarray(True), first.init(w), second.init(w)

    def update(g, state, w):
        flag, *states = state
        (one, state_one), (two, state_two) = first.update(g, states[0], w), second.update(g, states[1], w)
        return jnp.where(flag, one, two), (flag, state_one, state_two)

    return optax.GradientTransformation(init, update)


@pytest.mark.slow
def test_a_supernet_with_batch_norm_equals_autodiff(supernet):
    loss, w, alphas, (train_batch, val_batch) = supernet
    optimizer = either(CHAINS["darts"](), CHAINS["adam"]())
    state = jax.tree.map(lambda s: s + 0.01 if s.shape else s, optimizer.init(w))  # an arbitrary state
    estimator = jax.jit(hypergrad.unrolled(loss, loss, optimizer))

    @jax.jit
    def oracle(w, alphas, state, train_batch, val_batch):
        return jax.grad(objective(loss, loss, optimizer, w, state, [train_batch], val_batch))(alphas)

    results = []
    for flag in (True, False):
        arguments = (w, alphas, (jnp.asarray(flag), *state[1:]), train_batch, val_batch)
        results.append(estimator(*arguments)[0])
        assert results[-1]["normal"].dtype == jnp.float64
        assert error(results[-1], oracle(*arguments)) < 1e-12
    assert error(*results) > 1e-3
