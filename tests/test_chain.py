"""Functions cut into links: what each reads and hands on, and that the chain is the function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.chain import links, mark

KEYS = jax.random.split(jax.random.key(0), 4)
W = [jax.random.normal(key, (3, 3)) for key in KEYS[:3]]
X = jax.random.normal(KEYS[3], (5, 3))


def network(w, scale, x, forget=False):
    """Three layers with a connection over the second: `first` passes the place where `second` is made."""
    first = jnp.tanh(x @ w[0]) * scale[0]
    second = jnp.tanh(first @ w[1])
    third = jnp.tanh(second @ w[2] + first) * scale[1]
    mark((1, 0), [first])
    mark((2, 0), [second] if forget else [second, first])
    return jnp.sum(third**2)


def run(chain, *args):
    arguments, values = jax.tree.leaves(args), []
    for link in chain:
        values = link(arguments, values)
    return values[0]


def test_the_chain_is_the_function_and_knows_what_it_reads():
    args = W, [jnp.float32(2.0), jnp.float32(3.0)], X
    chain = links(network, *args)
    np.testing.assert_array_equal(run(chain, *args), network(*args))
    # leaves: three kernels, two scales, the images
    assert [link.reads for link in chain] == [
        (True, False, False, True, False, True),
        (False, True, False, False, False, False),
        (False, False, True, False, True, False),
    ]
    assert [link.passes for link in chain] == [(None,), (None, 0), (None,)]
    assert chain[1].depends == ({0, 1, 3, 5}, {0, 3, 5}) and chain[1].uses == (True,)
    gradients = [jax.grad(lambda w, f=f: f(w, *args[1:]))(W) for f in (network, lambda *a: run(chain, *a))]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *gradients)


def test_a_forgotten_mark_costs_work_and_nothing_else():
    args = W, [jnp.float32(2.0), jnp.float32(3.0)], X
    chain = links(lambda *a: network(*a, forget=True), *args)
    assert chain[2].reads == (True, False, True, True, True, True)  # computes `first` again
    np.testing.assert_array_equal(run(chain, *args), network(*args))


@pytest.mark.parametrize("cut", [True, False])
def test_without_marks_or_cuts_there_is_one_link(cut):
    function = network if not cut else lambda w, scale, x: jnp.sum(x @ w[0]) * scale[0]
    args = W, [jnp.float32(2.0), jnp.float32(3.0)], X
    (only,) = links(function, *args, cut=cut)
    np.testing.assert_array_equal(only(jax.tree.leaves(args), [])[0], function(*args))
    assert only.passes == (None,) and only.uses == ()
