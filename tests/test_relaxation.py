"""Relaxations."""

import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.relaxation import entropy, softmax


def test_softmax_normalises_each_edge_and_ignores_shifts():
    alphas = {"normal": jnp.array([[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]])}
    p = softmax(alphas)["normal"]
    expected = np.exp([0.0, 1.0, 3.0]) / np.exp([0.0, 1.0, 3.0]).sum()
    np.testing.assert_allclose(p[0], expected, rtol=1e-6)
    np.testing.assert_allclose(p[1], [1 / 3] * 3, rtol=1e-6)
    shifted = softmax({"normal": alphas["normal"] + jnp.array([[5.0], [-7.0]])})["normal"]
    np.testing.assert_allclose(shifted, p, rtol=1e-5)


def test_entropy_is_ln_n_when_uniform_and_0_when_decided():
    assert float(entropy({"a": jnp.full((3, 8), 1 / 8)})) == pytest.approx(np.log(8), rel=1e-6)
    assert float(entropy({"a": jnp.eye(4)})) == pytest.approx(0.0, abs=1e-6)
    mixed = {"a": jnp.eye(2), "b": jnp.full((2, 2), 0.5)}
    assert float(entropy(mixed)) == pytest.approx(np.log(2) / 2, rel=1e-6)
