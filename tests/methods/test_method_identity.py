"""The distinctive behaviour of each method, on one cell: against DARTS, other data, and its own definition."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.one_cell import OneCellSpace

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.methods.smooth_darts import attack, uniform
from jdarts.relaxation import softmax
from jdarts.schedules import clock_at
from jdarts.search import make_search
from jdarts.search.hooks import EpochEnd
from jdarts.search.scoring import held_out

CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x1:3:16", crop_padding=0, flip=False),
    space=SpaceConfig(name="nasbench201", channels=4, cells=1),
    search=SearchConfig(
        epochs=2,
        batch_size=4,
        weight_optimizer=SGDConfig(weight_decay=0.0),
        alpha_optimizer=AdamConfig(learning_rate=1e-2),
    ),
)


def build(method: str, *options: str):
    search = dataclasses.replace(CONFIG.search, method=method, method_options=options)
    config = dataclasses.replace(CONFIG, search=search)
    return make_search(config, OneCellSpace(), load(config.data).for_search(config.data))


def one_step(search, arrays=None):
    state = search.init(jax.random.key(0))
    after, _ = jax.jit(search.step)(state, arrays or search.arrays)
    return state, after


@pytest.fixture(scope="module")
def darts():
    return one_step(build("darts", "order=first"))


def assert_same(a, b, **tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **(tolerance or {"rtol": 1e-5, "atol": 1e-7}))


def test_darts_minus_without_its_skip_is_darts(darts):
    _, after = one_step(build("darts_minus", "beta=0"))
    assert_same(after.alphas, darts[1].alphas)
    assert_same(after.weights, darts[1].weights)


def test_pc_darts_on_all_channels_is_darts_with_averaged_nodes():
    search = build("pc_darts", "parts=1")
    state = search.init(jax.random.key(0))
    vector, (batch, _) = state.weights, search.draw(state, search.arrays)
    alphas = {"cell": state.alphas["cell"], "cell_edges": jnp.zeros(6)}
    shares = jnp.array([1, 1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])  # edges enter nodes 1, 2, 2, 3, 3, 3
    by_hand = {"cell": softmax({"cell": alphas["cell"]})["cell"] * shares[:, None]}
    np.testing.assert_allclose(
        search.loss(vector, alphas, batch)[0], search.network_loss(vector, by_hand, batch)[0], rtol=1e-5
    )


@pytest.mark.parametrize("name", ["sdarts_rs", "sdarts_adv"])
def test_sdarts_moves_the_alphas_as_darts_and_the_weights_otherwise(darts, name):
    _, after = one_step(build(name))
    assert_same(after.alphas, darts[1].alphas)  # the perturbation leaves no trace in them
    moved = [np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in _pairs(after.weights, darts[1].weights)]
    assert max(moved) > 1e-6


def _pairs(a, b):
    return zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)


def test_the_adversary_raises_the_loss_inside_its_box():
    target = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(5), size=6), jnp.float32)
    p = softmax({"cell": jnp.zeros((6, 5))})

    def loss(q):
        return jnp.sum((q["cell"] - target) ** 2)

    key, epsilon = jax.random.key(1), 0.1
    q = attack(p, key, epsilon, loss, 7)
    assert float(loss(q)) > float(loss(uniform(p, key, epsilon))) > 0
    assert float(loss(q)) > float(loss(p))
    assert np.all(np.asarray(q["cell"]) >= 0)
    np.testing.assert_allclose(np.sum(q["cell"], -1), 1, rtol=1e-6)
    # if nothing can be gained, the clean weights are returned
    np.testing.assert_array_equal(attack(p, key, epsilon, lambda q: -jnp.sum(q["cell"] ** 2), 7)["cell"], p["cell"])


@pytest.mark.parametrize(("batches", "uses_val"), [("same", False), ("same_split", False), ("two_splits", True)])
def test_single_darts_and_its_ablation_see_the_data_they_name(batches, uses_val):
    search = build("single_darts", f"batches={batches}")
    state = search.init(jax.random.key(0))
    step = jax.jit(search.step)
    other = {**search.arrays, "val_images": 255 - search.arrays["val_images"]}
    (a, metrics), (b, _) = step(state, search.arrays), step(state, other)
    same = all(np.array_equal(x, y) for x, y in _pairs(a.alphas, b.alphas))
    assert same != uses_val
    if batches == "same":
        assert float(metrics["val_loss"]) == float(metrics["train_loss"])  # one loss, one batch
    else:
        assert float(metrics["val_loss"]) != float(metrics["train_loss"])


def test_single_darts_moves_both_from_one_gradient_at_the_old_values():
    search = build("single_darts")
    state, after = one_step(search)
    vector, (batch, _) = state.weights, search.draw(state, search.arrays)
    g_w, g_a = jax.jit(jax.grad(lambda w, a: search.loss(w, a, batch)[0], argnums=(0, 1)))(vector, state.alphas)
    clip = min(1.0, 5.0 / float(jnp.linalg.norm(g_w)))
    assert_same(after.weights, vector - 0.025 * clip * g_w, rtol=1e-4, atol=1e-6)
    g = np.asarray(g_a["cell"]) + 1e-3 * np.asarray(state.alphas["cell"])
    clear = np.abs(g) > 1e-5  # Adam's first step is lr · g / (|g| + 1e-8): the sign, unless rounding decides it
    assert clear.mean() > 0.5
    moved = np.asarray(after.alphas["cell"] - state.alphas["cell"])
    np.testing.assert_allclose(moved[clear], -1e-2 * np.sign(g)[clear], rtol=2e-3)


def test_rsps_trains_the_sampled_ops_alone():
    search = build("rsps")
    state, after = one_step(search)
    batch, _ = search.draw(state, search.arrays)
    p = search.method.weight_step_weights(
        search.space, state.alphas, batch["relax_key"], clock_at(jnp.int32(0), 1, 2), lambda q: 0.0
    )["cell"]
    assert np.array_equal(after.alphas["cell"], state.alphas["cell"])
    checked = 0
    for edge, (source, target) in enumerate(search.space.edges):
        for op in ("nor_conv_1x1", "nor_conv_3x3"):
            name = f"from_{source}_{op}"
            cells = [search.variables(s)["params"]["cell"] for s in (state, after)]
            before, now = (cell[name]["kernel"][target - source - 1] for cell in cells)
            sampled = bool(p[edge, search.space.cell[edge].index(op)])
            if not sampled:
                assert np.array_equal(before, now), (edge, op)
                checked += 1
    assert checked >= 6


def test_alphas_of_sigmoid_star_start_at_the_mean_of_a_softmax():
    search = build("single_darts", "weights=sigmoid_star")
    state = search.init(jax.random.key(0))
    np.testing.assert_allclose(jax.nn.sigmoid(state.alphas["cell"]), 1 / 5, atol=1e-3)


def test_single_level_methods_may_use_all_images_and_others_may_not():
    data = dataclasses.replace(CONFIG.data, train_fraction=1.0, val_fraction=0.0)
    split = load(data).for_search(data)
    assert len(split.train) == len(load(data).train) and split.single
    config = dataclasses.replace(CONFIG, data=data, search=dataclasses.replace(CONFIG.search, method="single_darts"))
    search = make_search(config, OneCellSpace(), split)
    assert search.steps_per_epoch == 2 * build("single_darts").steps_per_epoch
    state = search.init(jax.random.key(0))
    drawn = [np.asarray(search.draw(state.replace(step=jnp.int32(s)), search.arrays)[0]["images"]) for s in range(2)]
    assert not np.array_equal(*drawn)
    for method in ("darts", "gdas"):
        bilevel = dataclasses.replace(config, search=dataclasses.replace(config.search, method=method))
        with pytest.raises(UserError, match=r"data\.val_fraction is 0, but .* needs validation images"):
            make_search(bilevel, OneCellSpace(), split)


def test_what_a_single_level_search_holds_out_is_scored_and_learns_nothing():
    search = build("single_darts")
    state = search.init(jax.random.key(0))
    p = search.method.deterministic_weights(search.space, state.alphas)
    images, labels = search.arrays["val_images"], search.arrays["val_labels"]
    expected = np.mean(
        [float(search.score(state, p, images[i : i + 1], labels[i : i + 1])) for i in range(len(labels))]
    )
    (hook,) = held_out(search, search.method)
    assert hook(EpochEnd(1, state.alphas, lambda: state, {})) == {"held_out_accuracy": pytest.approx(expected)}


def test_the_adversary_sees_the_training_batch_of_its_step():
    """Another implementation attacks with images of noise: here a loss that is not the batch's would zero the ops."""
    plain = build("darts", "order=first")
    state = plain.init(jax.random.key(0))
    batch, _ = plain.draw(state, plain.arrays)
    p = plain.method.op_weights(plain.space, state.alphas, batch["relax_key"], clock_at(jnp.int32(0), 1, 2))
    expected = plain.network_loss(state.weights, p, batch, False)[0]

    def perturb(p, key, clock, loss):
        del key, clock
        right = jnp.abs(loss(p) - expected) < 1e-5
        return {name: jnp.where(right, q, 0.0) for name, q in p.items()}

    method = dataclasses.replace(plain.method, perturb=perturb, alphas_fixed=True)
    config = dataclasses.replace(CONFIG, search=dataclasses.replace(CONFIG.search, hypergradient="first_order"))
    attacked = make_search(config, plain.space, plain.data, method=method)
    _, metrics = jax.jit(attacked.step)(state, attacked.arrays)
    clean = plain.network_loss(state.weights, p, batch)[0]
    np.testing.assert_allclose(metrics["train_loss"], clean, rtol=1e-5)


@pytest.mark.parametrize(("weights", "learns"), [("sigmoid", False), ("sigmoid_star", False), ("softmax", True)])
def test_single_darts_derives_none_only_where_its_alpha_learns(weights, learns):
    """Under sigmoids the alpha of `none` has no gradient, exactly: the op adds zero."""
    search = build("single_darts", f"weights={weights}")
    state = search.init(jax.random.key(0))
    batch, _ = search.draw(state, search.arrays)
    slopes = np.asarray(jax.jit(jax.grad(lambda a: search.loss(state.weights, a, batch)[0]))(state.alphas)["cell"])
    none = np.array([[op == "none" for op in ops] for ops in search.space.tables["cell"]])
    assert (slopes[~none] != 0).all() and (slopes[none] != 0).all() == learns
    low = {"cell": jnp.where(none, 0.0, -1.0 - jnp.arange(none.size).reshape(none.shape) / 100)}
    assert ("none" in search.method.genotype(search.space, low).to_text()) == learns
