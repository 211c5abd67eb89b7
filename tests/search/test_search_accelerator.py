"""The programs of accelerators, run on a CPU: cells as units, dense convolutions, moments in one pass, bfloat16."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.one_cell import NARROW_CELL

from jdarts import kernels, spaces, staging
from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.search import make_search
from jdarts.spaces import define_space
from jdarts.spaces.nasbench201 import NASBench201Space
from jdarts.spaces.space import Space
from jdarts.staging import program

OWN: dict[str, Space] = {
    "two_nodes": define_space("two_nodes", nodes=2, normal=spaces.robust_s3.normal[0]),
    "narrow": NASBench201Space("narrow", NARROW_CELL),
}
CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x1:3:32", crop_padding=1),
    space=SpaceConfig(name="robust_s3", channels=4, cells=3),
    search=SearchConfig(epochs=3, batch_size=4, alpha_optimizer=AdamConfig(learning_rate=1e-2)),
)


def build(space: str, method: str, cells: int = 3, options: tuple[str, ...] = (), **settings):
    search = dataclasses.replace(CONFIG.search, method=method, method_options=options, **settings)
    size = dataclasses.replace(CONFIG.space, name=space, cells=cells)
    config = dataclasses.replace(CONFIG, search=search, space=size)
    own = OWN[space] if space in OWN else spaces.get(space)
    return make_search(config, own, load(config.data).for_search(config.data))


@pytest.fixture
def accelerator():
    """Supernets in the forms that they take on an accelerator."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(kernels.for_accelerators())


def wide(state):
    return jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, state)


@pytest.mark.parametrize(
    ("space", "method", "cells", "settings"),
    [
        ("two_nodes", "darts", 1, {}),
        ("robust_s1", "darts", 1, {"hypergradient": "first_order"}),  # other ops on every edge; pools, dilated ones
    ],
)
def test_the_programs_of_accelerators_make_the_same_search(space, method, cells, settings, accelerator, monkeypatch):
    with jax.enable_x64(True):
        search = build(space, method, cells, **settings)
        start = wide(jax.jit(search.init)(jax.random.key(0)))
        ends, programs = [], []
        forms = [("edges", 1, None), ("cells", 1, None)]
        if space == "robust_s1":  # as one program, and as a few
            forms += [("cells", 10**6, 10**6), ("cells", 10**6, 1500)]
        for unit, calls, most in forms:
            if unit == "cells":
                accelerator()
            for limit in ("_MOST_EQUATIONS", "_JOINED_EQUATIONS"):
                monkeypatch.setattr(program, limit, most)
            step = staging.compile(search.step, start, search.arrays, unit=unit, calls=calls)
            programs.append(step.programs)
            state = start
            for _ in range(2):
                state, metrics = step(state, search.arrays)
            assert bool(metrics["finite"])
            ends.append(state.replace(key=jax.random.key_data(state.key)))
        for other in ends[1:]:
            pairs = zip(jax.tree.leaves(ends[0]), jax.tree.leaves(other), strict=True)
            assert max(float(np.max(np.abs(a - b), initial=0.0)) for a, b in pairs) < 1e-11
        moved = float(jnp.abs(ends[0].weights - start.weights).max())
        assert moved > 1e-3, "the weights must have moved for the comparison to mean something"
        assert 1 < programs[1] < programs[0], "fewer and larger programs than by edges"
        if len(programs) > 2:
            assert programs[2] == 1 < programs[3] < programs[1] / 3


@pytest.mark.parametrize(
    ("space", "method", "options", "activations"),
    [
        ("darts_cnn", "darts_minus", ("auxiliary=conv1",), "bfloat16"),
        ("robust_s4", "pc_darts+darts_minus+sdarts_rs", ("parts=2",), "float32"),
        ("robust_s4", "pc_darts+darts_minus+sdarts_rs", ("parts=2",), "bfloat16"),
        ("narrow", "darts_minus", (), "bfloat16"),
        ("narrow", "gdas", (), "float32"),
        ("narrow", "gdas", (), "bfloat16"),
        ("narrow", "drop_nas", (), "bfloat16"),
    ],
)
def test_second_order_steps_can_be_traced_as_on_an_accelerator(space, method, options, activations, accelerator):
    search = build(space, method, 1, options, activations=activations, hypergradient="unrolled")
    accelerator()
    state = jax.eval_shape(search.init, jax.random.key(0))
    after, metrics = jax.eval_shape(search.step, state, search.arrays)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert metrics["train_loss"].dtype == jnp.float32
