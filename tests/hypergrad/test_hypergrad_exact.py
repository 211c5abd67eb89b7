"""`unrolled` against autodiff through the whole step and against central differences, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypergrad_problems import CHAINS, error, mlp_loss, mlp_problem, objective, quick_jit, warm_state

from jdarts import hypergrad, spaces
from jdarts.initializers import init_network
from jdarts.losses import cross_entropy
from jdarts.relaxation import softmax

pytestmark = pytest.mark.usefixtures("x64")


def settle(chain, *, dropout=False):
    w, alphas, make = mlp_problem(dropout=dropout)
    optimizer = CHAINS[chain]()
    w, state = warm_state(optimizer, w, alphas, [make(10), make(11)])
    return optimizer, w, alphas, state, make


CASES = [*((chain, False) for chain in CHAINS), ("darts", True), ("adam", True)]


@pytest.mark.parametrize(("chain", "dropout"), CASES)
def test_one_step_equals_autodiff_through_the_step(chain, dropout):
    optimizer, w, alphas, state, make = settle(chain, dropout=dropout)
    estimator = quick_jit(hypergrad.unrolled(mlp_loss, mlp_loss, optimizer))
    grads, aux = estimator(w, alphas, state, make(0), make(1))
    hyper = objective(mlp_loss, mlp_loss, optimizer, w, state, [make(0)], make(1))
    value, expected = quick_jit(jax.value_and_grad(hyper))(alphas)
    assert error(grads, expected) < 1e-12
    np.testing.assert_allclose(aux.val_loss, value, rtol=1e-13)
    np.testing.assert_allclose(aux.train_loss, mlp_loss(w, alphas, make(0))[0], rtol=1e-13)
    first = quick_jit(hypergrad.first_order(mlp_loss, mlp_loss))(w, alphas, state, make(0), make(1))[0]
    assert error(first, expected) > 1e-3, "the second-order term must matter for the comparison to mean something"


def test_clipping_is_active_and_inactive_where_said():
    def clipped(chain):
        _, w, alphas, _, make = settle(chain)
        g = jax.grad(lambda w_: mlp_loss(w_, alphas, make(0))[0])(w)
        return optax.tree.norm(g)

    assert clipped("clip_active") > 0.05
    assert clipped("darts") > 0.2
    assert clipped("clip_inactive") < 50


@pytest.mark.parametrize(("chain", "steps"), [("darts", 1), ("adam", 1), ("darts", 2), ("darts", 5)])
def test_equals_central_differences_of_the_objective(chain, steps):
    optimizer, w, alphas, state, make = settle(chain)
    batches = [make(i) for i in range(steps)]
    train_batch = batches[0] if steps == 1 else hypergrad.stack_batches(batches)
    grads, _ = quick_jit(hypergrad.unrolled(mlp_loss, mlp_loss, optimizer, steps=steps))(
        w, alphas, state, train_batch, make(99)
    )
    vector, unravel = jax.flatten_util.ravel_pytree(alphas)
    slope, _ = jax.flatten_util.ravel_pytree(grads)
    hyper = objective(mlp_loss, mlp_loss, optimizer, w, state, batches, make(99))
    values = quick_jit(lambda points: jax.lax.map(lambda point: hyper(unravel(point)), points))
    directions = np.random.default_rng(3).normal(size=(20, vector.size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    h = 1e-3  # fourth order: error about h⁴ of truncation and 1e-16 / h of rounding
    minus2, minus1, plus1, plus2 = (values(vector + s * h * directions) for s in (-2, -1, 1, 2))
    differences = (8 * (plus1 - minus1) - (plus2 - minus2)) / (12 * h)
    assert np.abs(differences - directions @ slope).max() < 1e-7 * np.linalg.norm(slope)


K_CASES = [("darts", 1), ("darts", 2), ("nesterov", 5), ("darts", 5), ("adamw", 5)]


@pytest.mark.parametrize(("chain", "steps"), K_CASES)
def test_k_steps_equal_autodiff_through_the_loop(chain, steps):
    optimizer, w, alphas, state, make = settle(chain, dropout=True)
    batches = [make(i) for i in range(steps)]
    train_batch = batches[0] if steps == 1 else hypergrad.stack_batches(batches)
    hyper = objective(mlp_loss, mlp_loss, optimizer, w, state, batches, make(99))
    value, expected = quick_jit(jax.value_and_grad(hyper))(alphas)
    for options in ({"mode": "reverse"}, {"mode": "reverse", "checkpoint": "sqrt"}, {"mode": "forward", "chunk": 3}):
        estimator = hypergrad.unrolled(mlp_loss, mlp_loss, optimizer, steps=steps, **options)
        grads, aux = quick_jit(estimator)(w, alphas, state, train_batch, make(99))
        assert error(grads, expected) < 1e-12, options
        np.testing.assert_allclose(aux.val_loss, value, rtol=1e-13)
        np.testing.assert_allclose(aux.train_loss, mlp_loss(w, alphas, make(0))[0], rtol=1e-13)


@pytest.mark.parametrize("checkpoint", ["every", "sqrt"])
def test_k_steps_in_pieces_equal_one_program(checkpoint):
    optimizer, w, alphas, state, make = settle("adamw")
    arguments = (w, alphas, state, hypergrad.stack_batches([make(i) for i in range(4)]), make(99))
    whole = hypergrad.unrolled(mlp_loss, mlp_loss, optimizer, steps=4)
    pieces = hypergrad.unrolled(mlp_loss, mlp_loss, optimizer, steps=4, checkpoint=checkpoint, stage=quick_jit)
    assert error(pieces(*arguments)[0], quick_jit(whole)(*arguments)[0]) < 1e-12


def test_a_virtual_optimizer_takes_the_step_instead():
    def real_and_virtual(clip):
        return optax.chain(clip, optax.add_decayed_weights(0.03), optax.sgd(0.05, momentum=0.9))

    real, virtual = real_and_virtual(optax.clip_by_global_norm(0.05)), real_and_virtual(optax.identity())
    w, alphas, make = mlp_problem()
    w, state = warm_state(real, w, alphas, [make(10), make(11)])
    estimator = quick_jit(hypergrad.unrolled(mlp_loss, mlp_loss, real, virtual_optimizer=virtual))
    grads, _ = estimator(w, alphas, state, make(0), make(1))
    expected = quick_jit(jax.grad(objective(mlp_loss, mlp_loss, virtual, w, state, [make(0)], make(1))))(alphas)
    other = quick_jit(jax.grad(objective(mlp_loss, mlp_loss, real, w, state, [make(0)], make(1))))(alphas)
    assert error(grads, expected) < 1e-12 < 1e-3 < error(other, expected)


@pytest.fixture(scope="module")
def supernet():
    """A supernet with batch norm: weights, alphas, two batches and its loss, in float64."""
    space = spaces.get("darts_cnn")
    network = space.supernet(channels=4, cells=1, classes=3)
    images = jax.random.normal(jax.random.key(0), (2, 6, 8, 8, 3))
    labels = jax.random.randint(jax.random.key(1), (2, 6), 0, 3)
    alphas = space.init_alphas(jax.random.key(2), 0.3)
    init = quick_jit(lambda key: init_network(network, key, softmax(alphas), images[0], True))
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
    """One chain that is `first` or `second` by a flag in its state: both chains for the price of one compilation."""

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
    state = jax.tree.map(lambda s: s + 0.01 if s.shape else s, optimizer.init(w))  # a past of some kind
    estimator = quick_jit(hypergrad.unrolled(loss, loss, optimizer))

    @quick_jit
    def oracle(w, alphas, state, train_batch, val_batch):
        return jax.grad(objective(loss, loss, optimizer, w, state, [train_batch], val_batch))(alphas)

    results = []
    for flag in (True, False):
        arguments = (w, alphas, (jnp.asarray(flag), *state[1:]), train_batch, val_batch)
        results.append(estimator(*arguments)[0])
        assert results[-1]["normal"].dtype == jnp.float64
        assert error(results[-1], oracle(*arguments)) < 1e-12
    assert error(*results) > 1e-3
