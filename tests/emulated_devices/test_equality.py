"""Five steps on eight devices equal those on one with the same global batch, in float64."""

from dataclasses import replace

import numpy as np
import pytest
from support.device_problems import CONFIG, TINY, config_with, largest_difference, leaves, member, run

from jdarts import kernels
from jdarts.config import SpaceConfig
from jdarts.spaces import PerCellSpace

CASES = {
    "first_order": {"hypergradient": "first_order"},
    "unrolled": {"hypergradient": "unrolled"},
    "look_back": {"hypergradient": "look_back"},
    "two_steps": {"hypergradient": "unrolled", "unroll_steps": 2},
    "single_level": {"hypergradient": "single_level"},
    "microbatches": {"hypergradient": "first_order", "microbatches": 2},
}
_one = {}


def on_one_device(case: str):
    if case not in _one:
        _one[case] = run(config_with(**CASES[case]), steps=5, backend="jit")
    return _one[case]


@pytest.mark.parametrize("case", CASES)
def test_shard_map(case):
    many = run(config_with(**CASES[case]), steps=5, backend="shard_map", data=8)
    assert len(many.step.sharding.device_set) == 8
    assert largest_difference(on_one_device(case), many) < 1e-9


def test_pmap():
    many = run(config_with(**CASES["unrolled"]), steps=5, backend="pmap")
    assert len(many.step.sharding.device_set) == 8
    assert largest_difference(on_one_device("unrolled"), many) < 1e-9


def test_two_seeds_on_four_devices_each():
    many = run(config_with(**CASES["unrolled"]), steps=5, seeds=(0, 1), backend="shard_map", seed=2, data=4)
    assert largest_difference(on_one_device("unrolled"), member(many, 0)) < 1e-9
    assert largest_difference(member(many, 0), member(many, 1)) > 1e-2


def test_alphas_of_each_cell():
    config = replace(config_with(hypergradient="first_order"), space=SpaceConfig(channels=2, cells=3))
    each = {"space": PerCellSpace(TINY, 3), "steps": 3}
    one, many = run(config, backend="jit", **each), run(config, backend="shard_map", data=8, **each)
    assert sorted(many.alphas) == ["cell_0", "cell_1", "cell_2"]
    assert largest_difference(one, many) < 1e-9


def test_joint_batch_norms_see_all_devices():
    alone = on_one_device("unrolled")  # in the form for the CPU
    with kernels.for_accelerators():
        many = run(config_with(**CASES["unrolled"]), steps=5, backend="shard_map", data=8)
    assert largest_difference(alone, many) < 1e-9


def test_the_comparison_means_something():
    moved, start = leaves(on_one_device("unrolled")), leaves(run(CONFIG, steps=0, backend="jit"))
    for part in (".alphas['reduce']", ".weights", ".batch_stats", ".alpha_opt_state", ".weight_opt_state"):
        names = [name for name in moved if name.startswith(part)]
        assert names and all(np.abs(moved[name] - start[name]).max() > 0 for name in names)
