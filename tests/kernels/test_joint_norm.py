"""Joint batch norms against the textbook formula, in every order and direction of differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.derivatives import derivatives, draw, same

from jdarts.kernels import mix_standardised, recomputing, standardise_each
from jdarts.kernels.joint_norm import dots, scaled

EPS = 1e-5


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def one_by_one(images, rectified):
    results, means, variances = [], [], []
    for x, r in zip(images, rectified, strict=True):
        mean = x.mean((0, 1, 2))
        var = ((x - mean) ** 2).mean((0, 1, 2))
        y = (x - mean) / jnp.sqrt(var + EPS)
        results.append(jnp.maximum(y, 0) if r else y)
        means.append(mean)
        variances.append(var)
    return results, jnp.concatenate(means), jnp.concatenate(variances)


def textbook_mix(images, weights, plain, plain_weights):
    results, mean, var = one_by_one(images, [False] * len(images))
    pairs = zip([*results, *plain], [*weights, *plain_weights], strict=True)
    return sum(x * w for x, w in pairs), mean, var


RECTIFIED = (True, False, True)
CASES = {
    "each": (
        lambda images: standardise_each(list(images), RECTIFIED, EPS),
        lambda images: one_by_one(images, RECTIFIED),
        ([draw(4, 6, 4, c, seed=c) for c in (3, 2, 4)],),
    ),
    "mix": (
        lambda *args: mix_standardised(*map(list, args), EPS),
        textbook_mix,
        (
            [draw(4, 3, 6, 3, seed=i) for i in (1, 2)],
            [draw(3, seed=i) for i in (3, 4)],
            [draw(4, 3, 6, 3, seed=5)],
            [draw(3, seed=6)],
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_joint_norms_are_the_textbook_formula_in_every_derivative(case):
    joint, textbook, args = CASES[case]
    found, expected = (derivatives(f, *args, mapped=True) for f in (joint, textbook))
    assert float(jnp.abs(jnp.concatenate([g.ravel() for g in found["gradient"]])).max()) > 0.1
    same(found, expected)


@pytest.mark.parametrize("case", CASES)
def test_recomputing_for_the_backward_pass_changes_no_gradient(case):
    joint, textbook, args = CASES[case]

    def loss(function):
        return lambda args: sum(jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(function(*args)))

    same(jax.grad(recomputing(loss(joint)))(args), jax.grad(loss(textbook))(args))


@pytest.mark.parametrize("case", CASES)
def test_over_a_mapped_axis_the_statistics_are_those_of_all_images(case):
    _, _, args = CASES[case]

    def halves(x):
        return x.reshape(2, -1, *x.shape[1:]) if x.ndim == 4 else jnp.stack([x, x])

    def everything(*args, axis=None):
        if case == "each":
            results, mean, var = standardise_each(args[0], RECTIFIED, EPS, axis)
        else:
            results, mean, var = mix_standardised(*args, EPS, axis)
        return jnp.stack([jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(results)]), mean, var

    def loss(args, axis=None):
        sums, mean, var = everything(*args, axis=axis)
        total = jnp.sum(sums) if axis is None else jax.lax.psum(jnp.sum(sums), axis)
        return total + jnp.sum(jnp.cos(mean) * var)

    def mapped(halved):
        return jnp.mean(jax.vmap(lambda part: loss(part, "data"), axis_name="data")(halved))

    value, gradient = jax.value_and_grad(loss)(args)
    value_of_halves, gradient_of_halves = jax.value_and_grad(mapped)(jax.tree.map(halves, args))
    np.testing.assert_allclose(value_of_halves, value, rtol=1e-12)
    for a, b in zip(jax.tree.leaves(gradient_of_halves), jax.tree.leaves(gradient), strict=True):
        together = a.reshape(b.shape) if b.ndim == 4 else a.sum(0)
        np.testing.assert_allclose(together, b, rtol=1e-9, atol=1e-11)


def test_images_in_16_bits_give_results_in_32():
    images, weights, plain, plain_weights = ([x.astype(jnp.bfloat16) for x in xs] for xs in CASES["mix"][2])
    total, mean, var = mix_standardised(images, weights, plain, plain_weights, EPS)
    assert total.dtype == mean.dtype == var.dtype == jnp.float32
    expected, *_ = textbook_mix(
        *([x.astype(jnp.float64) for x in xs] for xs in (images, weights, plain, plain_weights))
    )
    np.testing.assert_allclose(total, expected, atol=1e-4)
    gradient = jax.grad(lambda images: jnp.sum(mix_standardised(images, weights, [], [], EPS)[0] ** 2))(images)
    assert all(g.dtype == jnp.bfloat16 for g in gradient)


def test_the_two_maps_are_each_others_transposes():
    images, others = [draw(2, 4, 4, c, seed=c) for c in (3, 5)], [draw(2, 4, 4, c, seed=9 + c) for c in (3, 5)]
    vector = draw(8, seed=30)
    left = sum(jnp.vdot(a, b) for a, b in zip(scaled(vector, images), others, strict=True))
    np.testing.assert_allclose(left, vector @ dots(images, others), rtol=1e-12)
    expected = jnp.concatenate([jnp.sum(a * b, (0, 1, 2)) for a, b in zip(images, others, strict=True)])
    np.testing.assert_allclose(dots(images, others), expected, rtol=1e-12)
