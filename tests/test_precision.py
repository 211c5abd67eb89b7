"""Every public constructor and step works in both precisions, and computes in the one that is set.

Shapes and types come from abstract traces, which find every clash of types; only what needs values runs.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from support.chains import FAIR

from jdarts import analysis, hypergrad, methods, spaces, staging
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig, TrainConfig
from jdarts.data import load
from jdarts.genotypes import published
from jdarts.interop import load_torch_supernet, save_torch_supernet
from jdarts.losses import cross_entropy
from jdarts.networks.of_genotype import derived_network
from jdarts.search import make_search
from jdarts.spaces import DerivedNetwork, define_space
from jdarts.train import make_training

KEY = jax.random.key(0)
CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x1:3:48", crop_padding=1, search_cutout=2),
    space=SpaceConfig(channels=12, cells=1),
    search=SearchConfig(epochs=3, batch_size=4),
    train=TrainConfig(epochs=2, batch_size=4, channels=4, cells=1, auxiliary_weight=0.0, cutout=2),
)


@pytest.fixture(autouse=True)
def precision(request):
    """The float type that is set: float64, unless a test asks for float32."""
    x64 = getattr(request, "param", "float64") == "float64"
    with jax.enable_x64(x64):
        yield jnp.dtype("float64" if x64 else "float32")


in_both = pytest.mark.parametrize("precision", ["float64", "float32"], indirect=True)


class Own(nn.Module):
    """An op whose parameters Flax makes in float32 at all times."""

    channels: int
    stride: int

    @nn.compact
    def __call__(self, x, norm):
        return norm(nn.Conv(self.channels, (3, 3), self.stride, use_bias=False)(x))


TINY = define_space(
    "tiny",
    nodes=1,
    normal=[
        ("none", "skip_connect", "max_pool_3x3", "sep_conv_3x3", "own"),
        ("none", "skip_connect", "avg_pool_3x3", "dil_conv_3x3", "noise"),
    ],
    ops={"own": Own},
)


def get(name):
    """A registered space, the smallest own space that has every kind of op, or a small chain of layers."""
    return {"tiny": TINY, "chain": FAIR}.get(name) or spaces.get(name)


def types(tree):
    return {leaf.dtype for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)}


def shaped(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def uniform(space):
    return {name: np.full(shape, 1 / shape[1], np.float32) for name, shape in space.alpha_shapes.items()}


@in_both
@pytest.mark.parametrize("images", ["float32", "float64"])
@pytest.mark.parametrize("name", ["robust_s3", "nasbench201", "chain"])
def test_supernets(name, images, precision):
    space = get(name)
    network, p = space.supernet(channels=4, cells=1, classes=3), uniform(space)
    x = np.zeros((2, 8, 8, 3), images)
    variables = jax.eval_shape(lambda key: network.init({"params": key, "noise": key}, p, x, True), KEY)
    assert types(variables) == types(jax.eval_shape(space.init_alphas, KEY)) == {precision}
    apply = partial(network.apply, mutable=["batch_stats"])
    for train in (True, False):
        made = jax.eval_shape(lambda v, train=train: apply(v, p, x, train), variables)
        assert types(made) == {precision}


@pytest.mark.parametrize("images", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "stem"), [("DARTS_V2", "cifar"), ("DARTS_V2", "imagenet"), ("nasbench201_resnet", "")]
)
def test_derived_networks(name, stem, images, precision):
    genotype = published.get(name)
    sizes: Any = {"channels": 4, "cells": 1, "classes": 3}
    network = (
        DerivedNetwork(genotype, **sizes, auxiliary=True, stem=stem) if stem else derived_network(genotype, **sizes)
    )
    side = {"cifar": 16, "imagenet": 112}.get(stem, 8)
    x = np.zeros((2, side, side, 3), images)
    variables = jax.eval_shape(lambda key: network.init(key, x, False), KEY)
    assert types(variables) == {precision}

    def train(v):
        return network.apply(v, x, True, jnp.float32(0.1), mutable=["batch_stats"], rngs={"drop_path": KEY})

    assert types(jax.eval_shape(train, variables)) == {precision}


SAME_STEP = {"darts_plus", "darts_es", "darts_ada", "r_darts", "darts_pt", "random_search"}  # as darts, or none at all


@pytest.mark.parametrize("name", sorted(set(methods.names()) - SAME_STEP))
def test_a_search_step_of_every_method(name, precision):
    """The state keeps its shapes and types from step to step. Second order is left to the next test."""
    method = methods.build(name)
    changes = {"hypergradient": None if method.hypergradient == "single_level" else "first_order"}
    if method.paths is not None:
        return _check_search(build_search("chain", method=name, batch_size=6, **changes), precision)
    _check_search(build_search(method=name, **changes), precision)


@pytest.mark.parametrize("name", ["unrolled", "finite_difference", "neumann"])
def test_a_search_step_of_second_order(name, precision):
    _check_search(build_search(hypergradient=name), precision)


def test_a_search_step_with_partial_channels_in_nasbench201(precision):
    _check_search(build_search("nasbench201", method="pc_darts", hypergradient="first_order"), precision)


def build_search(space="tiny", **changes):
    config = dataclasses.replace(CONFIG, search=dataclasses.replace(CONFIG.search, **changes))
    return make_search(config, get(space), load(config.data).for_search(config.data))


def _check_search(search, precision):
    state = jax.eval_shape(search.init, KEY)
    assert types(state) == {precision}
    train_batch, _ = jax.eval_shape(search.draw, state, search.arrays)
    assert types(train_batch) == {precision}
    after, metrics = jax.eval_shape(search.step, state, search.arrays)
    assert shaped(after) == shaped(state)
    assert metrics["train_loss"].dtype == precision


def test_a_step_in_pieces(precision):
    """The other form of the network; it must be compiled, because pieces are made during compilation."""
    search = build_search(hypergradient="first_order")
    state = jax.jit(search.init)(KEY)
    before = shaped(state)
    state, metrics = staging.compile(search.step, state, search.arrays)(state, search.arrays)
    assert bool(metrics["finite"]) and shaped(state) == before and types(state) == {precision}


@pytest.mark.parametrize("name", ["DARTS_V2", "nasbench201_resnet"])
def test_a_training_step(name, precision):
    config = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, drop_path=0.2))
    training = make_training(config, published.get(name), load(config.data).for_training(0.25))
    state = jax.eval_shape(training.init, KEY)
    after, metrics = jax.eval_shape(training.pure.step, state, training.arrays)
    assert types(state) == {precision} and shaped(after) == shaped(state)
    assert metrics["train_loss"].dtype == precision
    assert jax.eval_shape(training.logits, state, training.arrays["images"]).dtype == precision


@in_both
@pytest.mark.parametrize("given", ["float32", "float64"])
def test_weights_from_and_to_pytorch(given, precision):
    space = spaces.robust_s3
    network, p = space.supernet(channels=4, cells=1, classes=3), uniform(space)
    x = np.zeros((1, 4, 4, 3), np.float32)
    shapes = jax.eval_shape(lambda key: network.init(key, p, x, False), KEY)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(given), shapes)
    saved = save_torch_supernet(variables, space)
    assert types(saved) == {jnp.dtype(given)}
    loaded = load_torch_supernet(saved, space)
    assert types(loaded) == {precision}
    kept = jnp.dtype(given) if precision == jnp.float64 else precision
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a, kept), b.astype(kept)), loaded, variables)
    assert types(jax.eval_shape(lambda v: network.apply(v, p, x, False), loaded)) == {precision}


def bilevel(w, alphas, batch):
    logits = jnp.tanh(batch["x"] @ w["a"] * jax.nn.softmax(alphas)) @ w["b"]
    return cross_entropy(logits, batch["y"]), None


@pytest.mark.parametrize("name", sorted(hypergrad.ESTIMATORS))
def test_estimators_on_a_problem_of_ones_own(name, precision):
    w = {"a": jnp.ones((4, 3)), "b": jnp.ones((3, 2))}
    alphas, batch = jnp.zeros(3), {"x": jnp.ones((5, 4)), "y": jnp.zeros(5, int)}
    optimizer = optax.sgd(0.1, momentum=0.9)
    estimator = hypergrad.ESTIMATORS[name](bilevel, bilevel, optimizer)
    grads, aux = jax.eval_shape(estimator, w, alphas, optimizer.init(w), batch, batch)
    assert types((grads, aux)) == {precision}


def test_analyses(precision):
    search = build_search(hypergradient="first_order")
    data: Any = search.data
    live = analysis.LiveSearch(CONFIG, search.space, data, search, jax.jit(search.init)(KEY))
    (batch,) = live.batches(1)
    assert types((live.w, live.alphas, batch, live.op_weights)) == {precision}
    loss = live.loss(train=True)
    hessian = analysis.alpha_hessian(loss, live.w, live.alphas, [batch], compile=jax.jit)
    assert np.isfinite(hessian.eigenvalues).all()
    product = analysis.weight_product(loss, live.w, live.alphas, batch)
    assert np.isfinite(analysis.weight_spectrum(product, live.w.size, KEY, steps=2, probes=1).largest)
    assert np.isfinite(analysis.hutchinson_trace(product, live.w.size, KEY, probes=2).mean)
    directions = analysis.eigen_directions(hessian.eigenvectors, live.alphas)
    for pair in (directions, analysis.random_directions(KEY, live.alphas)):
        assert types(pair) <= {precision}
    plane = analysis.landscape(loss, live.w, live.alphas, [batch], analysis.Grid(directions, points=2))
    assert np.isfinite(plane.loss).all()
    gradient = analysis.weight_gradient(loss)
    groups = analysis.op_groups(live.tree(live.w))
    found = analysis.gradient_correlation(
        lambda *args: live.tree(gradient(*args)), live.w, live.alphas, batch, batch, groups
    )
    assert found and all(np.isfinite(c.raw) for c in found.values())
    gap = analysis.discretisation_gap(live, recalibration=1, batches=[batch])
    assert np.isfinite(gap["gap"])
