"""Seeds and swept hyper-parameters in one program equal separate searches, in float64."""

import dataclasses

import jax
import numpy as np
import pytest
from device_problems import FIRST_ORDER, METHOD, TINY, doubled, largest_difference, member

from jdarts.config import DevicesConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.search import make_search
from jdarts.search import population as population_module
from jdarts.search.found import Found, describe, summary
from jdarts.search.members import Member, members_of
from jdarts.search.population import build_program
from jdarts.search.sharding import place

MEMBERS = members_of(FIRST_ORDER, "0,3", ["weight_optimizer.learning_rate=0.05,0.1"])


@pytest.fixture(autouse=True)
def in_float64(monkeypatch):
    """Searches by `METHOD` whose state is float64."""

    def double_search(config, space, data, **options):
        search = make_search(config, space, data, method=METHOD, **options)
        return dataclasses.replace(search, init=lambda key: doubled(search.init(key)))

    monkeypatch.setattr(population_module, "make_search", double_search)


def program(searches, **devices):
    data = load(FIRST_ORDER.data).for_search(FIRST_ORDER.data)
    placement = place(DevicesConfig(**devices), batch_size=FIRST_ORDER.search.batch_size, members=len(searches))
    return build_program(FIRST_ORDER, TINY, data, placement, searches)


def alone(one: Member, steps: int):
    config = one.config(FIRST_ORDER)
    search = population_module.make_search(config, TINY, load(config.data).for_search(config.data))
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
    many = program(MEMBERS, **devices)
    state = many.init()
    for _ in range(4):
        state, metrics = many.step(state)
    assert metrics["train_loss"].shape == () and bool(metrics["finite"])
    assert state.step.shape == (4,)
    for i in (0, 3):
        assert largest_difference(member(state, i), alone(MEMBERS[i], 4)) < 1e-9
    assert largest_difference(member(state, 0), member(state, 2)) > 1e-3, "the learning rates must differ"


def test_a_member_that_diverges_stops_nobody():
    # so large a rate overflows in the first steps, since there is no clipping in this search
    config = dataclasses.replace(
        FIRST_ORDER,
        search=dataclasses.replace(
            FIRST_ORDER.search,
            weight_optimizer=dataclasses.replace(FIRST_ORDER.search.weight_optimizer, gradient_clip=0.0),
        ),
    )
    members = members_of(config, None, ["weight_optimizer.learning_rate=0.05,1e300"])
    data = load(config.data).for_search(config.data)
    many = build_program(config, TINY, data, place(DevicesConfig(backend="jit"), batch_size=16, members=2), members)
    state = many.init()
    for _ in range(3):
        state, metrics = many.step(state)
    assert np.isfinite(metrics["train_loss"]) and bool(metrics["finite"])
    assert list(many.snapshot(state)["finite"]) == [True, False]


def test_a_value_that_decides_how_the_step_is_built_is_refused():
    members = members_of(FIRST_ORDER, None, ["weight_optimizer.gradient_clip=0.5,1.0"])
    with pytest.raises(UserError, match=r"--sweep search.weight_optimizer.gradient_clip: its value decides"):
        program(members, backend="jit")


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
