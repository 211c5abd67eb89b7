"""The weighted sum of normed images in primitives against both formulas written out, in every order and direction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from support.derivatives import derivatives, draw, of_two_seeds, same, with_known

from jdarts.kernels import normed_sum

EPS = 1e-3
WEIGHTS, IMAGES = 0.5 + draw(3), [2 + 3 * draw(3, 3, 4, 2, seed=i) for i in (1, 2, 3)]


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def found(weights, images):
    return normed_sum(weights, images, EPS)


def written_out(weights, images):
    means = [x.mean((0, 1, 2)) for x in images]
    variances = [((x - m) ** 2).mean((0, 1, 2)) for x, m in zip(images, means, strict=True)]
    normed = [(x - m) / jnp.sqrt(v + EPS) for x, m, v in zip(images, means, variances, strict=True)]
    return sum(weights[k] * y for k, y in enumerate(normed)), means, variances


@pytest.mark.parametrize("count", [1, 3])
def test_every_derivative_is_that_of_the_formulas(count):
    args = WEIGHTS[:count], IMAGES[:count]
    same(*(derivatives(f, *args, third=True, mapped=True) for f in (found, written_out)))


def test_the_sum_alone_needs_no_derivative_of_the_moments():
    same(*(derivatives(lambda p, x, f=f: f(p, x)[0], WEIGHTS, IMAGES, third=True) for f in (found, written_out)))


@pytest.mark.parametrize("known", ["weights", "images", "some images"])
def test_what_is_known_has_no_derivative(known):
    pairs = (with_known(f, WEIGHTS, IMAGES, known) for f in (found, written_out))
    same(*(derivatives(alone, *args) for alone, args in pairs))


@pytest.mark.parametrize("moved", [(0,), (2,), (0, 2), (1, 2)])
def test_gradients_that_change_with_some_arguments_alone(moved):
    args = WEIGHTS, IMAGES, draw(*IMAGES[0].shape, seed=9)
    directions = [jax.tree.map(lambda a, i=i: draw(*a.shape, seed=30 + i), args[i]) for i in moved]

    def along(function):
        def gradient(*some):
            weights, images, c = (some[moved.index(i)] if i in moved else args[i] for i in range(3))
            return jax.vjp(lambda *args: function(*args)[0], weights, images)[1](c)

        primals = [args[i] for i in moved]
        tangents = jax.jvp(gradient, primals, directions)
        value, pull = jax.vjp(gradient, *primals)
        third = jax.grad(
            lambda *some: jnp.vdot(*ravel_each(jax.jvp(gradient, list(some), directions))), tuple(range(len(moved)))
        )
        return tangents, pull(jax.tree.map(jnp.sin, value)), third(*primals)

    same(along(found), along(written_out))


def ravel_each(trees):
    return [ravel_pytree(tree)[0] for tree in trees]


@pytest.mark.parametrize("mapped", [(0, None), (None, 0), (0, 1)])
def test_weights_or_images_of_several_seeds(mapped):
    several = of_two_seeds(WEIGHTS, IMAGES, mapped)
    same(*(jax.vmap(f, mapped)(*several) for f in (found, written_out)))


def test_images_in_16_bits_give_results_in_32_and_gradients_in_16():
    images = [image.astype(jnp.bfloat16) for image in IMAGES]
    weights = WEIGHTS.astype(jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(found(weights, images))} == {jnp.dtype("float32")}

    def gradients(function, weights, images):
        return jax.grad(lambda *args: jnp.sum(jnp.sin(function(*args)[0])), (0, 1))(weights, images)

    narrow = gradients(found, weights, images)
    exact = gradients(written_out, WEIGHTS, [image.astype(jnp.float64) for image in images])
    assert narrow[0].dtype == jnp.float32 and {g.dtype for g in narrow[1]} == {jnp.dtype("bfloat16")}
    for a, b in zip(jax.tree.leaves(narrow), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(a.astype(jnp.float64), b, rtol=5e-3, atol=5e-3)


def test_a_trace_has_one_equation_a_derivative_and_keeps_one_gradient_image():
    c = draw(*IMAGES[0].shape, seed=9)
    gradient = jax.grad(lambda weights, images, c: jnp.vdot(c, found(weights, images)[0]), (0, 1))
    args = WEIGHTS, IMAGES, c
    text = str(jax.make_jaxpr(lambda t: jax.jvp(gradient, args, t))(args))
    equations = [text.count(f" jdarts_normed_sum{part} ") for part in ("_tangent", "_gradient", "_gradient_jvp")]
    assert [text.count(" jdarts_normed_sum["), *equations] == [1, 1, 1, 1] and "rsqrt" not in text
    linear = jax.linearize(gradient, *args)[1]
    images = [leaf for leaf in jax.tree.leaves(linear) if np.shape(leaf) == IMAGES[0].shape]
    assert len(images) == len(IMAGES) + 1, "every normed image, and the gradient by their sum"


def test_images_of_full_size_in_32_bits_along_many_directions():
    """See the test of that name in `test_norm_primitives.py`."""
    c, *images = (2 + 3 * draw(16, 32, 32, 16, seed=seed) for seed in range(4))
    changes = draw(3, *np.shape(images), seed=4), draw(3, 3, seed=5)

    def derivatives_along(function, weights, c, images, changes):
        def both(weights, images):
            total, pull = jax.vjp(lambda *args: function(*args)[0], weights, list(images))
            return total, pull(c)

        return jax.vmap(lambda dx, dp: jax.jvp(both, (weights, images), (dp, dx)))(*changes)

    args = WEIGHTS, c, jnp.stack(images), changes
    narrow = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), args)
    results = jax.jit(lambda *args: derivatives_along(found, *args))(*narrow)
    expected = derivatives_along(written_out, *args)
    for a, b in zip(jax.tree.leaves(results), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(b).max()))
