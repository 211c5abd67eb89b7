"""Single paths on eight devices as on one: the paths are shared, and path k sees the same images on any number."""

import dataclasses

import pytest
from support.chains import S5
from support.device_problems import config_with, largest_difference, run

from jdarts import methods

TWO_LAYERS = dataclasses.replace(S5, candidates=S5.candidates[:2], dropout=0.3)


OPTIONS = {"proxyless_nas": ("warm_up=0", "alpha_every=2")}


@pytest.mark.parametrize("name", ["spos", "fairnas", "gdas", "proxyless_nas"])
def test_eight_devices_equal_one(name):
    method, config = methods.build(name, OPTIONS.get(name, ())), config_with(batch_size=64, epochs=1)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, source="synthetic:8x8x3:4:128"))
    built = {"steps": 2, "space": TWO_LAYERS, "method": method}
    one, many = run(config, backend="jit", **built), run(config, backend="shard_map", data=8, **built)
    assert largest_difference(one, many) < 1e-9
