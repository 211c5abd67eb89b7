"""Lanczos and Hutchinson against the dense weight Hessian; landscapes against direct evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from support.mixture import mixture_loss, mixture_problem

from jdarts.analysis import (
    Grid,
    alpha_hessian,
    eigen_directions,
    gradient_directions,
    hutchinson_trace,
    lanczos,
    landscape,
    random_directions,
    weight_product,
    weight_spectrum,
)
from jdarts.analysis.directions import as_tree, orthogonal_to, scaled
from jdarts.errors import UserError

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def curvature():
    with jax.enable_x64(True):
        w, alphas, batches = mixture_problem()
        vector, unflatten = ravel_pytree(w)
        dense = np.asarray(jax.hessian(lambda v: mixture_loss(unflatten(v), alphas, batches[0])[0])(vector))
        return weight_product(mixture_loss, w, alphas, batches[0]), dense


@pytest.mark.parametrize("loop", ["python", "matfree"])
def test_lanczos_finds_both_ends_of_the_dense_spectrum(curvature, loop):
    product, dense = curvature
    values, weights = lanczos(product, jax.random.normal(jax.random.key(0), (len(dense),)), 40, loop=loop)
    exact = np.linalg.eigvalsh(dense)
    assert values[-1] == pytest.approx(exact[-1], abs=1e-8) and values[0] == pytest.approx(exact[0], abs=1e-8)
    assert weights.sum() == pytest.approx(1, abs=1e-10)


def test_the_two_loops_are_the_same_recursion(curvature):
    product, dense = curvature
    start = jax.random.normal(jax.random.key(3), (len(dense),))
    for a, b in zip(lanczos(product, start, 8, loop="python"), lanczos(product, start, 8, loop="matfree"), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


def test_the_density_has_the_moments_of_the_dense_spectrum(curvature):
    product, dense = curvature
    n = len(dense)
    spectrum = weight_spectrum(product, n, jax.random.key(1), steps=12, probes=60, dtype=jnp.float64)
    first = (spectrum.nodes * spectrum.weights).sum(1)
    second = (spectrum.nodes**2 * spectrum.weights).sum(1)
    for got, power in ((first, dense), (second, dense @ dense)):
        error = got.std(ddof=1) / np.sqrt(len(got))
        assert abs(got.mean() - np.trace(power) / n) < 4 * error
    grid = np.linspace(spectrum.smallest - 1, spectrum.largest + 1, 2000)
    density = spectrum.density(grid, 0.02)
    assert np.sum(density) * (grid[1] - grid[0]) == pytest.approx(1, abs=1e-3)


def test_an_exhausted_krylov_space_ends_early():
    matrix = jnp.diag(jnp.array([1.0, 1.0, 2.0, 2.0]))
    values, weights = lanczos(lambda v: matrix @ v, jnp.ones(4), 4, loop="python")
    np.testing.assert_allclose(values, [1, 2], atol=1e-12)
    np.testing.assert_allclose(weights, [0.5, 0.5], atol=1e-12)


def test_hutchinson_estimates_the_trace(curvature):
    product, dense = curvature
    found = hutchinson_trace(product, len(dense), jax.random.key(2), probes=200, dtype=jnp.float64)
    assert 0 < found.error < 0.2 * np.abs(np.linalg.eigvalsh(dense)).sum()
    assert abs(found.mean - np.trace(dense)) < 4 * found.error


def test_curvature_mistakes(curvature, monkeypatch):
    product, dense = curvature
    with pytest.raises(UserError, match="use 1 to"):
        lanczos(product, jnp.ones(len(dense)), 1000)
    with pytest.raises(UserError, match="norm zero"):
        lanczos(product, jnp.zeros(len(dense)), 3)
    monkeypatch.setitem(__import__("sys").modules, "matfree", None)
    with pytest.raises(UserError, match=r'pip install "jdarts\[analysis\]"'):
        lanczos(product, jnp.ones(len(dense)), 3, loop="matfree")


@pytest.mark.parametrize("chunk", [1, 4])
def test_landscape_values_are_the_losses_there(chunk):
    w, alphas, batches = mixture_problem()
    d1, d2 = random_directions(jax.random.key(0), alphas)
    found = landscape(mixture_loss, w, alphas, batches, Grid((d1, d2), points=(3, 5), reach=0.5), chunk=chunk)
    assert found.loss.shape == found.accuracy.shape == (3, 5)
    for i, x in enumerate(found.x):
        for j, y in enumerate(found.y):
            moved = jax.tree.map(lambda a, p, q, x=x, y=y: a + x * p + y * q, alphas, d1, d2)
            direct = [mixture_loss(w, moved, b) for b in batches]
            assert found.loss[i, j] == pytest.approx(np.mean([float(v) for v, _ in direct]), abs=1e-12)
            assert found.accuracy[i, j] == pytest.approx(np.mean([float(a["accuracy"]) for _, a in direct]))
    assert found.x[0] == -0.5 and found.y[-1] == 0.5 and found.x[1] == 0


def test_directions_are_scaled_and_orthogonal():
    _, alphas, _ = mixture_problem()
    d1, d2 = random_directions(jax.random.key(1), alphas, scaling="none")
    assert abs(float(ravel_pytree(d1)[0] @ ravel_pytree(d2)[0])) < 1e-12
    cell = scaled(d1, alphas, "cell")
    edge = scaled(d1, alphas, "edge")
    for name in alphas:
        assert np.linalg.norm(cell[name]) == pytest.approx(np.linalg.norm(alphas[name]))
        np.testing.assert_allclose(np.linalg.norm(edge[name], axis=-1), np.linalg.norm(alphas[name], axis=-1))
    model = ravel_pytree(scaled(d1, alphas, "model"))[0]
    assert np.linalg.norm(model) == pytest.approx(np.linalg.norm(ravel_pytree(alphas)[0]))
    legacy = orthogonal_to(d1, jax.tree.map(lambda a: a + 1, d1), legacy=True)
    assert abs(float(ravel_pytree(d1)[0] @ ravel_pytree(legacy)[0])) > 1e-3, "the published quirk is not orthogonal"


def test_eigenvectors_and_gradients_as_directions():
    w, alphas, batches = mixture_problem()
    hessian = alpha_hessian(mixture_loss, w, alphas, batches)
    d1, d2 = eigen_directions(hessian.eigenvectors, alphas)
    size = float(jnp.linalg.norm(ravel_pytree(alphas)[0]))
    step = 1e-3 / size
    found = landscape(mixture_loss, w, alphas, batches, Grid((d1, d2), points=3, reach=step))
    second = (found.loss[0, 1] - 2 * found.loss[1, 1] + found.loss[2, 1]) / (step * size) ** 2
    assert second == pytest.approx(hessian.max_eigenvalue, rel=1e-4)
    g1, g2 = gradient_directions(jax.random.key(0), hessian.gradient, alphas)
    a, b = ravel_pytree(g1)[0], ravel_pytree(g2)[0]
    assert abs(float(a @ b)) < 1e-10
    assert float(a @ hessian.gradient) == pytest.approx(size * np.linalg.norm(hessian.gradient))


def test_landscape_mistakes():
    w, alphas, batches = mixture_problem()
    zero = jax.tree.map(jnp.zeros_like, alphas)
    d1, _ = random_directions(jax.random.key(1), alphas)
    with pytest.raises(UserError, match="second direction has norm zero"):
        Grid((d1, zero))
    with pytest.raises(UserError, match="norm zero"):
        random_directions(jax.random.key(0), jax.tree.map(lambda a: a[:0], alphas))
    with pytest.raises(UserError, match="gradient has norm zero"):
        gradient_directions(jax.random.key(0), np.zeros(12), alphas)
    with pytest.raises(UserError, match=r"need \[12\]"):
        as_tree(np.zeros(11), alphas)
    with pytest.raises(UserError, match=r"3 × 0 points; use at least 1 of each"):
        Grid((d1, d1), points=(3, 0))
    with pytest.raises(UserError, match="chunk is 0"):
        landscape(mixture_loss, w, alphas, batches, Grid((d1, d1), points=2), chunk=0)
    with pytest.raises(UserError, match="at least one batch"):
        landscape(mixture_loss, w, alphas, [], Grid((d1, d1), points=2))
    with pytest.raises(UserError, match="scaling is 'layer'"):
        scaled(d1, alphas, "layer")
