"""The searches that --seeds and --sweep ask for."""

import dataclasses

import numpy as np
import pytest

from jdarts.config import Experiment
from jdarts.config.swept import with_values
from jdarts.errors import UserError
from jdarts.search.members import Member, members_of, stacked

CONFIG = Experiment(seed=7)
RATE = "search.weight_optimizer.learning_rate"


def test_a_number_of_seeds_counts_from_the_seed_of_the_configuration():
    assert [member.seed for member in members_of(CONFIG, "3", [])] == [7, 8, 9]
    assert [member.seed for member in members_of(CONFIG, "0,3,9", [])] == [0, 3, 9]
    assert [member.seed for member in members_of(CONFIG, "4,", [])] == [4]
    assert members_of(CONFIG, None, []) == ()


def test_a_sweep_is_a_grid_over_all_seeds():
    members = members_of(CONFIG, "0,1", ["weight_optimizer.learning_rate=0.01,0.02", "search.alpha_init_scale=0.1,0.2"])
    assert len(members) == 8 and len({member.name for member in members}) == 8
    assert members[0] == Member(0, ((RATE, 0.01), ("search.alpha_init_scale", 0.1)))
    assert members[0].name == "seed-0,learning_rate-0.01,alpha_init_scale-0.1"
    config = members[-1].config(CONFIG)
    assert (config.seed, config.search.weight_optimizer.learning_rate, config.search.alpha_init_scale) == (1, 0.02, 0.2)
    seeds, values = stacked(members)
    np.testing.assert_array_equal(seeds, [0, 1] * 4)
    np.testing.assert_allclose(values[RATE], np.repeat([0.01, 0.02], 4))


def test_names_tell_two_learning_rates_apart():
    sweeps = ["weight_optimizer.learning_rate=0.01,0.02", "alpha_optimizer.learning_rate=0.1"]
    first = members_of(CONFIG, None, sweeps)[0].name
    assert f"{RATE}-0.01" in first and "search.alpha_optimizer.learning_rate-0.1" in first


def test_values_are_put_where_rules_cannot_look():
    changed = with_values(CONFIG, {RATE: -1.0})  # a traced array would break the rule's comparison
    assert changed.search.weight_optimizer.learning_rate == -1.0
    assert CONFIG.search.weight_optimizer.learning_rate == 0.025
    assert dataclasses.replace(changed.search.alpha_optimizer) == CONFIG.search.alpha_optimizer


@pytest.mark.parametrize(
    ("seeds", "sweeps", "message"),
    [
        ("0", [], "--seeds is 0"),
        ("five", [], "--seeds is 'five'"),
        ("1,1", [], "every seed may be listed once"),
        (None, ["weight_optimizer.learning_rate"], "write NAME=VALUE,VALUE"),
        (None, ["weight_optimizer.learning_rat=0.1"], "did you mean 'weight_optimizer.learning_rate'"),
        (None, ["epochs=1,2"], "unknown hyper-parameter to sweep 'epochs'"),
        (None, ["weight_optimizer.learning_rate=0.1,x"], "'x' is not a number"),
        (None, ["weight_optimizer.learning_rate=0.1,0.1"], "lists a value twice"),
        (None, ["weight_optimizer.learning_rate=0.1,-1"], "it must be above 0"),
        (None, ["alpha_init_scale=1", "search.alpha_init_scale=2"], "is given twice"),
    ],
)
def test_nonsense_is_one_line(seeds, sweeps, message):
    with pytest.raises(UserError) as caught:
        members_of(CONFIG, seeds, sweeps)
    assert message in str(caught.value) and "\n" not in str(caught.value)
