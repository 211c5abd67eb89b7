"""The alpha-Hessian against `jax.hessian`, float64 differences, and the invariants of softmax."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import mixture_loss, mixture_problem
from jax.flatten_util import ravel_pytree

from jdarts.analysis import alpha_hessian, alpha_products, compiling, total_hessian
from jdarts.errors import UserError
from jdarts.memory import Available

pytestmark = pytest.mark.usefixtures("x64")
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def dense(loss, w, alphas, batch):
    vector, unflatten = ravel_pytree(alphas)
    return _dense(loss, w, vector, unflatten, batch)


@partial(quick, static_argnums=(0, 3))
def _dense(loss, w, vector, unflatten, batch):
    return jax.hessian(lambda v: loss(w, unflatten(v), batch)[0])(vector)


def test_it_is_the_mean_of_jax_hessian_over_batches():
    w, alphas, batches = mixture_problem(batches=3)
    found = alpha_hessian(mixture_loss, w, alphas, batches, chunk=5)
    each = np.stack([dense(mixture_loss, w, alphas, b) for b in batches])
    np.testing.assert_allclose(found.matrix, each.mean(0), atol=1e-13)
    assert found.asymmetry < 1e-13
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(each.mean(0))[::-1], atol=1e-12)
    np.testing.assert_allclose(found.batch_eigenvalues, [np.linalg.eigvalsh(h)[-1] for h in each], atol=1e-12)
    v = found.eigenvectors[:, 0]
    spread = [v @ h @ v for h in each]
    assert found.errors[0] == pytest.approx(np.std(spread, ddof=1) / np.sqrt(3), rel=1e-9)
    slope = quick(jax.grad(mixture_loss, 1, has_aux=True))
    grads = [ravel_pytree(slope(w, alphas, b)[0])[0] for b in batches]
    np.testing.assert_allclose(found.gradient, np.mean(grads, 0), atol=1e-14)


@pytest.mark.parametrize("chunk", [1, 7, 12, 100])
def test_the_chunk_changes_nothing(chunk):
    w, alphas, batches = mixture_problem(batches=1)
    reference = dense(mixture_loss, w, alphas, batches[0])
    np.testing.assert_allclose(
        alpha_hessian(mixture_loss, w, alphas, batches, chunk=chunk).matrix, reference, atol=1e-13
    )


def test_a_hessian_that_cannot_fit_is_refused_before_it_runs(monkeypatch):
    w, alphas, batches = mixture_problem(batches=1)
    monkeypatch.setattr(compiling, "available", lambda: Available(100, "of this machine's memory"))
    with pytest.raises(UserError, match=r"needs .* but 100 B of this machine's memory are available; .*--batch-size"):
        alpha_hessian(lambda *args: mixture_loss(*args), w, alphas, batches)


def test_softmax_has_a_zero_mode_an_edge_and_weight_decay_moves_it_to_lambda():
    w, alphas, batches = mixture_problem()
    plain = alpha_hessian(mixture_loss, w, alphas, batches)
    assert plain.shifts.shape == (12, 4)
    assert plain.shift_residual < 1e-13
    assert np.sum(np.abs(plain.eigenvalues) < 1e-12) >= 4
    decayed = alpha_hessian(mixture_loss, w, alphas, batches, weight_decay=1e-3)
    np.testing.assert_allclose(decayed.eigenvalues, plain.eigenvalues + 1e-3, atol=1e-13)
    assert np.sum(np.abs(decayed.eigenvalues - 1e-3) < 1e-12) >= 4
    assert decayed.shift_residual < 1e-13

    # the decay as a term of the loss itself gives the same
    def loss(w, alphas, batch):
        penalty = 0.5e-3 * sum(jnp.sum(a**2) for a in alphas.values())
        return mixture_loss(w, alphas, batch)[0] + penalty, None

    in_loss = alpha_hessian(loss, w, alphas, batches)
    np.testing.assert_allclose(in_loss.matrix, decayed.matrix, atol=1e-13)
    np.testing.assert_allclose(in_loss.gradient, decayed.gradient, atol=1e-13)
    assert len(plain.without_shifts()) == 8
    np.testing.assert_allclose(
        np.sort(np.concatenate([plain.without_shifts(), np.zeros(4)])), np.sort(plain.eigenvalues), atol=1e-12
    )
    np.testing.assert_allclose(plain.projected(), plain.matrix, atol=1e-12)


def test_the_total_hessian_is_that_of_the_whole_bilevel_objective():
    w, alphas, batches = mixture_problem()
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.3, momentum=0.9))
    state = optimizer.init(w)
    found = total_hessian(mixture_loss, mixture_loss, optimizer, w, alphas, state, [tuple(batches)], compile=quick)
    vector, unflatten = ravel_pytree(alphas)

    def objective(v):
        g = jax.grad(lambda x: mixture_loss(x, unflatten(v), batches[0])[0])(w)
        moved = optax.apply_updates(w, optimizer.update(g, state, w)[0])
        return mixture_loss(moved, unflatten(v), batches[1])[0]

    gradient = quick(jax.grad(objective))
    step = 1e-5
    columns = [(gradient(vector + step * e) - gradient(vector - step * e)) / (2 * step) for e in np.eye(len(vector))]
    np.testing.assert_allclose(found.matrix, np.stack(columns), atol=2e-8)
    fixed = alpha_hessian(mixture_loss, w, alphas, batches[1:])
    assert np.abs(found.matrix - fixed.matrix).max() > 1e-3, "the unrolled step must matter"
    assert found.shift_residual < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("train", [True, False])
def test_a_supernet_in_both_batch_norm_modes(supernet, train):
    losses, w, alphas, batches = supernet
    loss = losses[train]
    found = alpha_hessian(loss, w, alphas, batches[:1], chunk=84, compile=quick)
    assert found.matrix.shape == (84, 84)
    assert found.asymmetry < 1e-12
    assert found.shift_residual <= 1e-10
    vector, unflatten = ravel_pytree(alphas)
    gradient = quick(jax.grad(lambda v: loss(w, unflatten(v), batches[0])[0]))
    rng = np.random.default_rng(1)
    for _ in range(2):
        v = rng.normal(size=84)
        v[42:] = 0  # one cell: only the alphas of its kind matter
        difference = (gradient(vector + 1e-6 * v) - gradient(vector - 1e-6 * v)) / 2e-6
        np.testing.assert_allclose(found.matrix @ v, difference, atol=1e-7 * np.abs(difference).max() + 1e-8)


SHARDED = """
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from jdarts.analysis import alpha_hessian
from conftest import mixture_problem
w, alphas, batches = mixture_problem(rows=6)

def loss(axis_name):
    def mean(x):
        x = x.mean(0)
        return x if axis_name is None else jax.lax.pmean(x, axis_name)
    def f(w, alphas, batch):
        p = jax.nn.softmax(alphas["normal"], -1)
        z = batch["x"] @ w["layers"][0]
        z = p[0, 0] * jnp.tanh(z) + p[0, 1] * z**2 + p[1, 2] * jnp.sin(z)
        centred = z - mean(z)
        z = centred / jnp.sqrt(mean(centred**2) + 1e-3)
        return jnp.mean((z @ w["head"] - batch["y"][:, None]) ** 2), None
    return f

mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
one = alpha_hessian(loss(None), w, alphas, batches)
two = alpha_hessian(loss("data"), w, alphas, batches, mesh=mesh)
assert np.abs(one.matrix).max() > 1e-2
np.testing.assert_allclose(two.matrix, one.matrix, atol=1e-13)
np.testing.assert_allclose(two.gradient, one.gradient, atol=1e-13)
print("equal")
"""


def test_two_devices_give_what_one_gives():
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", SHARDED], cwd=here, capture_output=True, text=True, env=None, check=False
    )
    assert done.stdout.strip() == "equal", done.stderr[-2000:]


def test_mistakes():
    w, alphas, batches = mixture_problem()
    with pytest.raises(UserError, match="at least one batch"):
        alpha_hessian(mixture_loss, w, alphas, [])
    with pytest.raises(UserError, match="chunk is 0"):
        alpha_hessian(mixture_loss, w, alphas, batches, chunk=0)
    with pytest.raises(UserError, match="not finite"):
        alpha_hessian(mixture_loss, w, jax.tree.map(lambda a: a * jnp.nan, alphas), batches)
    with pytest.raises(UserError, match="needs 'data'"):
        mesh = jax.make_mesh((1,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
        alpha_hessian(mixture_loss, w, alphas, batches, mesh=mesh)


def test_products_are_one_pure_function():
    w, alphas, batches = mixture_problem(batches=1)
    directions = np.random.default_rng(0).normal(size=(3, 12))
    gradient, products = jax.jit(alpha_products(mixture_loss))(w, alphas, batches[0], directions)
    reference = dense(mixture_loss, w, alphas, batches[0])
    np.testing.assert_allclose(products, directions @ reference, atol=1e-12)
    found = alpha_hessian(mixture_loss, w, alphas, batches, products=jax.jit(alpha_products(mixture_loss)))
    np.testing.assert_allclose(found.matrix, reference, atol=1e-12)
    np.testing.assert_allclose(found.gradient, gradient, atol=1e-14)
