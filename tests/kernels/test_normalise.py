"""Batch norm with scale and shift, and 1 × 1 convolutions, against their formulas, in derivatives of every order."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import kernels

pytestmark = pytest.mark.usefixtures("x64")
EPS = 1e-5
RNG = np.random.default_rng(0)
ARGUMENTS = [RNG.normal(size=shape) for shape in ((4, 5, 6, 3), (3,), (3,))]
DIRECTION = [RNG.normal(size=a.shape) for a in ARGUMENTS]
WEIGHTS = RNG.normal(size=(4, 5, 6, 3))


def formula(x, scale, bias):
    mean = jnp.mean(x, (0, 1, 2))
    var = jnp.mean((x - mean) ** 2, (0, 1, 2))
    return (x - mean) / jnp.sqrt(var + EPS) * scale + bias, mean, var


def primitive(x, scale, bias):
    return kernels.normalise(x, scale, bias, EPS)


def of_result(norm):
    return lambda *arguments: jnp.sum(jnp.sin(norm(*arguments)[0]) * WEIGHTS)


def of_everything(norm):
    def loss(*arguments):
        y, mean, var = norm(*arguments)
        return jnp.sum(jnp.sin(y) * WEIGHTS) + jnp.sum(mean * var**2)

    return loss


def gradient(loss):
    return jax.grad(loss, (0, 1, 2))


def along(function):
    return lambda *arguments: jax.jvp(function, arguments, tuple(map(jnp.asarray, DIRECTION)))[1]


DERIVATIVES = {
    "value": lambda loss: loss,
    "gradient": gradient,
    "of the scale alone": lambda loss: jax.grad(loss, 1),
    "forward": along,
    "forward over reverse": lambda loss: along(gradient(loss)),
    "reverse over forward": lambda loss: gradient(along(loss)),
    "forward over forward": lambda loss: along(along(loss)),
    "vmap": lambda loss: (
        lambda x, s, b: jax.vmap(gradient(loss), (0, None, 0))(jnp.stack([x, 2 * x]), s, jnp.stack([b, 3 * b]))
    ),
}


@pytest.mark.parametrize("loss", [of_result, of_everything])
@pytest.mark.parametrize("derivative", DERIVATIVES)
def test_a_scaled_batch_norm_equals_its_formula(derivative, loss):
    expected, found = (jax.jit(DERIVATIVES[derivative](loss(norm)))(*ARGUMENTS) for norm in (formula, primitive))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-10), expected, found)


def test_a_batch_norm_of_16_bits_is_computed_in_32():
    x, scale, bias = (jnp.asarray(a, jnp.bfloat16) for a in ARGUMENTS)
    y, mean, _ = kernels.normalise(x, scale, bias, EPS)
    assert (y.dtype, mean.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(y.astype(float), formula(*(a.astype(float) for a in (x, scale, bias)))[0], atol=0.05)


def test_the_gradient_of_a_pointwise_convolution_is_one_product_without_copies():
    x, g, kernel = (jnp.asarray(RNG.normal(size=shape)) for shape in ((2, 4, 4, 8), (2, 4, 4, 24), (1, 8, 24)))
    pull = jax.jit(lambda x, kernel, g: jax.vjp(lambda k: kernels.pointwise(x, k), kernel)[1](g)[0])
    expected = np.einsum("nhwc,nhwd->cd", x, g)[None]
    np.testing.assert_allclose(pull(x, kernel, g), expected, rtol=1e-12, atol=1e-12)
    text = pull.lower(x, kernel, g).compile().as_text()
    assert set(re.findall(r" = \S+ ([\w-]+)\(", text)) == {"parameter", "bitcast", "dot"}, text
