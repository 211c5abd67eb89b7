"""One-Shot (Bender et al. 2018): path dropout, ghost batch norm, decay on used paths, ranking with shared weights."""

import dataclasses
import json
from functools import cache
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.chains import S5

from jdarts import spaces
from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.estimation import Inherited
from jdarts.methods import build, configured
from jdarts.methods.paths import dropped_paths, path_of
from jdarts.networks.one_shot.network import OneShotNetwork
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.schedules import Clock, ramp
from jdarts.search import SearchRun, make_search, run_search
from jdarts.search.path_step import segments
from jdarts.search.scoring import scorer
from jdarts.spaces.one_shot import OneShotSpace

SPACE = OneShotSpace("one_shot", 2)
OPTIONS = ("dropout=0.5", "ghost_batches=2", "candidates=5")
CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x3:3:48", stratify=True, crop_padding=0, flip=False),
    space=SpaceConfig(name="one_shot", channels=2, cells=1),
    search=SearchConfig(
        method="one_shot",
        method_options=OPTIONS,
        epochs=3,
        batch_size=8,
        weight_optimizer=SGDConfig(0.1, 0.0, momentum=0.9, weight_decay=0.1, gradient_clip=0.0),
    ),
)


@cache
def search():
    return make_search(CONFIG, SPACE, load(CONFIG.data).for_search(CONFIG.data))


@cache
def stepped():
    """The states before and after a step of the last epoch."""
    made = search()
    step, state = jax.jit(made.step), jax.jit(made.init)(jax.random.key(0))
    for _ in range(2 * made.steps_per_epoch):
        state, _ = step(state, made.arrays)
    return state, step(state, made.arrays)[0]


def masks():
    """The masks of the step, `{matrix: [2, rows, paths]}`, and the training batch."""
    made, (before, _) = search(), stepped()
    batch, _ = made.draw(before, made.arrays)
    assert made.method.paths is not None
    paths, counted = made.method.paths.draw(SPACE, {}, batch["relax_key"], made.objective.clock(before.step))
    jax.tree.map(np.testing.assert_array_equal, paths, counted)
    return paths, batch


@pytest.mark.parametrize("r", [0.05, 0.5])
def test_all_paths_of_a_sum_are_dropped_with_probability_r(r):
    """For k = 1 to 7 paths, and one path with probability r^(1/k); the parts of a batch have masks of their own."""
    rows: Any = SimpleNamespace(alpha_shapes={f"k{k}": (500, k) for k in range(1, 8)})
    paths = dropped_paths(ramp(0.0, r), 40)
    drawn, _ = jax.jit(lambda key: paths.draw(rows, {}, key, Clock(jnp.float32(9), 10)))(jax.random.key(0))
    draws = 500 * 40
    for k in range(1, 8):
        mask = np.asarray(drawn[f"k{k}"])
        assert mask.shape == (40, 500, k) and set(np.unique(mask)) <= {0.0, 1.0}
        assert np.mean(~mask.any(-1)) == pytest.approx(r, abs=4 * np.sqrt(r * (1 - r) / draws))
        one = r ** (1 / k)
        assert np.mean(mask == 0) == pytest.approx(one, abs=4 * np.sqrt(one * (1 - one) / draws / k))
    assert len({part.tobytes() for part in np.asarray(drawn["k7"])}) == 40


def test_the_dropout_rises_linearly_from_nothing():
    paths = dropped_paths(ramp(0.0, 0.4), 1)
    rows: Any = SimpleNamespace(alpha_shapes={"one": (4000, 1)})

    def share(epoch):
        drawn, _ = paths.draw(rows, {}, jax.random.key(1), Clock(jnp.float32(epoch), 5))
        return float(jnp.mean(drawn["one"] == 0))

    assert share(0) == 0
    for epoch in range(1, 5):
        assert share(epoch) == pytest.approx(0.1 * epoch, abs=4 * np.sqrt(0.25 / 4000))


def test_a_step_is_by_hand_on_ghost_batches():
    """Each half of the batch has its own mask and its own statistics of batch norm, and decays what its mask keeps."""
    made, (before, after), (paths, batch) = search(), stepped(), masks()
    gradient = jax.jit(jax.value_and_grad(made.network_loss, has_aux=True))
    grads, kept, running = 0, 0, batch["batch_stats"]
    for k in range(2):
        mask = path_of(paths, k)
        half = {name: batch[name][4 * k : 4 * k + 4] for name in ("images", "labels")}
        part = {**batch, **half, "batch_stats": running}
        (_, aux), gradients = gradient(before.weights, mask, part)
        grads, running = grads + np.asarray(gradients, np.float64) / 2, aux["batch_stats"]
        kept = kept + _kept(made, mask) / 2
    assert {0.0, 0.5, 1.0} <= set(np.unique(kept)), "some paths are dropped in one half, some in both"
    w = np.asarray(before.weights, np.float64)
    trace = next(leaf for leaf in jax.tree.leaves(before.weight_opt_state) if leaf.shape == before.weights.shape)
    velocity = 0.9 * np.asarray(trace, np.float64) + grads + 0.1 * kept * w
    rate = 0.1 * (1 + np.cos(np.pi * 2 / 3)) / 2
    by_hand = np.where(kept > 0, w - rate * velocity, w)
    np.testing.assert_allclose(after.weights, by_hand, rtol=1e-3, atol=2e-5)
    np.testing.assert_array_equal(np.asarray(after.weights)[kept == 0], np.asarray(before.weights)[kept == 0])
    np.testing.assert_allclose(after.batch_stats, running, rtol=1e-4, atol=1e-5)


def _kept(made, mask):
    """1 for each weight that a mask keeps, from the names of the variables alone."""
    pieces = []
    for place, size in segments(made.objective.supernet):
        pieces += [np.full(size, 1.0 if place is None else float(mask[place[0]][place[1], place[2]]))]
    return np.concatenate(pieces)


def test_ghost_batch_norm_is_batch_norm_of_the_parts():
    """The running averages of the stem against NumPy: 0.9 old + 0.1 of the first half, then of the second."""
    made, (before, after), (_, batch) = search(), stepped(), masks()
    kernel = made.variables(before)["params"]["stem"]["conv"]
    y = jax.lax.conv_general_dilated(
        batch["images"], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    mean, var = (np.asarray(a).reshape(-1) for a in made.variables(before)["batch_stats"]["stem"]["norm"].values())
    for half in np.split(np.asarray(y, np.float64), 2):
        mean = 0.9 * mean + 0.1 * half.mean((0, 1, 2))
        var = 0.9 * var + 0.1 * half.var((0, 1, 2), ddof=1)
    found = made.variables(after)["batch_stats"]["stem"]["norm"]
    np.testing.assert_allclose(found["mean"].reshape(-1), mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["var"].reshape(-1), var, rtol=1e-4)


def test_the_names_of_all_weights_of_paths_are_found():
    """Every sum's inputs and every op with weights; the sizes are those of the network by itself."""
    made = search()
    owners = {place for place, _ in segments(made.objective.supernet)}
    ops = {("ops", b, k) for b in range(2) for k in (1, 2, 3, 4)}
    assert owners == {None, *ops, *(("inputs_0", 0, i) for i in range(2)), *(("inputs_1", 0, i) for i in range(3))}


def test_a_candidate_scores_as_its_network_with_the_statistics_of_the_images():
    made, (_, state) = search(), stepped()
    key, genotype = jax.random.key(3), SPACE.random_genotype(5)
    images, labels = made.task.scored(made.config, made.arrays, key)
    score = scorer(made, state, key)(SPACE.one_hot(genotype))
    network = OneShotNetwork(genotype, 2, 1, 3)
    inputs = made.task.as_batch(made.data, images, labels)["images"]
    variables = made.variables(state)
    wanted = jax.eval_shape(lambda: network.init(jax.random.key(0), inputs, True))
    own = jax.tree_util.tree_map_with_path(lambda path, leaf: _leaf(variables, path, leaf), wanted)
    (logits, _), _ = network.apply(own, inputs, True, mutable=["batch_stats"])
    assert score == pytest.approx(float(jnp.mean(jnp.argmax(logits, -1) == labels)), abs=1e-6)


def _leaf(tree, path, leaf):
    for key in path:
        tree = tree.get(key.key, {})
    return tree if not isinstance(tree, dict) else jnp.full(leaf.shape, float(path[-1].key == "scale"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("path_dropout") / "run"
    folder = RunFolder.create(path, CONFIG)
    run = SearchRun(CONFIG, SPACE, load(CONFIG.data), folder, configured(CONFIG.search), False, SilentReporter())
    return path, *run_search(run)


def test_a_search_ranks_random_cells(finished):
    path, genotype, state = finished
    assert SPACE.decode(SPACE.encode(genotype)) == genotype
    last = [json.loads(line) for line in (path / "genotypes.jsonl").read_text().splitlines()][-1]
    assert last["genotype"] == genotype.to_text() and last["compared"]
    estimator = Inherited(CONFIG, search(), state)
    score = estimator(genotype, {"recalibration": 1}).values
    assert score["accuracy"] in [pytest.approx(100 * k / 24) for k in range(25)]


def test_a_chain_is_searched_too():
    settings = dataclasses.replace(CONFIG.search, batch_size=8)
    config = dataclasses.replace(CONFIG, search=settings, space=SpaceConfig(name="mobile_s5"))
    made = make_search(config, S5, load(config.data).for_search(config.data))
    state = jax.eval_shape(made.init, jax.random.key(0))
    after, _ = jax.eval_shape(made.step, state, made.arrays)
    assert after.weights.shape == state.weights.shape


@pytest.mark.parametrize(
    ("method", "options", "batch", "words"),
    [
        ("spos", (), 8, "adds up the paths of a choice block, but spos runs one op of a layer; use method one_shot"),
        ("darts", ("order=first",), 8, "darts weighs the ops of an edge; use method one_shot, or --strategy"),
        ("one_shot", ("ghost_batches=3",), 8, "trains 3 paths on equal parts of the batch; use a multiple of 3"),
    ],
)
def test_what_does_not_fit_is_refused(method, options, batch, words):
    settings = dataclasses.replace(CONFIG.search, method=method, method_options=options, batch_size=batch)
    config = dataclasses.replace(CONFIG, search=settings)
    with pytest.raises(UserError, match=words):
        make_search(config, SPACE, load(config.data).for_search(config.data))
    assert build("one_shot").batch_statistics and spaces.kind("one_shot") == "one_shot"
