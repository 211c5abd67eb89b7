"""Methods with every kind of random draw and edge, on eight devices as on one: draws are shared, means are global."""

import pytest
from support.device_problems import config_with, largest_difference, run

from jdarts import methods
from jdarts.methods import compose

METHODS = {
    "smooth, with skips and edge weights": lambda: compose(
        methods.pc_darts(parts=1, alpha_start=0), methods.darts_minus(), methods.sdarts_adv(steps=2)
    ),
    "sampled, weights first": lambda: compose(methods.gdas(), methods.beta_darts()),
    "dropped ops, single level": methods.drop_nas,
}


@pytest.mark.parametrize("name", METHODS)
def test_eight_devices_equal_one(name):
    method = METHODS[name]()
    config = config_with(hypergradient=method.hypergradient)
    one = run(config, steps=3, method=method, backend="jit")
    many = run(config, steps=3, method=method, backend="shard_map", data=8)
    assert largest_difference(one, many) < 1e-9
