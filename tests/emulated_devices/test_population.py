"""Seeds and swept hyper-parameters in one program equal separate searches, in float64."""

import dataclasses

import jax
import numpy as np
import pytest
from support.device_problems import FIRST_ORDER, TINY, largest_difference, member

from jdarts.config import AdamConfig, DevicesConfig
from jdarts.config.files import option_types
from jdarts.data import load
from jdarts.devices.placement import place
from jdarts.errors import UserError
from jdarts.search import make_search
from jdarts.search import placed as placed_module
from jdarts.search.found import Found, describe, summary
from jdarts.search.members import Member, members_of
from jdarts.search.placed import place_search

pytestmark = pytest.mark.usefixtures("float64_searches")

SWEPT = {  # every real number of the section, and 0 where it switches something off
    "search.weight_optimizer.learning_rate": (0.05, 0.1),
    "search.weight_optimizer.learning_rate_min": (0.0, 0.02),
    "search.weight_optimizer.momentum": (0.0, 0.8),
    "search.weight_optimizer.weight_decay": (0.1, 0.0),
    "search.weight_optimizer.gradient_clip": (0.1, 0.0),
    "search.alpha_optimizer.learning_rate": (0.01, 0.05),
    "search.alpha_optimizer.b1": (0.5, 0.9),
    "search.alpha_optimizer.b2": (0.99, 0.9),
    "search.alpha_optimizer.weight_decay": (0.0, 0.1),
    "search.alpha_optimizer.gradient_clip": (0.0, 0.001),
    "search.alpha_init_scale": (0.001, 0.1),
}
MOMENTUM = "search.alpha_optimizer.momentum"
MEMBERS = [Member(seed, tuple((name, v[i]) for name, v in SWEPT.items())) for i in (0, 1) for seed in (0, 3)]


def placed(searches, config=FIRST_ORDER, **devices):
    data = load(config.data).for_search(config.data)
    placement = place(DevicesConfig(**devices), batch_size=config.search.batch_size, members=len(searches))
    return place_search(config, TINY, data, placement, searches)


def alone(one: Member, steps: int, config=FIRST_ORDER):
    config = one.config(config)
    search = placed_module.make_search(config, TINY, load(config.data).for_search(config.data))
    state, step = jax.jit(search.init)(jax.random.key(one.seed)), jax.jit(search.step)
    for _ in range(steps):
        state, _ = step(state, search.arrays)
    return state


@pytest.mark.parametrize(
    "devices",
    [
        {"backend": "jit", "members": "vmap"},
        {"backend": "jit", "members": "in_turn"},
        {"backend": "shard_map", "seed": 4, "data": 2},
    ],
)
def test_every_member_ends_as_by_itself(devices):
    many = placed(MEMBERS, **devices)
    state = many.init()
    for _ in range(4):
        state, metrics = many.step(state)
    assert metrics["train_loss"].shape == () and bool(metrics["finite"])
    assert state.step.shape == (4,)
    for i in (0, 3):
        assert largest_difference(moved(member(state, i)), moved(alone(MEMBERS[i], 4))) < 1e-9
    assert largest_difference(moved(member(state, 0)), moved(member(state, 2))) > 1e-3, "the values must differ"


def moved(state):
    """The arrays that move; the optimiser of a separate search has no momentum if that is 0."""
    return {"weights": state.weights, "batch_stats": state.batch_stats, **state.alphas}


def test_the_momentum_of_the_alphas_is_swept():
    """Only SGD has it."""
    settings = AdamConfig(kind="sgd", learning_rate=0.1)
    config = dataclasses.replace(FIRST_ORDER, search=dataclasses.replace(FIRST_ORDER.search, alpha_optimizer=settings))
    members = [Member(0, ((MOMENTUM, value),)) for value in (0.5, 0.9)]
    many = placed(members, config, backend="jit", members="vmap")
    state = many.init()
    for _ in range(4):
        state, _ = many.step(state)
    for i, one in enumerate(members):
        assert largest_difference(moved(member(state, i)), moved(alone(one, 4, config))) < 1e-9
    assert largest_difference(moved(member(state, 0)), moved(member(state, 1))) > 1e-5, "the values must differ"


def test_every_real_number_of_a_search_is_swept_here():
    real = {name for name, kind in option_types().items() if kind is float and name.startswith("search.")}
    assert {*SWEPT, MOMENTUM} == real


def test_a_member_that_diverges_stops_nobody():
    # a rate this large overflows in the first steps, since there is no clipping in this search
    config = dataclasses.replace(
        FIRST_ORDER,
        search=dataclasses.replace(
            FIRST_ORDER.search,
            weight_optimizer=dataclasses.replace(FIRST_ORDER.search.weight_optimizer, gradient_clip=0.0),
        ),
    )
    members = members_of(config, None, ["weight_optimizer.learning_rate=0.05,1e38"])
    data = load(config.data).for_search(config.data)
    many = place_search(config, TINY, data, place(DevicesConfig(backend="jit"), batch_size=16, members=2), members)
    state = many.init()
    for _ in range(8):  # the decay alone multiplies the weights by 3e34 a step; their squares then leave float64
        state, metrics = many.step(state)
    assert np.isfinite(metrics["train_loss"]) and bool(metrics["finite"])
    assert list(many.snapshot(state)["finite"]) == [True, False]


def test_a_value_that_decides_how_the_step_is_built_is_refused(monkeypatch):
    def deciding(config, *arguments, **options):
        if config.search.alpha_optimizer.b1 > 0.5:
            raise AssertionError("the array of a sweep has no truth value")
        return make_search(config, *arguments, **options)

    monkeypatch.setattr(placed_module, "make_search", deciding)
    members = members_of(FIRST_ORDER, None, ["alpha_optimizer.b1=0.5,0.9"])
    with pytest.raises(UserError, match=r"--sweep search.alpha_optimizer.b1: its value decides .* run the 2 values"):
        placed(members, backend="jit")


def test_means_and_deviations_leave_out_the_diverged():
    genotype = TINY.random_genotype(0)
    found = [
        Found(Member(0), genotype, {"val_accuracy": 0.5}, {}),
        Found(Member(1), genotype, {"val_accuracy": 0.7}, {}),
        Found(Member(2), None, {"val_accuracy": float("nan")}, {}),
    ]
    record = summary(found)
    assert record["val_accuracy"] == pytest.approx(0.6)
    assert record["val_accuracy_std"] == pytest.approx(0.1 * 2**0.5)
    assert (record["members"], record["diverged"]) == (3, 1)
    written = describe(found)
    assert written["members"][2]["genotype"] is None and len(written["members"]) == 3
    assert "best" not in str(written)
