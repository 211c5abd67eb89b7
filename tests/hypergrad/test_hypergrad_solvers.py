"""Nyström's approximation and Neumann's series with fresh batches, against their formulas in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.hypergrad_problems import error, mlp_loss, mlp_problem, quadratic

from jdarts import hypergrad
from jdarts.errors import UserError

pytestmark = pytest.mark.usefixtures("x64")
DUMMY = jnp.zeros(2)


def parts(problem):
    """`(A, B, v)` of the quadratic, as NumPy arrays."""
    train_loss, val_loss, w, alpha, a, *_ = problem
    b = -jax.jacobian(lambda al: jax.grad(lambda w: train_loss(w, al, DUMMY)[0])(w))(alpha)
    return a, np.asarray(b), np.asarray(jax.grad(lambda w: val_loss(w, alpha, DUMMY)[0])(w))


@pytest.mark.parametrize("rank", [2, 6])
def test_nystrom_is_the_formula_of_the_paper(rank):
    problem = train_loss, val_loss, w, alpha, a, _, first = quadratic()
    (a, b, v), delta = parts(problem), 0.3
    chosen = np.asarray(jax.random.choice(jax.random.key(5), 6, (rank,), replace=False))
    c, inside = a[:, chosen], a[np.ix_(chosen, chosen)]
    x = v / delta - c @ np.linalg.solve(inside + c.T @ c / delta, c.T @ v) / delta**2
    solver = hypergrad.Nystrom(rank, seed=5)
    grads, aux = jax.jit(hypergrad.implicit(train_loss, val_loss, solver=solver, damping=delta))(
        w, alpha, None, DUMMY, DUMMY
    )
    np.testing.assert_allclose(grads, first + b.T @ x, rtol=1e-9)
    h = a + delta * np.eye(6)
    np.testing.assert_allclose(aux.residual, np.linalg.norm(v - h @ x) / np.linalg.norm(v), rtol=1e-8, atol=1e-12)
    if rank == 6:
        np.testing.assert_allclose(x, np.linalg.solve(h, v), rtol=1e-9)
        preconditioned = hypergrad.ConjugateGradient(1, preconditioner=solver)
        again = hypergrad.implicit(train_loss, val_loss, solver=preconditioned, damping=delta)
        assert error(again(w, alpha, None, DUMMY, DUMMY)[0], grads) < 1e-10, "an exact inverse needs one iteration"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nystrom_of_a_singular_hessian_is_exact_and_finite(dtype):
    """Rank 2 of 5 weights, two of them without influence: columns that are zero or depend on each other."""
    rng = np.random.default_rng(0)
    half = np.zeros((5, 2))
    half[:3] = rng.normal(size=(3, 2))
    a, v = half @ half.T, rng.normal(size=5)
    train = lambda w, alphas, batch: (0.5 * w @ jnp.asarray(a, dtype) @ w + w @ alphas, None)  # noqa: E731
    val = lambda w, alphas, batch: (w @ jnp.asarray(v, dtype), None)  # noqa: E731
    estimator = hypergrad.implicit(train, val, solver=hypergrad.Nystrom(5), damping=0.1)
    w = jnp.ones(5, dtype)
    grads, aux = jax.jit(estimator)(w, w, None, DUMMY, DUMMY)
    expected = -np.linalg.solve(a + 0.1 * np.eye(5), v)
    assert error(grads, expected) < (1e-4 if dtype == np.float32 else 1e-10) and aux.residual < 1e-3


def test_nystrom_draws_columns_by_the_key_of_the_batch_and_refuses_what_has_no_inverse():
    w, alphas, make = mlp_problem(dropout=True)
    solver = hypergrad.Nystrom(3)
    estimator = jax.jit(hypergrad.implicit(mlp_loss, mlp_loss, solver=solver, damping=1.0))
    one, same, other = (
        estimator(w, alphas, None, {**make(0), "key": jax.random.key(k)}, make(1))[0] for k in (1, 1, 2)
    )
    assert error(one, same) == 0 < error(one, other)
    with pytest.raises(UserError, match="Nystrom needs a damping above 0"):
        hypergrad.implicit(mlp_loss, mlp_loss, solver=solver)(w, alphas, None, make(0), make(1))
    with pytest.raises(UserError, match="rank is 999, but there are 40 weights"):
        large = hypergrad.implicit(mlp_loss, mlp_loss, solver=hypergrad.Nystrom(999), damping=1.0)
        large(w, alphas, None, make(0), make(1))


def stochastic(terms):
    """A loss whose Hessian and mixed derivative belong to the batch, and the batches."""
    rng = np.random.default_rng(0)
    halves = rng.normal(size=(terms, 6, 4))
    batches = [{"x": jnp.asarray(x), "b": jnp.asarray(rng.normal(size=(6, 3)))} for x in halves]

    def train_loss(w, alphas, batch):
        scores = batch["x"] @ w
        return 0.5 * jnp.mean(scores**2) + jnp.mean(batch["b"] @ alphas * scores), None

    return train_loss, batches


@pytest.mark.parametrize("terms", [1, 2, 4])
def test_every_term_has_its_batch(terms):
    """stocBiO's product of `I − γ H_i`, written out; batches in the order of the terms, the last for the rest."""
    train_loss, batches = stochastic(terms)
    rng = np.random.default_rng(1)
    w, alphas, v, gamma, delta = rng.normal(size=4), rng.normal(size=3), rng.normal(size=4), 0.2, 0.1
    val_loss = lambda w, alphas, batch: (w @ v + jnp.sum(alphas), None)  # noqa: E731
    hessians = [np.asarray(b["x"]).T @ np.asarray(b["x"]) / 6 + delta * np.eye(4) for b in batches]
    part = x = gamma * v
    for h in hessians[:-1]:
        part = part - gamma * h @ part
        x = x + part
    last = batches[-1]
    expected = 1 - np.asarray(last["b"]).T @ (np.asarray(last["x"]) @ x) / 6
    solver = hypergrad.Neumann(terms, gamma, fresh=True)
    for microbatches in (1, 2):
        estimator = hypergrad.implicit(train_loss, val_loss, solver=solver, damping=delta, microbatches=microbatches)
        assert hypergrad.batches_of(estimator) == terms
        train = batches[0] if terms == 1 else hypergrad.stack_batches(batches)
        grads, aux = jax.jit(estimator)(jnp.asarray(w), jnp.asarray(alphas), None, train, batches[0])
        np.testing.assert_allclose(grads, expected, rtol=1e-12)
        right = np.linalg.norm(v - hessians[-1] @ x) / np.linalg.norm(v)
        np.testing.assert_allclose(aux.residual, right, rtol=1e-12)


def test_equal_batches_are_the_plain_series_and_others_are_refused():
    train_loss, val_loss, w, alpha, *_ = quadratic()
    plain = hypergrad.implicit(train_loss, val_loss, solver=hypergrad.Neumann(3, 0.4))
    fresh = hypergrad.implicit(train_loss, val_loss, solver=hypergrad.Neumann(3, 0.4, fresh=True))
    expected = plain(w, alpha, None, DUMMY, DUMMY)[0]
    assert error(fresh(w, alpha, None, jnp.zeros((3, 2)), DUMMY)[0], expected) < 1e-13
    with pytest.raises(UserError, match="3 steps need 3 different batches stacked"):
        fresh(w, alpha, None, jnp.zeros((2, 2)), DUMMY)
    warm = hypergrad.warm_started(train_loss, val_loss, solver=hypergrad.Neumann(3, 0.4, fresh=True))
    assert warm.batches == 3
    grads, aux = warm(w, alpha, None, jnp.zeros((3, 2)), DUMMY)
    twice = warm(w, alpha, None, jnp.zeros((3, 2)), DUMMY, aux.memory)[0]
    six = hypergrad.implicit(train_loss, val_loss, solver=hypergrad.Neumann(6, 0.4))(w, alpha, None, DUMMY, DUMMY)[0]
    assert error(grads, expected) < 1e-13 and error(twice, six) < 1e-13
