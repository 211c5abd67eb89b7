"""Estimators with a memory against their recursions in NumPy, closed forms, and themselves under transforms."""

import jax
import jax.numpy as jnp
import lineax
import numpy as np
import pytest
from support.hypergrad_counting import counts
from support.hypergrad_problems import error, mlp_loss, mlp_problem, quadratic

from jdarts import hypergrad
from jdarts.errors import UserError

pytestmark = pytest.mark.usefixtures("x64")
DUMMY = jnp.zeros(2)


def follow(estimator, calls, w, alpha):
    """Gradients, residuals (None where there are none) and memories of calls at one point, in one compiled loop."""

    def call(memory, _):
        grads, aux = estimator(w, alpha, None, DUMMY, DUMMY, memory)
        return aux.memory, (grads, aux.residual, aux.memory)

    return jax.jit(lambda: jax.lax.scan(call, estimator.init(w, alpha), length=calls)[1])()


def test_amortised_is_the_recursion_of_soba_and_converges_to_the_closed_form():
    train_loss, val_loss, w, alpha, a, exact, first = quadratic()
    gamma, delta = 0.4, 0.2
    b = -jax.jacobian(lambda al: jax.grad(lambda w: train_loss(w, al, DUMMY)[0])(w))(alpha)
    v = np.asarray(jax.grad(lambda w: val_loss(w, alpha, DUMMY)[0])(w))
    estimator = hypergrad.amortised(train_loss, val_loss, step_size=gamma, damping=delta)
    grads, residuals, memories = follow(estimator, 200, w, alpha)
    h, x = a + delta * np.eye(len(a)), np.zeros(len(a))
    for i in range(5):
        np.testing.assert_allclose(grads[i], first + b.T @ x, rtol=1e-12)
        np.testing.assert_allclose(residuals[i], np.linalg.norm(v - h @ x) / np.linalg.norm(v), rtol=1e-12)
        x = x + gamma * (v - h @ x)
        np.testing.assert_allclose(memories[i], x, rtol=1e-12)
    assert error(grads[-1], first + b.T @ np.linalg.solve(h, v)) < 1e-12
    undamped = follow(hypergrad.amortised(train_loss, val_loss, step_size=gamma), 200, w, alpha)
    assert error(undamped[0][-1], exact) < 1e-12


SOLVERS = {
    "cg": lambda: hypergrad.ConjugateGradient(2),
    "neumann": lambda: hypergrad.Neumann(2, 0.5),
    "lineax": lambda: lineax.CG(rtol=1e-9, atol=1e-9, max_steps=2),
    "function": lambda: lambda multiply, v: jax.scipy.sparse.linalg.cg(multiply, v, maxiter=2, tol=1e-12)[0],
}


@pytest.mark.parametrize("name", SOLVERS)
def test_warm_starts_add_up(name):
    """Calls at one point go on where the last ended; the first is that of `implicit`."""
    train_loss, val_loss, w, alpha, _, exact, _ = quadratic()
    solver = SOLVERS[name]()
    estimator = hypergrad.warm_started(train_loss, val_loss, solver=solver)
    grads, residuals, _ = follow(estimator, 60, w, alpha)
    cold = hypergrad.implicit(train_loss, val_loss, solver=solver)(w, alpha, None, DUMMY, DUMMY)
    assert error(grads[0], cold[0]) < 1e-12
    assert error(estimator(w, alpha, None, DUMMY, DUMMY)[0], cold[0]) < 1e-12, "without a memory"
    assert error(grads[-1], exact) < 1e-8 and residuals[-1] < 1e-8 < residuals[1]
    if name == "neumann":  # two steps and two steps are four
        four = hypergrad.implicit(train_loss, val_loss, solver=hypergrad.Neumann(4, 0.5))
        assert error(grads[1], four(w, alpha, None, DUMMY, DUMMY)[0]) < 1e-12


def test_an_exact_memory_needs_no_iteration():
    train_loss, val_loss, w, alpha, a, exact, _ = quadratic()
    x = jnp.linalg.solve(a, jax.grad(lambda w: val_loss(w, alpha, DUMMY)[0])(w))
    tight = hypergrad.ConjugateGradient(9, tolerance=1e-9)
    for estimator in (
        hypergrad.warm_started(train_loss, val_loss, solver=hypergrad.ConjugateGradient(0)),
        hypergrad.warm_started(train_loss, val_loss, solver=tight),
        hypergrad.amortised(train_loss, val_loss),
    ):
        grads, aux = estimator(w, alpha, None, DUMMY, DUMMY, x)
        assert error(grads, exact) < 1e-12 and error(aux.memory, x) < 1e-12


def test_penalised_is_the_recursion_of_f2sa_and_converges_to_the_lagrangian():
    """Against the recursion, its fixed point in closed form, and the exact gradient as the multiplier grows."""
    train_loss, val_loss, w, alpha, a, exact, first = quadratic()
    b = -np.asarray(jax.jacobian(lambda al: jax.grad(lambda w: train_loss(w, al, DUMMY)[0])(w))(alpha))
    c = np.asarray(w - jax.grad(lambda w: val_loss(w, alpha, DUMMY)[0])(w))
    gamma, errors = 0.4, []
    for multiplier in (4.0, 40.0, 400.0):
        estimator = hypergrad.penalised(train_loss, val_loss, multiplier=multiplier, step_size=gamma)
        grads, _, memories = follow(estimator, 300, w, alpha)
        y = np.asarray(w)
        for i in range(4):
            np.testing.assert_allclose(grads[i], first + multiplier * b.T @ (w - y), rtol=1e-10)
            y = y - gamma * (a @ y - b @ alpha + (y - c) / multiplier)
            np.testing.assert_allclose(memories[i], y, rtol=1e-12)
        y = np.linalg.solve(multiplier * a + np.eye(6), multiplier * b @ alpha + c)
        np.testing.assert_allclose(grads[-1], first + multiplier * b.T @ (w - y), rtol=1e-9)
        errors.append(error(grads[-1], exact))
    assert errors[0] < 0.5 and errors[1] < errors[0] / 7 and errors[2] < errors[1] / 9, "of order 1 / multiplier"


BUILDERS = {
    "penalised": lambda *a, **k: hypergrad.penalised(*a, multiplier=3.0, **k),
    "amortised": hypergrad.amortised,
    "warm_started": lambda *a, **k: hypergrad.warm_started(*a, damping=3.0, **k),
}


def test_one_product_a_call():
    assert counts(hypergrad.amortised) == {"train": 1, "val": 1}
    assert counts(hypergrad.penalised) == {"train": 2, "val": 1}
    two = hypergrad.ConjugateGradient(2)
    assert counts(lambda *losses: hypergrad.warm_started(*losses, solver=two, damping=5.0)) == {"train": 4, "val": 1}


@pytest.mark.parametrize("name", BUILDERS)
def test_jit_vmap_and_microbatches(name):
    build = BUILDERS[name]
    w, alphas, make = mlp_problem()
    rng = np.random.default_rng(0)
    memory = jax.tree.map(lambda leaf: jnp.asarray(0.1 * rng.normal(size=leaf.shape)), w)
    inputs = (w, alphas, None, make(0), make(9), memory)
    whole = jax.jit(build(mlp_loss, mlp_loss))
    grads, aux = whole(*inputs)
    parts, part_aux = jax.jit(build(mlp_loss, mlp_loss, microbatches=4))(*inputs)
    assert error(parts, grads) < 1e-11 and error(part_aux.memory, aux.memory) < 1e-11
    both = jax.tree.map(lambda a: jnp.stack([a, 1.1 * a]), inputs)
    many, many_aux = jax.jit(jax.vmap(build(mlp_loss, mlp_loss)))(*both)
    for i in range(2):
        one, one_aux = whole(*jax.tree.map(lambda a, i=i: a[i], both))
        assert error(jax.tree.map(lambda a, i=i: a[i], many), one) < 1e-11
        assert error(jax.tree.map(lambda a, i=i: a[i], many_aux.memory), one_aux.memory) < 1e-11


@pytest.mark.parametrize("name", BUILDERS)
def test_a_memory_of_other_weights_is_refused(name):
    w, alphas, make = mlp_problem()
    estimator = BUILDERS[name](mlp_loss, mlp_loss)
    with pytest.raises(UserError, match=r"memory is float64\[2\], but w is .*; pass aux.memory of a call"):
        estimator(w, alphas, None, make(0), make(1), jnp.zeros(2))
