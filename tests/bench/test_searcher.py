"""Searches with a chosen alpha gradient move like the searches of `make_search` with that estimator."""

import jax
import numpy as np
import pytest
from support.one_cell import NARROW

from jdarts import analysis
from jdarts.bench.accuracy import NETWORKS, Trained, searcher
from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig
from jdarts.data import load
from jdarts.hypergrad.study import flat
from jdarts.search import make_search


def config(**options):
    return Experiment(
        data=DataConfig(source="synthetic:8x8x1:4:64", crop_padding=1),
        search=SearchConfig(epochs=2, batch_size=8, alpha_optimizer=AdamConfig(learning_rate=0.05), **options),
    )


@pytest.fixture(scope="module")
def small():
    data = load(config().data).for_search(config().data)
    return data, searcher(config(), NARROW, data)


def wide(point, rates):
    return point.difference(rates, epsilon=0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gradient", "options"),
    [
        (Trained.first_order, {"hypergradient": "first_order"}),
        (Trained.exact, {"hypergradient": "unrolled"}),
        (wide, {"hypergradient": "finite_difference", "hypergradient_options": ("epsilon=0.5",)}),
    ],
    ids=["first_order", "exact", "difference"],
)
def test_it_searches_as_make_search_does(small, gradient, options):
    data, searches = small
    search = make_search(config(**options), NARROW, data)
    step, state = analysis.compile_pieces(search.step), jax.jit(search.init)(jax.random.key(3))
    for _ in range(3):
        state, _ = step(state, search.arrays)
    found = searches.search(steps=3, seed=3, alpha_gradient=gradient).state
    np.testing.assert_allclose(flat(found.alphas), flat(state.alphas), atol=1e-5)
    np.testing.assert_allclose(found.weights, state.weights, atol=1e-5)
    np.testing.assert_allclose(flat(found.batch_stats), flat(state.batch_stats), atol=1e-5)
    assert np.ptp(flat(state.alphas)) > 0.1, "the alphas have moved"


@pytest.mark.slow
def test_noise_reaches_the_losses(small):
    point = small[1].start(0)
    plain, noisy = (flat(point.exact(NETWORKS[name])) for name in ("plain", "dropout"))
    assert np.linalg.norm(noisy - plain) > 0.01 * np.linalg.norm(plain)
