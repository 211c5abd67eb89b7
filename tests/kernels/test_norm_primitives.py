"""Batch norm in primitives against the textbook formula, in every order and direction of differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.derivatives import derivatives, draw, same

from jdarts.kernels import standardise

EPS = 1e-3


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def textbook(x):
    mean = x.mean((0, 1, 2))
    var = ((x - mean) ** 2).mean((0, 1, 2))
    return (x - mean) / jnp.sqrt(var + EPS), mean, var


X = 2 + 3 * draw(4, 3, 5, 2)


def test_every_derivative_is_that_of_the_formula():
    found, expected = (derivatives(f, X, third=True, mapped=True) for f in (lambda x: standardise(x, EPS), textbook))
    assert float(jnp.abs(found["third"][0]).max()) > 0.1
    same(found, expected)


@pytest.mark.parametrize("outputs", [[0], [1], [2], [1, 2]])
def test_what_is_not_asked_for_needs_no_derivative(outputs):
    def some(function):
        return lambda x: [function(x)[i] for i in outputs]

    same(derivatives(some(lambda x: standardise(x, EPS)), X), derivatives(some(textbook), X))


def test_parts_of_a_batch_over_a_mapped_axis_are_normalised_together():
    halves = X.reshape(2, 2, *X.shape[1:])

    def over_axis(x):
        y, mean, var = jax.vmap(lambda part: standardise(part, EPS, "data"), axis_name="data")(x.reshape(halves.shape))
        return y.reshape(X.shape), mean[0], var[1]

    same(derivatives(over_axis, X), derivatives(textbook, X))


@pytest.mark.parametrize("axis_name", [None, "data"])
def test_images_in_16_bits_give_results_in_32_and_gradients_in_16(axis_name):
    x = X.astype(jnp.bfloat16)[None]

    def normalised(x):
        return jax.vmap(lambda part: standardise(part, EPS, axis_name), axis_name="data")(x)

    assert {result.dtype for result in normalised(x)} == {jnp.dtype("float32")}
    gradient = jax.grad(lambda x: jnp.sum(jnp.sin(normalised(x)[0])))(x)
    exact = jax.grad(lambda x: jnp.sum(jnp.sin(textbook(x)[0])))(x[0].astype(jnp.float64))
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_allclose(gradient[0].astype(jnp.float64), exact, atol=5e-3)


def test_a_trace_has_one_equation_a_derivative():
    def loss(x):
        return jnp.sum(jnp.sin(standardise(x, EPS)[0]))

    text = str(jax.make_jaxpr(lambda x, t: jax.jvp(jax.grad(loss), (x,), (t,)))(X, X))
    assert text.count("jdarts_standardise[") == 1
    assert "rsqrt" not in text


def test_images_of_full_size_in_32_bits_along_many_directions():
    """Compilers split long sums and pass some to libraries, whose mistakes do not show on small images."""
    x, c = (2 + 3 * draw(16, 32, 32, 16, seed=seed) for seed in (1, 2))
    directions = draw(3, *x.shape, seed=3)

    def derivatives_along(function, x, c, directions):
        def gradient(x):
            return jax.vjp(lambda x: function(x)[0], x)[1](c)[0]

        def along(dx):
            return jax.jvp(lambda x: (function(x)[0], gradient(x)), (x,), (dx,))

        return jax.vmap(along)(directions)

    narrow = [jnp.asarray(a, jnp.float32) for a in (x, c, directions)]
    found = jax.jit(lambda *args: derivatives_along(lambda x: standardise(x, EPS), *args))(*narrow)
    expected = derivatives_along(textbook, x, c, directions)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(b).max()))
