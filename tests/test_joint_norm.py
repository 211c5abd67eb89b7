"""Joint batch norms against the textbook formula, in every order and direction of differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.joint_norm import dots, keeping_little, mix_standardised, scaled, standardise_each

EPS = 1e-5


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


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


def derivatives(function, args):
    """Values and first and second derivatives, forward, reverse, in both orders, and with a mapped axis."""
    leaves, structure = jax.tree.flatten(args)
    directions = [draw(*leaf.shape, seed=20 + i) for i, leaf in enumerate(leaves)]
    every = tuple(range(len(leaves)))

    def scalar(*leaves):
        outputs = jax.tree.leaves(function(*jax.tree.unflatten(structure, leaves)))
        waves = (jnp.sin((i + 1.3) * y) * jnp.cos(jnp.arange(y.size).reshape(y.shape)) for i, y in enumerate(outputs))
        return sum(jnp.sum(wave) for wave in waves)

    gradient = jax.grad(scalar, every)
    along = lambda *leaves: jax.jvp(scalar, leaves, tuple(directions))[1]  # noqa: E731
    twice = [jnp.stack([leaf, 1.1 * leaf]) for leaf in leaves]
    return {
        "value": scalar(*leaves),
        "gradient": gradient(*leaves),
        "forward": along(*leaves),
        "forward over reverse": jax.jvp(gradient, tuple(leaves), tuple(directions))[1],
        "reverse over forward": jax.grad(along, every)(*leaves),
        "mapped gradient": jax.vmap(gradient)(*twice),
        "gradient of mapped": jax.grad(lambda *leaves: jnp.sum(jax.vmap(scalar)(*leaves)), every)(*twice),
        "keeping little": jax.grad(keeping_little(scalar), every)(*leaves),
    }


@pytest.mark.parametrize("case", CASES)
def test_joint_norms_are_the_textbook_formula_in_every_derivative(case):
    joint, textbook, args = CASES[case]
    found, expected = (jax.jit(lambda *a, f=f: derivatives(f, a))(*args) for f in (joint, textbook))
    assert float(jnp.abs(jnp.concatenate([g.ravel() for g in found["gradient"]])).max()) > 0.1
    for name in expected:
        for a, b in zip(jax.tree.leaves(found[name]), jax.tree.leaves(expected[name]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11, err_msg=name)


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
