"""`unrolled` against autodiff through the whole step and against central differences, in float64."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.hypergrad_problems import CHAINS, error, mlp_loss, mlp_problem, objective, warm_state

from jdarts import hypergrad, staging

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
    estimator = jax.jit(hypergrad.unrolled(mlp_loss, mlp_loss, optimizer))
    grads, aux = estimator(w, alphas, state, make(0), make(1))
    hyper = objective(mlp_loss, mlp_loss, optimizer, w, state, [make(0)], make(1))
    value, expected = jax.jit(jax.value_and_grad(hyper))(alphas)
    assert error(grads, expected) < 1e-12
    np.testing.assert_allclose(aux.val_loss, value, rtol=1e-13)
    np.testing.assert_allclose(aux.train_loss, mlp_loss(w, alphas, make(0))[0], rtol=1e-13)
    first = jax.jit(hypergrad.first_order(mlp_loss, mlp_loss))(w, alphas, state, make(0), make(1))[0]
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
    grads, _ = jax.jit(hypergrad.unrolled(mlp_loss, mlp_loss, optimizer, steps=steps))(
        w, alphas, state, train_batch, make(99)
    )
    vector, unravel = jax.flatten_util.ravel_pytree(alphas)
    slope, _ = jax.flatten_util.ravel_pytree(grads)
    hyper = objective(mlp_loss, mlp_loss, optimizer, w, state, batches, make(99))
    values = jax.jit(lambda points: jax.lax.map(lambda point: hyper(unravel(point)), points))
    directions = np.random.default_rng(3).normal(size=(20, vector.size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    h = 1e-3  # fourth order: error about h⁴ of truncation and 1e-16 / h of rounding
    minus2, minus1, plus1, plus2 = (values(vector + s * h * directions) for s in (-2, -1, 1, 2))
    differences = (8 * (plus1 - minus1) - (plus2 - minus2)) / (12 * h)
    assert np.abs(differences - directions @ slope).max() < 1e-7 * np.linalg.norm(slope)


MODES = (hypergrad.Reverse(), hypergrad.Reverse("sqrt"), hypergrad.Forward(3))
K_CASES = [("darts", 1), ("darts", 2), ("nesterov", 5), ("darts", 5), ("adamw", 5)]


@pytest.mark.parametrize(("chain", "steps"), K_CASES)
def test_k_steps_equal_autodiff_through_the_loop(chain, steps):
    optimizer, w, alphas, state, make = settle(chain, dropout=True)
    batches = [make(i) for i in range(steps)]
    train_batch = batches[0] if steps == 1 else hypergrad.stack_batches(batches)
    hyper = objective(mlp_loss, mlp_loss, optimizer, w, state, batches, make(99))
    value, expected = jax.jit(jax.value_and_grad(hyper))(alphas)
    for mode in MODES:
        estimator = hypergrad.unrolled(mlp_loss, mlp_loss, optimizer, steps=steps, mode=mode)
        grads, aux = jax.jit(estimator)(w, alphas, state, train_batch, make(99))
        assert error(grads, expected) < 1e-12, mode
        np.testing.assert_allclose(aux.val_loss, value, rtol=1e-13)
        np.testing.assert_allclose(aux.train_loss, mlp_loss(w, alphas, make(0))[0], rtol=1e-13)


@pytest.mark.parametrize("mode", MODES)
def test_truncated_unrolling_differentiates_the_last_steps_only(mode):
    """The oracle takes the first steps with alphas that are constants, then differentiates through the others."""
    optimizer, w, alphas, state, make = settle("adam", dropout=True)
    batches, last = [make(i) for i in range(5)], 3
    middle, state_there = w, state
    for batch in batches[:-last]:
        g = jax.grad(lambda x, batch=batch: mlp_loss(x, alphas, batch)[0])(middle)
        updates, state_there = optimizer.update(g, state_there, middle)
        middle = optax.apply_updates(middle, updates)
    hyper = objective(mlp_loss, mlp_loss, optimizer, middle, state_there, batches[-last:], make(99))
    value, expected = jax.jit(jax.value_and_grad(hyper))(alphas)
    truncated = dataclasses.replace(mode, last=last)
    estimator = jax.jit(hypergrad.unrolled(mlp_loss, mlp_loss, optimizer, steps=5, mode=truncated))
    grads, aux = estimator(w, alphas, state, hypergrad.stack_batches(batches), make(99))
    assert error(grads, expected) < 1e-12
    np.testing.assert_allclose(aux.val_loss, value, rtol=1e-13)
    np.testing.assert_allclose(aux.train_loss, mlp_loss(w, alphas, batches[0])[0], rtol=1e-13)


@pytest.mark.parametrize("chain", ["darts", "adam", "clip_active"])
def test_look_back_differentiates_the_step_and_returns_its_end(chain):
    optimizer, w, alphas, state, make = settle(chain, dropout=True)
    grads, aux = jax.jit(hypergrad.look_back(mlp_loss, mlp_loss, optimizer))(w, alphas, state, make(0), make(1))
    hyper = objective(mlp_loss, mlp_loss, optimizer, w, state, [make(0)], make(1))
    assert error(grads, jax.jit(jax.grad(hyper))(alphas)) < 1e-12
    updates, expected = optimizer.update(jax.grad(lambda x: mlp_loss(x, alphas, make(0))[0])(w), state, w)
    chex.assert_trees_all_close(aux.moved, (optax.apply_updates(w, updates), expected), rtol=1e-13)


@pytest.mark.parametrize("steps", [1, 3])
def test_steps_without_a_batch(steps):
    """Losses that need no data: the number of steps is not taken from batches."""

    def loss(w, alphas, batch):
        assert batch is None
        return jnp.sum(jnp.sin(w * jnp.exp(alphas)) ** 2) + jnp.sum(w * alphas), None

    w, alphas, optimizer = jnp.array([0.3, -0.8]), jnp.array([0.2, 0.7]), CHAINS["momentum"]()

    def hyper(alphas):
        end, state = w, optimizer.init(w)
        for _ in range(steps):
            updates, state = optimizer.update(jax.grad(lambda x: loss(x, alphas, None)[0])(end), state, end)
            end = optax.apply_updates(end, updates)
        return loss(end, alphas, None)[0]

    expected = jax.jit(jax.grad(hyper))(alphas)
    for mode in MODES:
        estimator = hypergrad.unrolled(loss, loss, optimizer, steps=steps, mode=mode)
        grads, _ = jax.jit(estimator)(w, alphas, optimizer.init(w), None, None)
        assert error(grads, expected) < 1e-12, mode


@pytest.mark.parametrize("checkpoint", ["every", "sqrt"])
def test_k_steps_in_pieces_equal_one_program(checkpoint):
    optimizer, w, alphas, state, make = settle("adamw")
    arguments = (w, alphas, state, hypergrad.stack_batches([make(i) for i in range(4)]), make(99))
    whole = hypergrad.unrolled(mlp_loss, mlp_loss, optimizer, steps=4)
    marked = staging.piece(mlp_loss)
    pieces = hypergrad.unrolled(marked, marked, optimizer, steps=4, mode=hypergrad.Reverse(checkpoint))
    assert error(staging.compile(pieces, *arguments)(*arguments)[0], jax.jit(whole)(*arguments)[0]) < 1e-12


def test_another_optimizer_takes_the_step_from_the_same_state():
    def real_and_virtual(clip):
        return optax.chain(clip, optax.add_decayed_weights(0.03), optax.sgd(0.05, momentum=0.9))

    real, virtual = real_and_virtual(optax.clip_by_global_norm(0.05)), real_and_virtual(optax.identity())
    w, alphas, make = mlp_problem()
    w, state = warm_state(real, w, alphas, [make(10), make(11)])
    estimator = jax.jit(hypergrad.unrolled(mlp_loss, mlp_loss, virtual))
    grads, _ = estimator(w, alphas, state, make(0), make(1))
    expected = jax.jit(jax.grad(objective(mlp_loss, mlp_loss, virtual, w, state, [make(0)], make(1))))(alphas)
    other = jax.jit(jax.grad(objective(mlp_loss, mlp_loss, real, w, state, [make(0)], make(1))))(alphas)
    assert error(grads, expected) < 1e-12 < 1e-3 < error(other, expected)
