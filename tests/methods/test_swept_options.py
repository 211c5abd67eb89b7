"""Options of methods as arrays: one program for several values, each like a separate search."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.one_cell import NARROW

from jdarts import methods
from jdarts.config import AdamConfig, DataConfig, DevicesConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.config.swept import with_values
from jdarts.data import load
from jdarts.devices.placement import place
from jdarts.errors import UserError
from jdarts.methods.registry import float_options
from jdarts.search import make_search
from jdarts.search.members import members_of
from jdarts.search.placed import place_search

CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x1:3:16", crop_padding=1, search_cutout=2),
    space=SpaceConfig(name="nasbench201", channels=12, cells=1),
    search=SearchConfig(epochs=2, batch_size=4, alpha_optimizer=AdamConfig(learning_rate=1e-2)),
)
ABOVE_THE_STEP = {  # used only by Python
    "fair_darts": {"threshold"},
    "darts_es": {"factor"},
    "r_darts": {"val_fraction"},
    "darts_ada": {"factor", "multiply", "limit"},
    "spos": {"mutation", "most_macs", "macs_low", "macs_high"},
    "fairnas": {"most_macs"},
    "gold_nas": {"eta_min", "eta_max", "lambda0", "c0", "mu", "stop_share"},  # searches run one after the other
    "proxyless_nas_reinforce": {"latency_reference", "latency_exponent"},
    "one_shot": {"dropout"},  # this space has no sums of paths
    "proxyless_nas": {"latency_reference", "latency_alpha", "latency_beta", "latency_lambda"},
}
NEEDED = {"snas": ("resource=parameters", "channels=12", "cells=1", "size=8")}  # for an effect of the others


def configured(method: str, *options: str) -> Experiment:
    return dataclasses.replace(CONFIG, search=dataclasses.replace(CONFIG.search, method=method, method_options=options))


def data():
    return load(CONFIG.data).for_search(CONFIG.data)


ONE_DEVICE = place(DevicesConfig(backend="jit"), batch_size=4, members=2)
ARRAYS = {name: sorted({*float_options(name)} - ABOVE_THE_STEP.get(name, set())) for name in methods.names()}


@pytest.mark.parametrize("name", [name for name, options in ARRAYS.items() if options])
def test_every_real_option_of_a_method_may_be_an_array(name):
    config = configured(name, *NEEDED.get(name, ()))
    if name != "amended_darts":  # whose option belongs to its estimator
        config = dataclasses.replace(config, search=dataclasses.replace(config.search, hypergradient="first_order"))
    images = data()

    def one_step(seed, values):
        search = make_search(with_values(config, values), NARROW, images)
        return search.step(search.init(jax.random.key(seed)), search.arrays)[1]

    values = {f"search.method_options.{option}": jax.ShapeDtypeStruct((), jnp.float32) for option in ARRAYS[name]}
    shapes = jax.eval_shape(one_step, jax.ShapeDtypeStruct((), jnp.int32), values)
    assert shapes["train_loss"].shape == ()


def test_members_with_other_options_end_as_by_themselves():
    config = configured("darts_minus+sdarts_rs", "epsilon_end=0.2")
    sweeps = ["method_options.beta=0.25,1", "method_options.epsilon_start=0.05,0.1"]
    members = members_of(config, None, sweeps)[::3]
    assert members[1].name == "seed-0,beta-1,epsilon_start-0.1"
    placed = place_search(config, NARROW, data(), ONE_DEVICE, members)
    together = placed.init()
    for _ in range(4):
        together, _ = placed.step(together)
    for i, member in enumerate(members):
        own = member.config(config)
        assert own.search.method_options[-2:] == tuple(f"{n.rpartition('.')[2]}={v!r}" for n, v in member.values)
        search = make_search(own, NARROW, data())
        state, step = search.init(jax.random.key(member.seed)), jax.jit(search.step)
        for _ in range(4):
            state, _ = step(state, search.arrays)
        np.testing.assert_allclose(together.weights[i], state.weights, atol=2e-5)
        np.testing.assert_allclose(together.alphas["cell"][i], state.alphas["cell"], atol=2e-4)
    assert np.abs(together.weights[0] - together.weights[1]).max() > 1e-3, "the options must matter"


@pytest.mark.parametrize(
    ("method", "sweep", "message"),
    [
        ("darts_minus", "method_options.bet=0.5,1", "did you mean 'method_options.beta'"),
        ("darts", "method_options.beta=0.5,1", "unknown hyper-parameter to sweep 'method_options.beta'"),
        ("darts_minus", "method_options.decay=1,2", "unknown hyper-parameter to sweep 'method_options.decay'"),
        ("sdarts_rs+sdarts_adv", "method_options.epsilon_start=0,1", "did you mean"),
    ],
)
def test_an_option_that_cannot_be_swept_is_one_line(method, sweep, message):
    config = configured("darts")
    if method.count("+"):  # these two clash, so only the names are checked
        config = dataclasses.replace(config, search=dataclasses.replace(config.search))
        object.__setattr__(config.search, "method", method)
    else:
        config = configured(method)
    with pytest.raises(UserError) as caught:
        members_of(config, None, [sweep])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_option_that_python_decides_by_is_refused():
    members = members_of(configured("fair_darts"), None, ["method_options.threshold=0.5,0.9"])
    with pytest.raises(UserError, match=r"method_options\.threshold: its value decides"):
        place_search(configured("fair_darts"), NARROW, data(), ONE_DEVICE, members)
