"""The contract of every search method, in one compiled program each: two seeds under vmap, each batch shared by eight
devices, over all epochs.

The network is one cell of the NAS-Bench-201 supernet between stem and classifier, with three candidates an edge and
each op out of only one node, so that a method compiles in seconds.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.device_problems import counting_traces, doubled, placed
from support.one_cell import NARROW

from jdarts import methods
from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.devices.placement import compile_init, compile_step, replicate, split_members
from jdarts.genotypes import parse
from jdarts.schedules import clock_at
from jdarts.search import make_search

EPOCHS, SEEDS = 3, 2
OPTIONS = {
    "pc_darts": ("parts=2", "alpha_start=1"),
    "p_darts": ("frozen=1",),
    "drnas_progressive": ("parts=2,1", "frozen=1"),
    "darts": ("order=first",),
}
CHANGES = {
    name: {"hypergradient": "first_order"} for name in ("darts_es", "darts_ada", "r_darts", "r_darts_dp")
}  # they differ only above the step
COMPOSED = ("pc_darts+darts_minus+sdarts_rs",)
NAMES = [*(name for name in methods.names() if methods.build(name).paths is None and name != "gold_nas"), *COMPOSED]
"""Without the methods of single paths, which search chains of layers (`test_paths_on_devices`), and without GOLD-NAS,
which keeps several ops on an edge of DARTS cells and runs on one device (`tests/methods/test_gold_nas.py`)."""
CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x1:3:32", crop_padding=1, search_cutout=2),
    space=SpaceConfig(name="nasbench201", channels=4, cells=1),
    search=SearchConfig(epochs=EPOCHS, batch_size=8, alpha_optimizer=AdamConfig(learning_rate=1e-2)),
)


def searching(name: str, axis_name: str | None, **changes):
    options = tuple(o for part in name.split("+") for o in OPTIONS.get(part, ()))
    config = dataclasses.replace(
        CONFIG,
        search=dataclasses.replace(CONFIG.search, method=name, method_options=options, **changes),
    )
    data = load(config.data).for_search(config.data)
    return make_search(config, NARROW, data, axis_name=axis_name)


def equal(a, b) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in pairs)


def to_host(state):
    """The state as a checkpoint holds it: NumPy arrays and the key's data."""
    return jax.tree.map(np.asarray, state.replace(key=jax.random.key_data(state.key)))


def from_host(state, placement):
    state = split_members(state, placement)
    return state.replace(key=jax.random.wrap_key_data(state.key))


@pytest.mark.parametrize("name", NAMES)
def test_contract(name):
    placement = placed(CONFIG, seeds=tuple(range(SEEDS)), backend="shard_map", data=8)
    search = searching(name, placement.axis_name, **CHANGES.get(name, {}))
    method = search.method
    init = compile_init(lambda seed, values: doubled(search.init(jax.random.key(seed))), placement)
    counted, traces = counting_traces(search.step)
    step = compile_step(counted, placement)
    arrays = replicate(search.arrays, placement)
    state = init(split_members(np.arange(SEEDS), placement), {})
    states = [to_host(state)]
    for _ in range(EPOCHS * search.steps_per_epoch):
        state, metrics = step(state, arrays, {})
        states.append(to_host(state))
        assert np.all(np.asarray(metrics["finite"])), f"{name} diverged"
        assert all(np.all(np.isfinite(np.asarray(value))) for value in metrics.values())
    assert len(traces) == 1, "the step was traced again for a later epoch"
    for leaf in jax.tree.leaves(state.replace(key=jax.random.key_data(state.key))):
        shards = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(shards) == 8 and all(np.array_equal(shards[0], other) for other in shards), "replicas differ"

    start = (method.alpha_start or 0) * search.steps_per_epoch
    for i, (before, after) in enumerate(itertools.pairwise(states)):
        assert not equal(before.weights, after.weights)
        still = method.alphas_fixed or i < start
        assert equal(before.alphas, after.alphas) == bool(still), f"{name}, step {i}"
        if still:
            assert equal(before.alpha_opt_state, after.alpha_opt_state)
    first, second = (jax.tree.map(lambda leaf, s=s: leaf[s], states[-1].weights) for s in range(SEEDS))
    assert not equal(first, second), "the seeds must differ"

    resumed = from_host(states[2], placement)
    for expected in states[3:]:
        resumed, _ = step(resumed, arrays, {})
        assert equal(to_host(resumed), expected), f"{name} does not resume bit for bit"

    alphas = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), states[-1].alphas)

    def evaluate(p):
        return float(p["cell"][:, 2].sum())

    for genotype in (
        method.genotype(search.space, alphas),
        method.genotype(search.space, alphas, evaluate, jax.random.key(3)),
    ):
        assert parse(genotype.to_text()) == genotype
        assert search.space.one_hot(genotype)["cell"].sum() == 6


@pytest.mark.parametrize("name", methods.names())
def test_schedules_are_finite_and_within_their_ends(name):
    method = methods.build(name)
    for value in (*method.edge_values.values(), method.cutout_probability):
        if value is None:
            continue
        seen = [float(value(clock_at(jnp.int32(e), 1, 50))) for e in range(50)]
        assert all(0 <= v <= 1 for v in seen)
