"""Switches that trade time or precision for memory give the same gradients within a tolerance."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import spaces, staging
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.search import make_search

CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x3:4:96", crop_padding=1),
    space=SpaceConfig(name="robust_s2", channels=4, cells=2),
    search=SearchConfig(batch_size=16, alpha_init_scale=0.5),
)


def gradients(cells: int = 2, **settings):
    """`((loss, aux), (by weights, by alphas))` on a training batch, and the bytes needed at once."""
    search, space = dataclasses.replace(CONFIG.search, **settings), dataclasses.replace(CONFIG.space, cells=cells)
    config = dataclasses.replace(CONFIG, search=search, space=space)
    search = make_search(config, spaces.get(config.space.name), load(config.data).for_search(config.data))
    state = jax.jit(search.init)(jax.random.key(0))
    batch, _ = jax.jit(search.draw)(state, search.arrays)
    compiled = staging.compile(
        jax.value_and_grad(search.loss, argnums=(0, 1), has_aux=True), state.weights, state.alphas, batch
    )
    return compiled(state.weights, state.alphas, batch), compiled.peak_bytes


@pytest.fixture(scope="module")
def plain():
    return gradients()


def test_remat_gives_the_same_gradients_in_less_memory():
    ((value, _), grads), memory = gradients(cells=3)
    ((other_value, _), other), less = gradients(cells=3, remat=True)
    np.testing.assert_allclose(value, other_value, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * float(jnp.abs(a).max()) + 1e-9)
    assert less < memory, f"{less} bytes with remat, {memory} without"


def test_bfloat16_activations_give_nearby_gradients_in_float32(plain):
    ((value, _), grads), _ = plain
    ((other_value, aux), other), _ = gradients(activations="bfloat16")
    assert other_value.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves((other, aux["batch_stats"]))} == {jnp.dtype("float32")}
    np.testing.assert_allclose(value, other_value, rtol=0.02)
    assert not np.array_equal(value, other_value), "the network must have computed in bfloat16"
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(other), strict=True):
        if np.linalg.norm(a) > 1e-6:
            cosine = np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)
            assert cosine > 0.9, cosine


@pytest.mark.parametrize("name", [name for name in spaces.names() if name not in ("proxyless", "fairnas", "spos")])
def test_a_search_that_recomputes_activations_can_begin(name):
    """In every kind of space; the excluded ones share the network of mobile_s5."""
    data = load(DataConfig(source="synthetic:32x32x3:10:64", crop_padding=1, flip=False)).for_search(DataConfig())
    method = "one_shot" if name == "one_shot" else "darts"
    shapes = []
    for remat in (False, True):
        settings = SearchConfig(method=method, batch_size=4, epochs=1, hypergradient="first_order", remat=remat)
        config = Experiment(space=SpaceConfig(name=name, channels=4, cells=1), search=settings)
        search = make_search(config, spaces.get(name), data)
        shapes.append(jax.eval_shape(search.init, jax.random.key(0)))
    assert shapes[0] == shapes[1]
