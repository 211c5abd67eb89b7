"""The weighted sum of images as a primitive against the sum written out, in every order and direction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.derivatives import derivatives, draw, of_two_seeds, same, with_known

from jdarts.kernels import weighted_sum

WEIGHTS, IMAGES = draw(3), [draw(2, 3, 4, 2, seed=i) for i in (1, 2, 3)]


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def written_out(weights, images):
    return sum(weights[k] * image for k, image in enumerate(images))


@pytest.mark.parametrize("count", [1, 3])
def test_every_derivative_is_that_of_the_sum(count):
    args = WEIGHTS[:count], IMAGES[:count]
    found, expected = (derivatives(f, *args, third=True, mapped=True) for f in (weighted_sum, written_out))
    same(found, expected)


@pytest.mark.parametrize("known", ["weights", "images", "some images"])
def test_what_is_known_has_no_derivative(known):
    pairs = (with_known(f, WEIGHTS, IMAGES, known) for f in (weighted_sum, written_out))
    same(*(derivatives(alone, *args) for alone, args in pairs))


@pytest.mark.parametrize("mapped", [(0, None), (None, 0), (0, 1)])
def test_weights_or_images_of_several_seeds(mapped):
    several = of_two_seeds(WEIGHTS, IMAGES, mapped)
    found, expected = (jax.vmap(f, mapped)(*several) for f in (weighted_sum, written_out))
    same(found, expected)


def test_images_in_16_bits_keep_their_gradients_in_16():
    images = [image.astype(jnp.bfloat16) for image in IMAGES]
    total, pull = jax.vjp(weighted_sum, WEIGHTS.astype(jnp.float32), images)
    assert total.dtype == jnp.float32
    weights_gradient, image_gradients = pull(jnp.ones_like(total))
    assert weights_gradient.dtype == jnp.float32
    assert {gradient.dtype for gradient in image_gradients} == {jnp.dtype("bfloat16")}


def test_images_of_full_size_in_32_bits_along_many_directions():
    """See the test of that name in `test_norm_primitives.py`."""
    c, *images = (draw(16, 32, 32, 16, seed=seed) for seed in range(4))
    moved = draw(3, *c.shape, seed=4)
    narrow = [jnp.asarray(a, jnp.float32) for a in (WEIGHTS, c, moved, *images)]

    @jax.jit
    def gradients(weights, c, moved, *images):
        def gradient(first):
            return jax.vjp(lambda weights: weighted_sum(weights, [first, *images[1:]]), weights)[1](c)[0]

        return jax.vmap(gradient)(moved)

    found = gradients(*narrow)
    expected = np.stack([[np.sum(c * image) for image in (first, *images[1:])] for first in moved])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
