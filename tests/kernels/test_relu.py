"""ReLU with a gate as a primitive against the maximum written out, in every order and direction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.derivatives import derivatives, draw, same

from jdarts.kernels import relu


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def written_out(x):
    return x * (x > 0)


X = draw(2, 3, 4, 2)


def test_every_derivative_is_that_of_the_maximum():
    same(*(derivatives(lambda x, f=f: f(x) ** 3, X, third=True, mapped=True) for f in (relu, written_out)))


def test_at_zero_the_derivative_is_zero_and_16_bits_stay_16():
    x = jnp.array([-1.0, 0.0, 2.0], jnp.bfloat16)
    value, change = jax.jvp(relu, (x,), (jnp.ones_like(x),))
    assert value.dtype == change.dtype == jnp.bfloat16
    np.testing.assert_array_equal(value.astype(np.float32), [0, 0, 2])
    np.testing.assert_array_equal(change.astype(np.float32), [0, 0, 1])


@pytest.mark.parametrize("function", [relu, jax.grad(lambda x: jnp.sum(relu(x) * X))])
def test_a_derivative_keeps_bits_and_no_image_of_numbers(function):
    linear = jax.linearize(function, X)[1]
    assert {leaf.dtype for leaf in jax.tree.leaves(linear) if np.shape(leaf) == X.shape} <= {jnp.dtype(bool)}


def test_a_compiled_piece_hands_on_bits_and_no_image_of_zeros():
    """A jitted function returns the arrays that it keeps for its derivative, as pieces of a network do."""
    piece = jax.jit(lambda x: relu(x))
    known = jax.make_jaxpr(lambda x: jax.linearize(piece, x)[1])(X)
    kept = [aval.dtype for aval in known.out_avals if aval.shape == X.shape]
    assert kept == [jnp.dtype(bool)]
