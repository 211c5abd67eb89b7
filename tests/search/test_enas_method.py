"""ENAS: the steps of shared weights and controller against hand-made values; the search and its resume."""

import dataclasses
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from support.one_cell import OneCellSpace

from jdarts import spaces
from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig
from jdarts.controllers import (
    AttentionSettings,
    Controller,
    MacroController,
    MicroController,
    batch_entropy,
    batch_log_probability,
    controller_of,
)
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.genotypes import MacroArchitecture, parse
from jdarts.methods import build, configured
from jdarts.methods.enas import EnasSettings
from jdarts.methods.published import fitting
from jdarts.optimizers import cosine_restarts, cosine_waves
from jdarts.runs.checkpoint import Checkpoints
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.search import SearchRun, make_search, run_search
from jdarts.search.drivers.enas import EnasSearch
from jdarts.search.enas_step import controller_in, enas_step
from jdarts.spaces import EnasMacroSpace, get_decisions

OPTIONS = ("controller_steps=3", "controller_samples=4", "candidates=6", "epoch_candidates=2")
CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x1:3:16", crop_padding=1, stratify=True),
    space=SpaceConfig(name="nasbench201", channels=4, cells=1),
    search=SearchConfig(
        method="enas",
        method_options=OPTIONS,
        epochs=3,
        batch_size=4,
        checkpoint_every_steps=1,
        weight_optimizer=SGDConfig(learning_rate=0.1, momentum=0.0, weight_decay=0.0),
    ),
)
SPACE = OneCellSpace()
CHOICES = (3, 1, 0, 2, 1, 4)  # by edge; 2 and 3 are the convolutions
TRAIN = (2, 3, 1, 1, 3, 1)
TARGETS = {source: [t for s, t in SPACE.edges if s == source] for source in range(3)}


@cache
def search():
    return make_search(CONFIG, SPACE, load(CONFIG.data).for_search(CONFIG.data))


def steps(**changes):
    settings = dataclasses.replace(build("enas", OPTIONS).options["enas"], **changes)
    return enas_step(settings, CONFIG.search, search(), SPACE)


@cache
def initial():
    return jax.jit(steps().init)(jax.random.key(0))


@cache
def compiled(name):
    return jax.jit(getattr(steps(), name))


def searching(made, space: Any = SPACE) -> EnasSearch:
    """A search whose compiled functions are not needed."""
    return EnasSearch(made, space, made.teach, made.teach, made.teach, made.teach)


def path(choices):
    return SPACE.one_hot(SPACE.decode(choices))


def run(tmp_path, *, resume=False, reporter=None, method="enas", options=OPTIONS, space: Any = SPACE, **changes):
    settings = dataclasses.replace(CONFIG.search, method=method, method_options=options, **changes)
    config = dataclasses.replace(CONFIG, search=settings)
    folder = RunFolder.open(tmp_path, config) if resume else RunFolder.create(tmp_path, config)
    method_ = configured(settings)
    return SearchRun(config, space, load(config.data), folder, method_, resume, reporter or SilentReporter())


def test_a_weight_step_moves_the_sampled_path_and_nothing_else():
    state = initial()
    moved, metrics = compiled("train")(state.shared, path(TRAIN), search().arrays)
    before, after = (search().variables(s)["params"] for s in (state.shared, moved))
    changed = {
        (name, edge)
        for name, op in before["cell"].items()
        for edge in range(len(op["kernel"]))
        if not np.array_equal(op["kernel"][edge], after["cell"][name]["kernel"][edge])
    }
    sampled = {
        (f"from_{source}_{SPACE.cell[0][choice]}", TARGETS[source].index(target))
        for (source, target), choice in zip(SPACE.edges, TRAIN, strict=True)
        if choice in (2, 3)
    }
    assert len(sampled) == 3 and changed == sampled
    assert not np.array_equal(before["classifier"]["kernel"], after["classifier"]["kernel"])
    assert int(moved.step) == 1 and bool(metrics["finite"])


def test_the_accuracy_is_of_validation_images_by_running_averages():
    arrays, score = search().arrays, compiled("accuracy")
    state = initial().shared
    for _ in range(8):
        state, _ = compiled("train")(state, path(CHOICES), arrays)

    def accuracies(state, arrays):
        return [float(score(state, path(CHOICES), arrays, jnp.int32(number))) for number in range(6)]

    found = accuracies(state, arrays)
    assert len(set(found)) > 1, "different batches"
    blind = {name: jnp.zeros_like(a) if name.startswith("train") else a for name, a in arrays.items()}
    assert accuracies(state, blind) == found
    labelled = [{**arrays, "val_labels": jnp.full_like(arrays["val_labels"], label)} for label in range(3)]

    means = initial().shared.batch_stats == 0  # the others are variances

    def shares(seed):
        """The shares of the classes among the predictions, with random running means."""
        running = jnp.where(means, 30 * jax.random.normal(jax.random.key(seed), means.shape), state.batch_stats)
        return [accuracies(state.replace(batch_stats=running), images)[0] for images in labelled]

    found = [shares(seed) for seed in range(6)]
    np.testing.assert_allclose(np.sum(found, axis=1), 1)
    assert len(set(map(tuple, found))) > 1, "the running averages matter"


@pytest.mark.parametrize("rule", ["epoch", "running"])
def test_baselines(rule):
    made = steps(baseline=rule, baseline_decay=0.9)
    state = initial().replace(baseline=jnp.float32(0.5), baseline_before=jnp.float32(0.2))
    rewards, accuracies = jnp.array([1.0, 0.0, 0.4]), jnp.array([0.9, 0.0, 0.3])
    later = state.replace(step=jnp.int32(made.steps_per_epoch))
    if rule == "epoch":
        np.testing.assert_allclose(made.baselines(state, rewards, accuracies), accuracies)
        np.testing.assert_allclose(made.baselines(later, rewards, accuracies), [0.28, 0.18, 0.22], rtol=1e-6)
    else:
        expected = [0.55, 0.495, 0.4855]
        np.testing.assert_allclose(made.baselines(later, rewards, accuracies), expected, rtol=1e-6)


def test_a_controller_step_is_one_of_adam_along_the_mean_gradient():
    """The first step of Adam with b1 = 0 is lr · g / (|g| + ε); g is clipped to a norm of 5."""
    made, state = steps(), initial()
    choices = jnp.array([CHOICES, TRAIN, (0,) * 6, (4,) * 6])
    accuracies = jnp.array([30.0, 10.0, 0.0, -5.0])  # far apart, so that the gradient is clipped
    step = jnp.int32(made.steps_per_epoch + made.search.steps_per_epoch)
    state = state.replace(step=step, baseline=jnp.float32(0.25))
    entropies = batch_entropy(made.controller, state.controller, choices)
    rewards = accuracies + 1e-4 * entropies
    advantages = rewards - (0.99 * 0.25 + 0.01 * rewards)

    def objective(params):
        return jnp.mean(advantages * batch_log_probability(made.controller, params, choices))

    g = ravel_pytree(jax.jit(jax.grad(objective))(state.controller))[0]
    assert jnp.linalg.norm(g) > 5
    g = g * 5 / (jnp.linalg.norm(g) + 1e-6)
    taught, metrics = jax.jit(made.teach)(state, choices, accuracies)
    moved = ravel_pytree(taught.controller)[0] - ravel_pytree(state.controller)[0]
    np.testing.assert_allclose(moved, 1e-3 * g / (jnp.abs(g) + 1e-3), rtol=1e-3, atol=1e-8)
    assert int(taught.step) == step + 1
    assert float(taught.baseline_before) == 0.25
    np.testing.assert_allclose(taught.baseline, 0.99 * 0.25 + 0.01 * rewards[-1], rtol=1e-6)
    np.testing.assert_allclose(metrics["val_accuracy"], 35 / 4, rtol=1e-6)


def test_the_controller_learns_the_rewarded_op():
    made = steps(controller_learning_rate=0.05, temperature=1.0, baseline="running", baseline_decay=0.9)
    state, teach = initial(), jax.jit(made.teach)
    space_search = searching(made)
    for step in range(60):
        choices = space_search.sampled(state, jax.random.key(5), step, 8)
        state, _ = teach(state, jnp.array(choices), jnp.array([float(c[2] == 3) for c in choices]))
    assert np.mean([c[2] == 3 for c in space_search.sampled(state, jax.random.key(6), 0, 100)]) > 0.9


def test_only_valid_tuples_are_sampled():
    space = get_decisions("robust_s1")
    made = dataclasses.replace(steps(), controller=controller_of(space.decisions, hidden=4))
    state = initial().replace(controller=made.controller.init(jax.random.key(1)))
    space_search = searching(made, space)
    drawn = space_search.sampled(state, jax.random.key(2), 0, 40)
    assert len(drawn) == 40 == len(set(drawn)) and all(space.is_valid(choices) for choices in drawn)
    assert drawn == space_search.sampled(state, jax.random.key(2), 0, 40)
    assert drawn != space_search.sampled(state, jax.random.key(2), 1, 40)


def test_the_best_sample_is_returned(monkeypatch):
    made = steps()
    space_search = searching(made)
    seen = []

    def score(self, state, choices, number):
        seen.append((choices, number))
        return jnp.float32(sum(choices) / 24)

    monkeypatch.setattr(EnasSearch, "score", score)
    genotype, accuracy = space_search.best(initial(), 30, 7)
    assert len({number for _, number in seen}) == 30, "every candidate has a batch of its own"
    most = max((choices for choices, _ in seen), key=sum)
    assert SPACE.encode(genotype) == most and accuracy == pytest.approx(sum(most) / 24)


def test_the_learning_rate_falls_again_in_twice_as_many_epochs():
    config = SGDConfig(learning_rate=0.05, learning_rate_min=5e-4)
    rate = cosine_restarts(config, 10, 4)
    for epoch, start, length in ((0, 0, 10), (9, 0, 10), (10, 10, 20), (29, 10, 20), (30, 30, 40), (309, 150, 160)):
        expected = 5e-4 + 0.0495 * (1 + np.cos(np.pi * (epoch - start) / length)) / 2
        for step in (4 * epoch, 4 * epoch + 3):
            np.testing.assert_allclose(rate(jnp.int32(step)), expected, rtol=1e-5)


def test_the_learning_rate_falls_and_rises_by_the_step():
    config = SGDConfig(learning_rate=0.05, learning_rate_min=5e-4)
    rate = cosine_waves(config, 10, 4)
    for epoch in (0, 0.25, 3, 5, 10, 12.5, 20, 27.75, 30, 1000):
        expected = 5e-4 + 0.0495 * (1 + np.cos(np.pi * epoch / 10)) / 2
        np.testing.assert_allclose(rate(jnp.int32(4 * epoch)), expected, rtol=1e-5)


class PulledPlug(SilentReporter):
    """Ends the program, as a power cut would, after some step."""

    def __init__(self, last):
        super().__init__()
        self.last = last

    def step(self, step, metrics=None):
        if step == self.last:
            raise ConnectionError("no power")


def finished(folder, made=None):
    like = jax.eval_shape((made or steps()).init, jax.random.key(0))
    with Checkpoints(folder.checkpoints_dir, read_only=True) as checkpoints:
        found = checkpoints.restore_latest(like)
    assert found is not None
    return found.state


def assert_equal(states, *folders):
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = map(jax.random.key_data, (a, b))
        np.testing.assert_array_equal(a, b)
    for name in ("metrics", "genotypes"):
        first, second = (records(folder, name) for folder in folders)
        assert first == second


def records(folder, name):
    return [{k: v for k, v in r.items() if "seconds" not in k and k != "peak_memory"} for r in folder.records(name)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted search with its result."""
    made = run(tmp_path_factory.mktemp("enas") / "whole")
    return made, *run_search(made)


@pytest.mark.parametrize("last", [7, 9], ids=["shared weights", "controller"])
def test_an_interrupted_search_resumes_bit_for_bit(whole, tmp_path, last):
    """An epoch has two steps of the shared weights and three of the controller."""
    whole, expected, shared = whole
    cut = run(tmp_path / "cut", reporter=PulledPlug(last))
    with pytest.raises(ConnectionError):
        run_search(cut)
    assert len(cut.folder.records("metrics")) == 1
    again = run(tmp_path / "cut", resume=True)
    found, _ = run_search(again)
    assert found == expected
    states = finished(whole.folder), finished(again.folder)
    assert int(states[0].step) == 15 and int(shared.step) == 6
    assert_equal(states, whole.folder, again.folder)
    last_record = whole.folder.records("metrics")[-1]
    assert {
        "controller_entropy",
        "reward",
        "baseline",
        "skip_share",
        "train_loss",
        "val_accuracy",
    } <= last_record.keys()
    assert 0 < last_record["controller_entropy"] <= 6 * np.log(5)
    for record in whole.folder.records("genotypes"):
        assert parse(record["genotype"]) and np.asarray(record["alphas"]["cell"]).shape == (6, 5)


@pytest.mark.slow
def test_a_search_of_enas_macro_resumes_bit_for_bit(tmp_path):
    """An epoch has two steps of the shared weights and one of the controller; the second epoch is cut."""
    space = EnasMacroSpace(layers=3)
    options = ("controller_steps=1", "controller_samples=2", "candidates=3", "epoch_candidates=1", "hidden=4")
    run_macro = partial(run, options=options, space=space, epochs=2)
    whole, cut = run_macro(tmp_path / "whole"), run_macro(tmp_path / "cut", reporter=PulledPlug(5))
    found, _ = run_search(whole)
    assert isinstance(found, MacroArchitecture) and len(found.ops) == 3
    with pytest.raises(ConnectionError):
        run_search(cut)
    again = run_macro(tmp_path / "cut", resume=True)
    assert run_search(again)[0] == found
    made = enas_step(whole.method.options["enas"], whole.config.search, macro_search(space), space)
    assert isinstance(made.controller, MacroController)
    states = finished(whole.folder, made), finished(again.folder, made)
    assert int(states[0].step) == 6
    assert_equal(states, whole.folder, again.folder)
    start = jax.jit(made.init)(jax.random.key(CONFIG.seed))
    for name, before in start.controller.items():
        assert not np.array_equal(before, states[0].controller[name]), f"{name} has learned"
    for record in whole.folder.records("genotypes"):
        assert len(MacroArchitecture.read(record["genotype"]).ops) == 3 and record["alphas"] == {}
    assert 0 <= whole.folder.records("metrics")[-1]["skip_share"] <= 1


def macro_search(space):
    return make_search(CONFIG, space, load(CONFIG.data).for_search(CONFIG.data))


def test_the_loss_of_the_macro_controller_has_the_penalty():
    """With advantages of 0 only the penalty moves the controller."""
    space = EnasMacroSpace(layers=3)
    made = dataclasses.replace(steps(), controller=controller_in(space, EnasSettings(hidden=4, skip_weight=0.5)))
    params, choices = made.controller.init(jax.random.key(0)), jnp.array([(0, 1, 1, 2, 0, 1)])
    loss = jax.jit(made.loss)(params, choices, jnp.zeros(1))
    np.testing.assert_allclose(loss, made.controller.penalty(params, choices[0]), rtol=1e-6)
    assert loss > 0
    assert controller_in(spaces.enas_micro, EnasSettings(tanh=1.1)) == MicroController(
        5, 5, AttentionSettings(32, 2, 5.0, 1.1, 0.1), 2.5
    )
    assert isinstance(controller_in(SPACE, EnasSettings()), Controller)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "enas+beta_darts"}, "regularizer acts on alphas"),
        ({"hypergradient": "unrolled"}, "search.hypergradient is 'unrolled', but enas has no alphas"),
        ({"hessian_every": 1}, "search.hessian_every is 1"),
    ],
)
def test_what_needs_alphas_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        run_search(run(tmp_path / "run", **changes))


def test_the_defaults_are_those_of_the_published_run():
    made = build("enas")
    assert made.options["enas"] == EnasSettings()
    published = fitting(made.published, "nasbench201")
    assert published is not None
    assert published.settings["search.weight_optimizer.weight_decay"] == 2.5e-4
