"""Blocks of mobile networks: keys of ProxylessNAS' release, sums over layers, tables in both formats."""

import numpy as np
import pytest
from support.mobile import mobile

from jdarts import latency, spaces
from jdarts.errors import UserError
from jdarts.genotypes import load_architecture
from jdarts.genotypes.macro import MacroNetwork
from jdarts.networks.mobile.size import count_mobile
from jdarts.spaces.decisions import uniform


def test_keys_are_those_of_the_proxyless_release():
    keys = [block and block.key for block in latency.blocks_of(load_architecture("PROXYLESS_MOBILE"))]
    assert keys[0] == "Conv-input:224x224x3-output:112x112x32"
    assert keys[1] == ("expanded_conv-input:112x112x32-output:112x112x16-expand:1-kernel:3-stride:1-idskip:0")
    assert keys[2] == "expanded_conv-input:112x112x16-output:56x56x32-expand:3-kernel:5-stride:2-idskip:0"
    assert keys[3] == "expanded_conv-input:56x56x32-output:56x56x32-expand:3-kernel:3-stride:1-idskip:1"
    assert keys[-2:] == ["Conv_1-input:7x7x320-output:7x7x1280", "Logits-input:7x7x1280-output:1000"]


def test_identities_have_no_block_and_everything_else_its_own():
    text = (
        "mnasnet: conv_k3_c8 identity_c8 identity_c16_s2 mb_k3_e2_se0.5_c16_swish mb_k3_c16_poolskip conv_k3_c16 "
        "conv_k1_c32"
    )
    blocks = latency.blocks_of(mobile(text), image_size=(8, 6), classes=3)
    assert blocks[1] is None
    assert [block.key for block in blocks if block] == [
        "Conv-input:8x6x3-output:8x6x8",
        "identity-input:8x6x8-output:4x3x16-kernel:1-stride:2",
        "expanded_conv-input:4x3x16-output:4x3x16-expand:2-kernel:3-stride:1-idskip:1-se:0.5-act:swish",
        "expanded_conv-input:4x3x16-output:4x3x16-expand:1-kernel:3-stride:1-idskip:1-pool",
        "conv-input:4x3x16-output:4x3x16-kernel:3-stride:1-idskip:0",
        "Conv_1-input:4x3x16-output:4x3x32",
        "Logits-input:4x3x32-output:3",
    ]


@pytest.mark.parametrize("name", ["nasbench_macro", "proxyless", "mobile_s5", "fairnas", "spos"])
def test_sums_over_layers_are_the_sizes_of_whole_networks(name):
    space, rng = spaces.get_decisions(name), np.random.default_rng(3)
    costs = [latency.choice_costs(space, f) for f in (latency.block_parameters, latency.block_macs)]
    for _ in range(5):
        choices = uniform(space, rng)
        network = space.decode(choices)
        count = count_mobile(network.to_mobile() if isinstance(network, MacroNetwork) else network)
        assert [cost.of(choices) for cost in costs] == [count.parameters, count.macs]
    assert costs[0].rows(7).shape == (len(space.decisions), 7)


def macro_table(**changes):
    """A table of NAS-Bench-Macro whose entries are 1, 2, 3, … milliseconds."""
    keys = latency.keys_of(spaces.nasbench_macro, classes=10, image_size=32)
    return latency.LatencyTable({key: float(i) for i, key in enumerate(keys, start=1)} | changes, ("one", "two"))


PLACE = {"classes": 10, "image_size": 32}


def test_a_prediction_is_the_sum_of_the_entries():
    table = macro_table()
    layers = [
        "Conv-input:32x32x3-output:32x32x32",
        "identity-input:32x32x32-output:16x16x64-kernel:1-stride:2",
        "expanded_conv-input:16x16x64-output:16x16x64-expand:6-kernel:5-stride:1-idskip:1",
        "expanded_conv-input:16x16x64-output:8x8x128-expand:3-kernel:3-stride:2-idskip:0",
        "expanded_conv-input:8x8x128-output:4x4x256-expand:6-kernel:5-stride:2-idskip:0",
        "Conv_1-input:4x4x256-output:4x4x1280",
        "Logits-input:4x4x1280-output:10",
    ]
    expected = sum(table.milliseconds[key] for key in layers)
    assert table.predict(MacroNetwork("02100200"), **PLACE) == expected
    assert table.costs(spaces.nasbench_macro, **PLACE).of((0, 2, 1, 0, 0, 2, 0, 0)) == expected


def test_tables_are_read_as_they_were_written(tmp_path):
    table = macro_table(other=0.123456)
    latency.write_table(table, tmp_path / "t.yaml")
    read = latency.read_table(tmp_path / "t.yaml")
    assert (read.milliseconds, read.source) == ({**table.milliseconds, "other": 0.1235}, ("one", "two"))
    costs = table.costs(spaces.nasbench_macro, **PLACE)
    latency.write_fbnet(costs, tmp_path / "t.txt")
    assert latency.read_fbnet(tmp_path / "t.txt").layers == costs.layers


def test_the_first_row_of_fbnets_published_table(tmp_path):
    (tmp_path / "lookup_table.txt").write_text("5129.8 3028.8 3866.5 8468.8 3186.4 4322.7 5608.3 5909.2 1.61\n")
    layers = latency.read_fbnet(tmp_path / "lookup_table.txt").layers
    np.testing.assert_allclose(layers, [[5.1298, 3.0288, 3.8665, 8.4688, 3.1864, 4.3227, 5.6083, 5.9092, 0.00161]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: {mean: -1}", "the latency of 'a' is -1"),
        ("a: {mean: fast}", "the latency of 'a' is 'fast'"),
        ("a: [1", "line 1 is no YAML"),
        ("- 1", "is no table of latencies"),
        ("!!python/object/apply:os.system ['true']", "is no YAML"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, content, message):
    (tmp_path / "t.yaml").write_text(content)
    with pytest.raises(UserError, match=message):
        latency.read_table(tmp_path / "t.yaml")


@pytest.mark.parametrize(("content", "message"), [("1 two", "line 1"), ("", "no numbers"), ("-1 2", "at least 0")])
def test_wrong_fbnet_tables_are_refused(tmp_path, content, message):
    (tmp_path / "t.txt").write_text(content)
    with pytest.raises(UserError, match=message):
        latency.read_fbnet(tmp_path / "t.txt")


def test_what_has_no_table_is_refused():
    with pytest.raises(UserError, match=r"the table has no block Conv-input:64x64x3"):
        macro_table().predict(MacroNetwork("0" * 8), classes=10, image_size=64)
    with pytest.raises(UserError, match="space nasbench201 has no costs for each layer"):
        latency.keys_of(spaces.nasbench201)
    with pytest.raises(UserError, match="is no mobile network"):
        latency.blocks_of(load_architecture("DARTS_V2"))
