"""Losses against their formulas."""

import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.losses import accuracy, cross_entropy, largest

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0], [1.0, 1.5, -2.0]])
LABELS = np.array([0, 2, 0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(smoothing):
    log_p = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
    targets = np.eye(3)[LABELS] * (1 - smoothing) + smoothing / 3
    expected = -(targets * log_p).sum(-1).mean()
    assert float(cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABELS), smoothing)) == pytest.approx(
        expected, rel=1e-6
    )


def test_accuracy():
    assert float(accuracy(jnp.asarray(LOGITS), jnp.asarray(LABELS))) == pytest.approx(2 / 3)


def test_largest_is_the_first_of_the_largest_logits():
    values = np.random.default_rng(0).integers(0, 4, (5, 7, 6)).astype(np.float32)  # rows with several largest
    np.testing.assert_array_equal(largest(jnp.asarray(values)), values.argmax(-1))
    np.testing.assert_array_equal(largest(jnp.full((3, 4), -jnp.inf)), [0, 0, 0])
    assert int(largest(jnp.array([1.0, jnp.nan]))) == 2, "no class"
