"""Single-path weight steps: what moves, what stays to the last bit, strict fairness, and the distributions of paths."""

import dataclasses
import math
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.chains import FAIR, path_variables
from support.chains import S5 as THREE_LAYERS

from jdarts import spaces
from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.methods import build
from jdarts.methods.paths import fair_paths, path_of, paths_uniform_in_cost, uniform_path, uniform_paths
from jdarts.methods.resources import chain_costs
from jdarts.networks.mobile.network import MobileNetwork
from jdarts.optimizers import linear_per_step
from jdarts.schedules import Clock
from jdarts.search import make_search
from jdarts.search.path_step import segments, trained
from jdarts.search.scoring import scorer

S5 = dataclasses.replace(THREE_LAYERS, candidates=THREE_LAYERS.candidates[:2])
CLOCK = Clock(jnp.zeros(()), 2)
SGD = SGDConfig(learning_rate=0.1, learning_rate_min=0.0, momentum=0.9, weight_decay=0.01, gradient_clip=0.0)
CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x3:3:48", crop_padding=0, flip=False),
    space=SpaceConfig(name="mobile_s5"),
    search=SearchConfig(epochs=2, batch_size=8, weight_optimizer=SGD),
)


@cache
def search(name, *options):
    settings = dataclasses.replace(CONFIG.search, method=name, method_options=options)
    config = dataclasses.replace(CONFIG, search=settings)
    return make_search(config, S5, load(config.data).for_search(config.data))


@cache
def stepped(name):
    """The states before and after the third step."""
    made = search(name)
    step, state = jax.jit(made.step), jax.jit(made.init)(jax.random.key(0))
    for _ in range(2):
        state, _ = step(state, made.arrays)
    return state, step(state, made.arrays)[0]


def masks(name):
    """The weights that the third step trains, from the network's own names of variables."""
    made, (before, _) = search(name), stepped(name)
    batch, _ = made.draw(before, made.arrays)
    _, counted = made.method.paths.draw(S5, {}, batch["relax_key"], CLOCK)
    touched = {key: np.asarray(c).sum(0) for key, c in counted.items()}
    names = [(key, row) for key, row in S5.rows]
    tree = made.variables(before)["params"]
    mask = jax.tree_util.tree_map_with_path(
        lambda path, leaf: np.full(leaf.shape, _touched(path, names, touched)), tree
    )
    return made.vectors({"params": mask, "batch_stats": made.variables(before)["batch_stats"]})[0], touched


def _touched(path, names, touched):
    if len(path) < 2 or not path[1].key.startswith("choice_"):
        return True
    key, row = names[int(path[0].key.removeprefix("layer_")) - 2]
    return bool(touched[key][row, int(path[1].key.removeprefix("choice_"))])


def _pairs(a, b):
    return zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)


def test_a_step_of_spos_moves_its_path_and_nothing_else():
    """Values, momenta and running averages of untouched blocks stay to the last bit, in spite of momentum and decay."""
    (before, after), (mask, touched) = stepped("spos"), masks("spos")
    mask = np.asarray(mask, bool)
    assert all((t.sum(-1) == 1).all() for t in touched.values()) and 0.2 < mask.mean() < 0.7
    momentum = [
        [leaf for leaf in jax.tree.leaves(state.weight_opt_state) if leaf.shape == mask.shape]
        for state in (before, after)
    ]
    pairs = [(before.weights, after.weights), *zip(*momentum, strict=True)]
    assert len(pairs) == 2
    for old, new in pairs:
        old, new = np.asarray(old), np.asarray(new)
        np.testing.assert_array_equal(old[~mask], new[~mask])
        assert np.mean(old[mask] != new[mask]) > 0.95
    assert np.abs(np.asarray(pairs[1][0])[~mask]).max() > 0, "some of the untouched blocks had momentum"
    made = search("spos")
    old, new = (made.variables(state)["batch_stats"] for state in (before, after))
    same = [
        (layer, block)
        for layer, blocks in old.items()
        for block, tree in blocks.items()
        if block.startswith("choice") and all(np.array_equal(*pair) for pair in _pairs(tree, new[layer][block]))
    ]
    still = [
        (f"layer_{i + 2}", f"choice_{k}")
        for i, (key, row) in enumerate(S5.rows)
        for k in range(len(S5.candidates[i]))
        if not touched[key][row, k] and f"choice_{k}" in old[f"layer_{i + 2}"]
    ]
    assert sorted(same) == sorted(still)


def test_a_step_of_spos_is_sgd_on_the_stand_alone_network():
    made, (before, after) = search("spos"), stepped("spos")
    batch, _ = made.draw(before, made.arrays)
    path = path_of(made.method.paths.draw(S5, {}, batch["relax_key"], CLOCK)[0], 0)
    choices = [int(np.argmax(path[key][row])) for key, row in S5.rows]
    own = path_variables(S5, made.variables(before), choices)

    def loss(params):
        (logits, _), _ = MobileNetwork(S5.decode(choices), 3).apply(
            {**own, "params": params}, batch["images"], True, mutable=["batch_stats"]
        )
        return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(8), batch["labels"]])

    grads = jax.jit(jax.grad(loss))(own["params"])
    trace = next(leaf for leaf in jax.tree.leaves(before.weight_opt_state) if leaf.shape == before.weights.shape)
    velocity = path_variables(S5, made.variables(before.replace(weights=trace)), choices)["params"]
    moved = path_variables(S5, made.variables(after), choices)["params"]
    rate = 0.1 * (1 - 3 / 6)  # two epochs of three steps; this is the third
    by_hand = jax.tree.map(lambda w, g, v: w - rate * (0.9 * v + g + 0.01 * w), own["params"], grads, velocity)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), moved, by_hand)


def test_a_step_of_fairnas_sums_the_gradients_of_its_paths():
    """One update by the sum of the gradients of each path on its part; the extra op of a short row does not learn."""
    made, (before, after) = search("fairnas"), stepped("fairnas")
    batch, _ = made.draw(before, made.arrays)
    paths, counted = made.method.paths.draw(S5, {}, batch["relax_key"], CLOCK)
    total, segment_of = 0, _owners(made)
    loss = jax.jit(jax.grad(lambda w, p, part: made.network_loss(w, p, part)[0]))
    for k in range(4):
        part = {**batch, "images": batch["images"][2 * k : 2 * k + 2], "labels": batch["labels"][2 * k : 2 * k + 2]}
        grads = np.asarray(loss(before.weights, path_of(paths, k), part), np.float64)
        learns = [owner is None or bool(counted[owner[0]][k, owner[1], owner[2]]) for owner in segment_of]
        total = total + np.where(learns, grads, 0)
    trace = next(leaf for leaf in jax.tree.leaves(before.weight_opt_state) if leaf.shape == before.weights.shape)
    w = np.asarray(before.weights, np.float64)
    rate = 0.1 * (1 + math.cos(math.pi * 0 / 2)) / 2  # a cosine by epochs
    by_hand = w - rate * (0.9 * np.asarray(trace, np.float64) + total + 0.01 * w)
    np.testing.assert_allclose(after.weights, by_hand, rtol=1e-3, atol=2e-5)


def _owners(made):
    return [owner for owner, size in segments(made.objective.supernet) for _ in range(size)]


def test_every_op_is_trained_exactly_once_in_a_fair_step():
    draw = jax.jit(lambda key: fair_paths().draw(S5, {}, key, CLOCK))
    orders = set()
    for seed in range(60):
        paths, counted = draw(jax.random.key(seed))
        for key, (layers, ops) in S5.alpha_shapes.items():
            assert paths[key].shape == counted[key].shape == (4, layers, ops)
            np.testing.assert_array_equal(np.sum(paths[key], -1), 1)
            np.testing.assert_array_equal(np.sum(counted[key], 0), 1)
            assert np.all(np.asarray(counted[key]) <= np.asarray(paths[key]))
        orders.add(tuple(np.argmax(paths["inner"][:, 0], -1).tolist()))
    assert len(orders) > 18, "of 24 permutations"
    paths, counted = fair_paths().draw(FAIR, {}, jax.random.key(0), CLOCK)
    np.testing.assert_array_equal(paths["layers"], counted["layers"])
    assert fair_paths().count(spaces.fairnas) == 6


@pytest.mark.parametrize(("steps", "published"), [(2, 0.5), (100, 0.0796), (1000, 0.0252)])
def test_uniform_paths_are_not_strictly_fair(steps, published):
    """P(Y₁ = Y₂) after n steps on two ops is C(n, n/2) / 2ⁿ, which falls to 0; strict fairness has 1 after each."""
    exact = math.comb(steps, steps // 2) / 2**steps
    assert exact == pytest.approx(published, abs=5e-5)
    layers = 4_000  # independent: each layer is an experiment

    def add(total, key):
        return total + uniform_path({"layers": (layers, 2)}, key)["layers"], None

    keys = jax.random.split(jax.random.key(steps), steps)
    counts = jax.jit(lambda keys: jax.lax.scan(add, jnp.zeros((layers, 2)), keys)[0])(keys)
    equal = float(np.mean(np.asarray(counts[:, 0]) == np.asarray(counts[:, 1])))
    assert equal == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / layers))


def test_paths_uniform_in_cost():
    """The intervals are drawn equally often, and the cost of nearly every path lies in the range."""
    fixed, costs = chain_costs(THREE_LAYERS, "flops", size=32)
    low, high = (fixed + sum(getattr(c, end)(-1).sum() for c in costs.values()) for end in ("min", "max"))
    low, high = low + 0.2 * (high - low), low + 0.7 * (high - low)
    paths = paths_uniform_in_cost(lambda space: (fixed, costs), low, high, 4)
    drawn, _ = jax.jit(jax.vmap(lambda key: paths.draw(THREE_LAYERS, {}, key, CLOCK)))(
        jax.random.split(jax.random.key(0), 800)
    )
    found = fixed + sum(np.einsum("nplo,lo->n", np.asarray(drawn[name], np.float64), c) for name, c in costs.items())
    inside = np.histogram(found, np.linspace(low - 1, high + 1, 5))[0]
    assert inside.sum() >= 790
    assert np.abs(inside - 200).max() < 60, inside
    uniform, _ = jax.jit(jax.vmap(lambda key: uniform_paths().draw(THREE_LAYERS, {}, key, CLOCK)))(
        jax.random.split(jax.random.key(0), 800)
    )
    other = fixed + sum(np.einsum("nplo,lo->n", np.asarray(uniform[name], np.float64), c) for name, c in costs.items())
    assert np.abs(np.histogram(other, np.linspace(low - 1, high + 1, 5))[0] - 200).max() > 60


def test_the_learning_rate_of_spos():
    """`0.5 · (1 − t/T)` in step t = 1 … T."""
    schedule = linear_per_step(SGDConfig(learning_rate=0.5, learning_rate_min=0.0), 150_000)
    np.testing.assert_allclose(
        [float(schedule(t - 1)) for t in (1, 75_000, 150_000)], [0.5 * (1 - 1 / 150_000), 0.25, 0]
    )


def test_the_weights_of_a_path_are_found_by_name():
    network = THREE_LAYERS.supernet(channels=4, cells=1, classes=3)
    assert network.choice_of(("layer_4", "choice_2", "expand", "kernel")) == ("inner", 1, 2)
    assert network.choice_of(("layer_1", "depthwise", "kernel")) is None
    made = search("spos")
    on = {key: np.ones(shape, bool) for key, shape in S5.alpha_shapes.items()}
    off = {key: np.zeros(shape, bool) for key, shape in S5.alpha_shapes.items()}
    assert bool(jnp.all(trained(made.objective.supernet, jax.tree.map(jnp.asarray, on))))
    fixed = int(jnp.sum(trained(made.objective.supernet, jax.tree.map(jnp.asarray, off))))
    assert fixed == chain_costs(S5, "parameters", size=8, classes=3)[0]


def test_a_recalibrated_path_scores_as_its_network():
    """The accuracy is that of the stand-alone network with the same weights and the statistics of the same batches."""
    made, (_, state) = search("spos", "recalibration=2"), stepped("spos")
    key, choices = jax.random.key(3), (1, 2)
    score: Any = scorer(made, state, key)
    images, labels = made.task.scored(made.config, made.arrays, key)
    rows = np.asarray(score._rows)
    assert rows.shape == (2, 8) and len(set(rows.reshape(-1))) == 16
    own, network = path_variables(S5, made.variables(state), choices), MobileNetwork(S5.decode(choices), 3)
    moments = []
    for part in rows:
        batch = made.task.as_batch(made.data, made.arrays["train_images"][part], made.arrays["train_labels"][part])
        zeros = jax.tree.map(jnp.zeros_like, own["batch_stats"])
        _, new = network.apply({**own, "batch_stats": zeros}, batch["images"], True, mutable=["batch_stats"])
        moments.append(jax.tree.map(lambda a: 10 * np.asarray(a), new["batch_stats"]))
    own = {**own, "batch_stats": jax.tree.map(lambda a, b: (a + b) / 2, *moments)}
    logits, _ = network.apply(own, made.task.as_batch(made.data, images, labels)["images"], False)
    assert score(S5.one_hot(S5.decode(choices))) == pytest.approx(float(np.mean(np.argmax(logits, -1) == labels)))
    assert score.macs(S5.decode((0, 0))) < score.macs(S5.decode((2, 2)))


def test_mistakes_are_told_before_anything_compiles():
    data = load(CONFIG.data).for_search(CONFIG.data)

    def asked(method, space: Any = S5, options=(), **changes):
        settings = dataclasses.replace(CONFIG.search, method=method, method_options=options, **changes)
        return make_search(dataclasses.replace(CONFIG, search=settings), space, data)

    with pytest.raises(
        UserError, match=r"batch_size is 6, but a step of fairnas trains 4 paths .* use a multiple of 4, at least 8"
    ):
        asked("fairnas", batch_size=6)
    with pytest.raises(UserError, match="space nasbench201 has no layers to choose from"):
        asked("spos", spaces.nasbench201)
    with pytest.raises(UserError, match=r"most_macs of method spos is 10, .* the smallest network .* has [0-9,]+ mult"):
        asked("spos", options=("most_macs=10",))
    for method in ("pc_darts", "r_darts_dp", "darts_pt", "p_darts", "stac_nas", "drnas_progressive"):
        with pytest.raises(UserError, match=f"method {method} does not fit space mobile_s5"):
            asked(method)
    with pytest.raises(UserError, match="the range of costs is empty"):
        build("spos", ("sampling=macs", "macs_low=2", "macs_high=1"))
