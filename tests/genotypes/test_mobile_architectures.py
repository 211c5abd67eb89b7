"""Mobile networks as values: text, JSON, codes and names, widths, and mistakes."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mobile import mobile

from jdarts.errors import UserError
from jdarts.genotypes import MobileArchitecture, MobileLayer, load, load_architecture, parse, parse_architecture
from jdarts.genotypes.macro import MacroNetwork
from jdarts.genotypes.mobile import ACTIVATION_NAMES, MOBILE_FAMILIES, SKIPS
from jdarts.genotypes.published_mobile import networks

TEXT = "mnasnet: conv_k3_c16_s2 mb_k5_e3_se0.25_c24_s2 mb_k3_e6_c24_swish_noskip identity_c24 conv_k1_c64 dropout_0.2"
NETWORK = mobile(TEXT)

layers = st.one_of(
    st.builds(
        MobileLayer,
        st.just("mb"),
        st.integers(1, 99),
        st.sampled_from((1, 3, 5, 7)),
        expansion=st.integers(1, 6),
        squeeze=st.sampled_from((0, 0.25, 0.0625, 1)),
        stride=st.integers(1, 2),
        activation=st.sampled_from(("", *ACTIVATION_NAMES)),
        skip=st.sampled_from(("", *SKIPS)),
    ),
    st.builds(MobileLayer, st.just("conv"), st.integers(1, 99), st.sampled_from((1, 3)), skip=st.sampled_from(SKIPS)),
    st.builds(MobileLayer, st.just("identity"), st.integers(1, 99), stride=st.integers(1, 2)),
)


@settings(max_examples=60, deadline=None)
@given(
    family=st.sampled_from(sorted(MOBILE_FAMILIES)),
    inner=st.lists(layers, max_size=6),
    dropout=st.sampled_from((0, 0.1, 0.25)),
)
def test_text_and_json_give_an_equal_network(family, inner, dropout):
    network = MobileArchitecture(family, (MobileLayer("conv", 8, stride=2), *inner), dropout)
    assert parse_architecture(network.to_text()) == network
    assert parse_architecture(network.to_json()) == network


def test_the_fields_of_a_text():
    stem, squeezed, plain, same, head = NETWORK.layers
    assert stem == MobileLayer("conv", 16, 3, stride=2)
    assert squeezed == MobileLayer("mb", 24, 5, expansion=3, squeeze=0.25, stride=2)
    assert (plain.expansion, plain.activation, plain.skip) == (6, "swish", "none")
    assert (same.op, head.kernel, NETWORK.dropout, NETWORK.family) == ("identity", 1, 0.2, "mnasnet")
    assert NETWORK.to_text() == TEXT
    assert [NETWORK.has_skip(i) for i in range(5)] == [False] * 5, "none, stride 2, or another op"


def test_a_skip_that_cannot_act_does_not_make_another_network():
    a, b = (parse_architecture(f"fairnas: conv_k3_c8 mb_k3_c16{skip}") for skip in ("", "_noskip"))
    assert a == b
    a, b = (parse_architecture(f"fairnas: conv_k3_c8 mb_k3_c8{skip}") for skip in ("", "_noskip"))
    assert a != b
    assert parse_architecture("fairnas: conv_k3_c8_relu6") == parse_architecture("fairnas: conv_k3_c8")


@pytest.mark.parametrize("name", networks())
def test_published_networks_are_read_by_name_and_text(name):
    network = networks()[name].architecture
    assert parse_architecture(name.lower().replace("_", "-")) == network
    assert parse_architecture(network.to_text()) == network
    assert parse_architecture(network.to_json()) == network


def test_networks_in_files(tmp_path):
    log = tmp_path / "run.log"
    log.write_text(f"epoch 3\n2024-05-01 best = '{TEXT}'\nend\n")
    code = tmp_path / "genotype.txt"
    code.write_text("22212220\n")
    settings = tmp_path / "search.jsonl"
    settings.write_text(f'settings {{"dropout": 0.3, "layers": 8}}\n12:00 best {NETWORK.to_json()}\nend\n')
    both = tmp_path / "both.txt"
    both.write_text(f"{TEXT}\n{TEXT}\n")
    assert load_architecture(str(log)) == NETWORK
    assert load_architecture(str(settings)) == NETWORK, "not the record of settings before it"
    assert load_architecture(str(code)) == MacroNetwork("22212220").to_mobile()
    with pytest.raises(UserError, match=r"both\.txt': the text holds 2 mobile networks"):
        load_architecture(str(both))


def test_where_cells_are_needed_a_mobile_network_is_refused():
    for read in (parse, load):
        with pytest.raises(UserError, match="is a mobile network, which has no cells"):
            read("SPOS")


def test_widths_are_multiplied_by_the_rule_of_mobilenet():
    widths = lambda network: [layer.width for layer in network.layers]  # noqa: E731
    small = mobile("PROXYLESS_MOBILE").scaled(0.5)
    assert widths(small)[:4] == [16, 8, 16, 16]
    assert widths(small)[-2:] == [160, 640]
    # 0.35 · 64 = 22.4 → 24; 0.35 · 32 = 11.2 → 8, which is less than 0.9 · 11.2, so 16 (MobileNetV2's _make_divisible)
    assert widths(mobile("fairnas: conv_k3_c64 mb_k3_c32").scaled(0.35)) == [24, 16]
    assert NETWORK.scaled(1) is NETWORK
    for wrong in (0, -1, 101, float("nan")):
        with pytest.raises(UserError, match="width multiplier is"):
            NETWORK.scaled(wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fairnas: conv_k3_c32_q2", "'q2' is unknown; write layers as"),
        ("fairnas: conv_k3_c32_c32", "'c32' is there twice"),
        ("fairnas: conv_k3.5_c32", "'k3.5' is unknown"),
        ("fairnas: conv_k3", "it has no width"),
        ("fairnas: conv_k2_c3", "kernel of a layer conv is 2; use an odd number"),
        ("fairnas: conv_k3_c8 mb_k3_c8_s3", "stride of a layer mb is 3; use a whole number of 1 to 2"),
        ("fairnas: conv_k3_c8 mb_k3_c0", "width of a layer mb is 0"),
        ("fairnas: conv_k3_c8_e3", "a layer conv has expansion 3; only mb has it"),
        ("fairnas: conv_k3_c8 identity_c8_se0.5", "a layer identity has squeeze 0.5; only mb, conv has it"),
        ("fairnas: conv_k3_c8 mbb_k3_c8", "unknown op of a mobile network 'mbb'; did you mean 'mb'"),
        ("fairnas: mb_k3_c8", "the first layer of a mobile network is mb_k3_c8; it must be a conv"),
        ("fairnas: conv_k3_c8 dropout_1", "'dropout_1' is no dropout"),
        ("spos: conv_k3_c8 shuffle_k3_c16", "reads 8 channels; at stride 1 it needs as many"),
        ("spos: conv_k3_c9 shuffle_k3_c9", "an even number"),
        ("spos: conv_k3_c16 xception_c16_s2", "reads 16 channels; at stride 2 it needs more itself"),
        ("0221002", "cannot read '0221002' as a genotype"),
        ("FAIRNASA", "did you mean 'FAIRNAS_A'"),
        ('{"layers": [], "mobile": "fairnas"}', "has 0 layers; it needs 1 to 200"),
        ('{"layers": [{"op": "conv"}], "mobile": "fairnas"}', "layer 0 in JSON is"),
        ('{"layers": [{"op": "conv", "width": 8, "x": 1}], "mobile": "fairnas"}', "unknown key of layer 0 in JSON 'x'"),
        ('{"layers": [{"op": "conv", "width": 1.5}], "mobile": "fairnas"}', "width of a layer conv is 1.5"),
        ('{"layers": [{"op": ["conv"], "width": 8}], "mobile": "fairnas"}', "unknown op of a mobile network"),
        ('{"layers": [{"op": "conv", "width": 8}], "mobile": "fernas"}', "unknown family of a mobile network"),
        ('{"layers": [{"op": "conv", "width": 8, "skip": []}], "mobile": "fairnas"}', "unknown skip"),
        ('{"dropout": 0.1, "mobile": "fairnas"}', "lacks layers"),
        ('{"layers": [], "mobile": "fairnas", "cells": 1}', "unknown key of a mobile network in JSON 'cells'"),
    ],
)
def test_mistakes_are_told_in_one_line(text, message):
    with pytest.raises(UserError) as error:
        parse_architecture(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_json_leaves_out_defaults():
    fields = json.loads(NETWORK.to_json())
    assert fields["layers"][0] == {"op": "conv", "stride": 2, "width": 16}
    assert (fields["mobile"], fields["dropout"]) == ("mnasnet", 0.2)
