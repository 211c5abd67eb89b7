"""The search step against an independent, unstaged re-computation of DARTS' algorithm."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import spaces, staging
from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.search import make_search
from jdarts.spaces import define_space

SPACE = define_space("two_nodes", nodes=2, normal=spaces.robust_s3.normal[0])
CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x1:4:96", crop_padding=1, flip=True),
    space=SpaceConfig(channels=4, cells=1),
    search=SearchConfig(
        epochs=2,
        batch_size=12,
        weight_optimizer=SGDConfig(learning_rate=0.05, weight_decay=1e-2, gradient_clip=0.5),
        alpha_optimizer=AdamConfig(learning_rate=1e-2, weight_decay=1e-2),
    ),
)


def build(hypergradient: str, **kwargs):
    config = dataclasses.replace(CONFIG, search=dataclasses.replace(CONFIG.search, hypergradient=hypergradient))
    data = load(config.data).for_search(config.data)
    return make_search(config, SPACE, data, **kwargs)


@pytest.fixture(scope="module", params=["first_order", "unrolled"])
def searched(request):
    search = build(request.param)
    state = jax.jit(search.init)(jax.random.key(0))
    step = jax.jit(search.step)
    states = [state]
    for _ in range(3):
        states.append(step(states[-1], search.arrays)[0])
    return request.param, search, states


def by_hand(search, states, hypergradient: str):
    """DARTS' algorithm 1 with PyTorch's SGD and Adam written out, differentiating J(α) by reverse mode as a whole."""
    sgd, adam = CONFIG.search.weight_optimizer, CONFIG.search.alpha_optimizer
    w, alphas = states[0].weights, states[0].alphas
    momentum = jnp.zeros_like(w)
    first = jax.tree.map(jnp.zeros_like, alphas)
    second = jax.tree.map(jnp.zeros_like, alphas)

    def sgd_step(w, g, momentum):
        norm = jnp.sqrt(jnp.sum(g * g))
        g = g * jnp.minimum(1.0, sgd.gradient_clip / norm) + sgd.weight_decay * w
        momentum = sgd.momentum * momentum + g
        return w - sgd.learning_rate * momentum, momentum

    def train(w, alphas, batch):
        return search.loss(w, alphas, batch)[0]

    @jax.jit
    def one(w, alphas, momentum, first, second, t, state, arrays):
        train_batch, val_batch = search.draw(state, arrays)

        def objective(alphas):
            if hypergradient == "first_order":
                return train(w, alphas, val_batch)
            moved, _ = sgd_step(w, jax.grad(train)(w, alphas, train_batch), momentum)
            return train(moved, alphas, val_batch)

        g = jax.tree.map(lambda g, a: g + adam.weight_decay * a, jax.grad(objective)(alphas), alphas)
        first = jax.tree.map(lambda m, g: adam.b1 * m + (1 - adam.b1) * g, first, g)
        second = jax.tree.map(lambda v, g: adam.b2 * v + (1 - adam.b2) * g * g, second, g)

        def adam_step(a, m, v):
            return a - adam.learning_rate * (m / (1 - adam.b1**t)) / (jnp.sqrt(v / (1 - adam.b2**t)) + 1e-8)

        alphas = jax.tree.map(adam_step, alphas, first, second)
        w, momentum = sgd_step(w, jax.grad(train)(w, alphas, train_batch), momentum)
        return w, alphas, momentum, first, second

    carry = (w, alphas, momentum, first, second)
    for t in range(1, len(states)):
        state = states[t - 1].replace(weights=carry[0], alphas=carry[1])
        carry = one(*carry, t, state, search.arrays)
    return carry[0], carry[1]


@pytest.mark.parametrize("searched", ["unrolled"], indirect=True)  # first order: test_authors_step.py, test_step.py
def test_steps_equal_the_algorithm_written_out(searched):
    hypergradient, search, states = searched
    w, alphas = by_hand(search, states, hypergradient)
    np.testing.assert_allclose(states[-1].weights, w, rtol=2e-4, atol=2e-6)
    for name, a in alphas.items():
        moved = np.abs(np.asarray(a - states[0].alphas[name])).max()
        assert moved > 1e-3, "the alphas must have moved for the comparison to mean something"
        np.testing.assert_allclose(states[-1].alphas[name], a, rtol=2e-3, atol=1e-4 * moved)


def test_pieces_give_the_same_search(searched):
    _, search, states = searched
    state = states[0]
    step = staging.compile(search.step, state, search.arrays)
    assert step.programs > 5
    for _ in range(3):
        state, metrics = step(state, search.arrays)
    assert bool(metrics["finite"])
    np.testing.assert_allclose(state.weights, states[-1].weights, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(state.batch_stats, states[-1].batch_stats, rtol=1e-3, atol=1e-5)
    assert int(state.step) == 3


def test_running_averages_move_with_the_weight_step_only(searched):
    _, search, states = searched
    train_batch, _ = search.draw(states[0], search.arrays)
    # The weight step sees the alphas that the alpha step has just moved.
    aux = jax.jit(search.loss)(states[0].weights, states[1].alphas, train_batch)[1]
    np.testing.assert_allclose(states[1].batch_stats, aux["batch_stats"], rtol=1e-4, atol=1e-6)
    assert np.abs(states[1].batch_stats - states[0].batch_stats).max() > 1e-3


def test_an_epoch_draws_every_training_image_once(searched):
    _, search, states = searched
    n = len(search.arrays["train_labels"])
    arrays = {**search.arrays, "train_labels": jnp.arange(n), "val_labels": jnp.arange(n) + 1000}
    draw = jax.jit(search.draw)
    seen, val_batches = [], []
    for step in range(2 * search.steps_per_epoch):
        train_batch, val_batch = draw(states[0].replace(step=jnp.int32(step)), arrays)
        seen.append(np.asarray(train_batch["labels"]))
        val_batches.append(tuple(np.asarray(val_batch["labels"])))
        assert len(set(val_batches[-1])) == 12 and min(val_batches[-1]) >= 1000
    first = np.concatenate(seen[: search.steps_per_epoch])
    second = np.concatenate(seen[search.steps_per_epoch :])
    assert sorted(first) == list(range(n)) == sorted(second)
    assert list(first) != list(second)
    assert len(set(val_batches)) == len(val_batches)


def test_draws_depend_on_key_and_step_alone(searched):
    _, search, states = searched
    one = search.draw(states[1], search.arrays)[0]["images"]
    again = search.draw(states[1].replace(sums=states[3].sums), search.arrays)[0]["images"]
    other = search.draw(states[1].replace(key=jax.random.key(9)), search.arrays)[0]["images"]
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_batch_larger_than_a_split_is_refused():
    config = dataclasses.replace(CONFIG, search=dataclasses.replace(CONFIG.search, batch_size=64))
    data = load(config.data).for_search(config.data)
    with pytest.raises(UserError, match="batch size is 64"):
        make_search(config, SPACE, data)
