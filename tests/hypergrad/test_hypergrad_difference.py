"""The finite difference: close to exact, with the error that theory predicts, and lost in redrawn noise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.hypergrad_problems import CHAINS, error, mlp_loss, mlp_problem, warm_state

from jdarts import hypergrad

pytestmark = pytest.mark.usefixtures("x64")


def settle(chain="darts", **kwargs):
    w, alphas, make = mlp_problem(**kwargs)
    optimizer = CHAINS[chain]()
    w, state = warm_state(optimizer, w, alphas, [make(10)])
    return optimizer, (w, alphas, state, make(0), make(1))


def test_the_error_falls_with_the_square_of_epsilon():
    optimizer, arguments = settle()
    exact = jax.jit(hypergrad.unrolled(mlp_loss, mlp_loss, optimizer))(*arguments)[0]
    errors = []
    for epsilon in (1e-1, 1e-2, 1e-3):
        estimator = hypergrad.finite_difference(mlp_loss, mlp_loss, optimizer, epsilon=epsilon)
        errors.append(error(jax.jit(estimator)(*arguments)[0], exact))
    assert errors[1] < 1e-4
    np.testing.assert_allclose(errors[0] / errors[1], 100, rtol=0.1)
    np.testing.assert_allclose(errors[1] / errors[2], 100, rtol=0.1)


def test_kinks_between_the_points_are_no_error_of_second_order():
    """`α relu(w − c)` at w = 0, in closed form: the product has the slope at w, the difference that of the chord."""
    kink = 1e-3

    def train_loss(w, alphas, batch):
        return jnp.sum(alphas * jax.nn.relu(w - kink)), None

    def val_loss(w, alphas, batch):
        return -jnp.sum(w), None

    w, alphas, optimizer = jnp.zeros(1), jnp.ones(1), optax.sgd(0.1)
    arguments = (w, alphas, optimizer.init(w), None, None)
    assert hypergrad.unrolled(train_loss, val_loss, optimizer)(*arguments)[0] == 0, "no slope at w"
    for epsilon in (1e-1, 1e-2, 2e-3, 1e-3, 1e-4):
        got = hypergrad.finite_difference(train_loss, val_loss, optimizer, epsilon=epsilon)(*arguments)[0]
        chord = max(epsilon - kink, 0) / (2 * epsilon)  # of u = 0.1
        np.testing.assert_allclose(got, 0.1 * chord, rtol=1e-9, atol=1e-15)


def test_it_is_the_formula_of_the_paper_for_plain_sgd():
    optimizer, (w, alphas, state, train_batch, val_batch) = settle("sgd")
    grads, aux = hypergrad.finite_difference(mlp_loss, mlp_loss, optimizer)(w, alphas, state, train_batch, val_batch)
    xi = 0.05
    g = jax.grad(lambda w: mlp_loss(w, alphas, train_batch)[0])(w)
    moved = jax.tree.map(lambda x, y: x - xi * y, w, g)
    v, d = jax.grad(lambda w, a: mlp_loss(w, a, val_batch)[0], argnums=(0, 1))(moved, alphas)
    radius = 0.01 / np.sqrt(sum(float(np.sum(np.square(x))) for x in jax.tree.leaves(v)))
    sides = [jax.tree.map(lambda x, y, s=s: x + s * radius * y, w, v) for s in (1, -1)]
    upper, lower = (jax.grad(lambda a, w=side: mlp_loss(w, a, train_batch)[0])(alphas) for side in sides)
    expected = jax.tree.map(lambda d, a, b: d - xi * (a - b) / (2 * radius), d, upper, lower)
    assert error(grads, expected) < 1e-11
    np.testing.assert_allclose(aux.val_loss, mlp_loss(moved, alphas, val_batch)[0], rtol=1e-13)


def test_redrawn_noise_is_no_derivative():
    optimizer, arguments = settle(dropout=True)
    exact = jax.jit(hypergrad.unrolled(mlp_loss, mlp_loss, optimizer))(*arguments)[0]

    def wrong_by(**options):
        estimator = hypergrad.finite_difference(mlp_loss, mlp_loss, optimizer, **options)
        return error(jax.jit(estimator)(*arguments)[0], exact)

    same, legacy = wrong_by(), wrong_by(noise="legacy")
    assert same < 1e-4
    assert legacy > 1e3 * same
    assert wrong_by(noise=lambda batch, side: batch) == same


def test_without_a_key_legacy_has_nothing_to_redraw():
    batch = {"x": 1}
    assert hypergrad.redraw_key(batch, 1) is batch
    batch = {"x": 1, "key": jax.random.key(0)}
    one, two = hypergrad.redraw_key(batch, 1), hypergrad.redraw_key(batch, 2)
    assert one["key"] != two["key"] and one["key"] != batch["key"] and one["x"] == 1


def test_a_zero_direction_gives_the_first_term_alone():
    optimizer, (w, alphas, state, train_batch, val_batch) = settle("sgd")

    def flat(w, alphas, batch):
        return sum(jax.tree.leaves(jax.tree.map(lambda a: (a**2).sum(), alphas))), None

    grads, _ = hypergrad.finite_difference(mlp_loss, flat, optimizer)(w, alphas, state, train_batch, val_batch)
    assert error(grads, jax.tree.map(lambda a: 2 * a, alphas)) < 1e-14
