"""Dropout and drop-path from outside: their places, their rates, and equal noise in both precisions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.bench.noise import noisy
from jdarts.networks.fast.by_cell import CellByCell
from jdarts.networks.plain import Classifier
from jdarts.networks.wiring import EDGES, NODES

KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def cell():
    """`apply(key, rate, x)`: a cell's output [images, 4, 4, nodes, channels] with its nodes dropped at that rate."""
    table = (("skip_connect", "sep_conv_3x3"),) * EDGES
    network = CellByCell(table, channels=3, name="cell_0")
    x = jax.random.normal(jax.random.key(0), (64, 4, 4, 5))
    weights = jnp.full((EDGES, 2), 0.5)
    variables = jax.jit(lambda key: network.init(key, x, x, weights, True))(jax.random.key(1))

    @jax.jit
    def apply(key, rate, x):
        like = jax.tree.map(lambda leaf: leaf.astype(x.dtype), variables)
        with noisy(key, drop_path=rate):
            y, _ = network.apply(like, x, x, weights.astype(x.dtype), True, mutable=["batch_stats"])
        return y.reshape(*y.shape[:3], NODES, -1)

    return apply, x


def test_no_rate_changes_no_bit(cell):
    apply, x = cell
    plain = apply(KEY, 0.0, x)
    assert np.array_equal(plain, apply(jax.random.key(8), 0.0, x)) and np.abs(plain).max() > 0


def test_drop_path_takes_whole_nodes_of_an_image(cell):
    apply, x = cell
    plain, dropped = np.asarray(apply(KEY, 0.0, x)), np.asarray(apply(KEY, 0.25, x))
    factors = np.einsum("nhwkc,nhwkc->nk", plain, dropped) / np.einsum("nhwkc,nhwkc->nk", plain, plain)
    np.testing.assert_allclose(dropped, factors[:, None, None, :, None] * plain, atol=1e-4)
    assert set(np.round(factors, 3).ravel()) == {0.0, np.float32(1.333)}
    assert 0.15 < np.mean(factors == 0) < 0.35, "about a quarter of 256"
    assert len({tuple(column) for column in factors.T}) == NODES, "nodes are dropped independently"


def test_the_key_decides(cell):
    apply, x = cell
    assert np.array_equal(apply(KEY, 0.5, x), apply(KEY, 0.5, x))
    assert not np.array_equal(apply(KEY, 0.5, x), apply(jax.random.key(8), 0.5, x))


def test_dropout_hides_features_from_the_classifier():
    x = jax.random.normal(jax.random.key(0), (200, 2, 2, 10))
    features = np.asarray(x.mean((1, 2)))
    network = Classifier(10, name="classifier")
    variables = {"params": {"kernel": jnp.eye(10), "bias": jnp.zeros(10)}}
    with noisy(KEY, dropout=0.3):
        masked = np.asarray(network.apply(variables, x))
    ratio = masked / features
    np.testing.assert_allclose(ratio[ratio != 0], 1 / 0.7, rtol=1e-4)
    assert 0.25 < np.mean(ratio == 0) < 0.35, "of 2,000 features"


def test_the_noise_does_not_depend_on_precision(cell):
    apply, x = cell
    single = apply(KEY, 0.5, x)
    with jax.enable_x64(True):
        double = apply(KEY, 0.5, jnp.asarray(x, jnp.float64))
    assert double.dtype == jnp.float64
    np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-3)
    assert np.array_equal(np.abs(single).max((1, 2, 4)) == 0, np.abs(double).max((1, 2, 4)) == 0)
