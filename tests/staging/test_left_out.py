"""Work that programs in pieces leave out: zeros that nobody reads, copies of weights, values long before their use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import staging
from jdarts.staging import execute

LAYER = staging.piece(lambda x, w: jnp.tanh(x @ w) + x)


def deep(x, w):
    for _ in range(8):
        x = LAYER(x, w)
    return x


def other(x, w):
    return LAYER(LAYER(2 * x, w), w)


def loss(x, w, number, branches):
    return jnp.sum(jax.lax.switch(number, branches, x, w) ** 2)


def compiled(branches):
    x, w = jax.random.normal(jax.random.key(0), (256, 16)), 0.3 * jax.random.normal(jax.random.key(1), (16, 16))
    arguments = x, w, jnp.int32(0)
    gradient = jax.value_and_grad(lambda x, w, number: loss(x, w, number, branches), (0, 1))
    return staging.compile(gradient, *arguments), jax.jit(gradient), arguments


@pytest.mark.parametrize("number", [0, 1, 2])
def test_no_program_makes_the_zeros_of_the_branches_that_are_not_taken(number, monkeypatch):
    program, whole, (x, w, _) = compiled([deep, other, lambda x, w: x])
    made, array = [], execute._Later.array

    def record(later):
        result = array(later)
        made.append(result.shape)
        return result

    monkeypatch.setattr(execute._Later, "array", record)
    got, expected = program(x, w, jnp.int32(number)), whole(x, w, jnp.int32(number))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)
    assert x.shape not in made


def test_branches_have_the_memory_of_the_largest():
    most, one, three = (compiled(branches)[0].peak_bytes for branches in ([deep], [other], [deep, other, deep]))
    assert one < most
    assert most <= three < 1.2 * most, "the kept values of the largest branch, until its gradient is known"


def test_a_constant_result_of_a_branch_can_be_read():
    def zeros(x, w):
        return jnp.zeros_like(x)

    program, whole, (x, w, _) = compiled([deep, zeros])
    for number in (0, 1):
        got, expected = program(x, w, jnp.int32(number)), whole(x, w, jnp.int32(number))
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


def test_parts_of_a_vector_change_their_shape_without_a_program():
    def from_vector(vector, x):
        for part in jnp.split(vector, 20):
            last = part.reshape(16, 16)
            x = LAYER(x, last)
        return jnp.sum(x), last

    def from_matrices(matrices, x):
        for matrix in matrices:
            x = LAYER(x, matrix)
        return jnp.sum(x), matrices[-1]

    x, vector = jax.random.normal(jax.random.key(0), (4, 16)), 0.1 * jax.random.normal(jax.random.key(1), (20 * 256,))
    program = staging.compile(from_vector, vector, x)
    matrices = list(vector.reshape(20, 16, 16))
    (total, last), (expected, _) = program(vector, x), jax.jit(from_matrices)(matrices, x)
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert isinstance(last, jax.Array) and np.array_equal(last, matrices[-1])
    assert program.programs == staging.compile(from_matrices, matrices, x).programs


def test_an_operation_that_only_the_end_needs_waits_for_it():
    def step(weights, x, w):
        slope = jnp.sum(deep(x, w))
        return 0.9 * weights + slope

    weights, x, w = jnp.ones(10**5), jnp.ones((4, 16)), 0.1 * jnp.ones((16, 16))
    program = staging.compile(step, weights, x, w)
    np.testing.assert_allclose(program(weights, x, w), jax.jit(step)(weights, x, w), rtol=1e-5)
    assert program.peak_bytes < 1.1 * weights.nbytes
