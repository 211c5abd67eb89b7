import pytest
from hypothesis import given
from hypothesis import strategies as st

from jdarts.errors import UserError
from jdarts.genotypes import load, parse
from jdarts.genotypes.enas import MACRO_ARC, MACRO_OPS, MacroArchitecture, micro_cell, released_micro
from jdarts.networks.counting import count_nasbench201
from jdarts.networks.derived import check_derived
from jdarts.spaces import nasbench201


def test_the_released_micro_cells():
    normal, reduce = released_micro().cells.values()
    assert normal.nodes[0] == (("avg_pool_3x3", 0), ("sep_conv_3x3", 0))
    assert normal.nodes[4] == (("avg_pool_3x3", 0), ("sep_conv_5x5", 1))
    assert normal.concat == (2, 3, 4, 5, 6)
    assert reduce.nodes[2] == (("sep_conv_5x5", 1), ("sep_conv_5x5", 3))
    assert reduce.concat == (2, 4, 5, 6)


def test_the_released_macro_network():
    architecture = MacroArchitecture.read(MACRO_ARC)
    assert len(architecture.ops) == 24 and len(MACRO_ARC.split()) == 24 + 24 * 23 // 2 == 300
    assert architecture.ops[:3] == ("conv_3x3", "sep_conv_5x5", "conv_3x3")
    assert parse("ENAS_MACRO") == MacroArchitecture(
        tuple(op.replace("sep_", "") for op in architecture.ops), architecture.skips
    ), "the release builds dense convolutions"
    assert architecture.skips[:6] == ((), (), (0,), (2,), (), (0, 1, 3))


@st.composite
def architectures(draw):
    layers = draw(st.integers(1, 6))
    ops = tuple(draw(st.sampled_from(MACRO_OPS)) for _ in range(layers))
    return MacroArchitecture(ops, tuple(tuple(i for i in range(n) if draw(st.booleans())) for n in range(layers)))


@given(architectures())
def test_arcs_read_back(architecture):
    text = architecture.to_text()
    assert MacroArchitecture.read(text) == parse(text) == parse(architecture.to_json()) == architecture
    assert load(f"\n {text.replace(' ', ', ').replace(':,', ':')}\n") == architecture
    assert architecture.to_text() == "enas_macro: " + " ".join(map(str, architecture.tokens))
    possible = max(1, len(architecture.ops) * (len(architecture.ops) - 1) / 2)
    assert architecture.skip_rate == sum(map(len, architecture.skips)) / possible


def test_the_graph_of_a_macro_network():
    architecture = MacroArchitecture.read("0 3 1 5 0 1")
    assert architecture.normal.nodes == (
        (("conv_3x3", 0),),
        (("sep_conv_5x5", 1), ("skip_connect", 0)),
        (("max_pool_3x3", 2), ("skip_connect", 1)),
    )
    assert architecture.cells == {"normal": architecture.normal} and architecture.normal.concat == (3,)


@pytest.mark.parametrize(
    "use",
    [
        lambda macro: count_nasbench201(macro, channels=4, cells_per_stage=1, classes=2, image_size=8),
        lambda macro: check_derived(macro, channels=4, cells=3, image_size=8),
        lambda macro: nasbench201.encode(macro),
        lambda macro: nasbench201.one_hot(macro),
    ],
)
def test_what_needs_cells_refuses_a_macro_network(use):
    with pytest.raises(UserError, match="an ENAS macro architecture has layers and no cells"):
        use(MacroArchitecture.read("0 3 1 5 0 1"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: micro_cell("0 1 2"), "has 3 numbers; a node has four"),
        (lambda: micro_cell("0 1 2 0"), "node 0 of the arc has input 2 and op 0; inputs are 0 to 1"),
        (lambda: micro_cell("0 1 1 5"), "ops 0 to 4"),
        (lambda: micro_cell("0 1 1 -1"), "found '-1'"),
        (lambda: MacroArchitecture.read("0 3"), "layer 1 of the arc has 1 numbers; it needs 2"),
        (lambda: MacroArchitecture.read("0 3 2"), "layer 1 of the arc is"),
        (lambda: MacroArchitecture.read("6"), "layer 0 of the arc is"),
        (lambda: MacroArchitecture.read(""), "0 ops and 0 lists of skips"),
        (lambda: parse("enas_macro: 0 3"), "layer 1 of the arc has 1 numbers"),
        (lambda: parse("enas_macro: 0 x"), "an arc has whole numbers"),
        (lambda: parse('{"ops": ["conv_3x3"]}'), "genotype JSON lacks skips"),
        (lambda: parse('{"ops": ["conv_3x3"], "skips": [[]], "cells": 1}'), "unknown key"),
        (lambda: parse('{"ops": ["conv_3x3"], "skips": [0]}'), "skips is 0; expected a tuple or list"),
        (lambda: parse('{"ops": [["a"]], "skips": [[]]}'), "the op of layer 0 is"),
        (lambda: MacroArchitecture(("conv_3x3",) * 101, ((),) * 101), "has 101 layers; it may have at most 100"),
        (lambda: MacroArchitecture(("conv_1x1",), ((),)), "the op of layer 0 is 'conv_1x1'"),
        (lambda: MacroArchitecture(("conv_3x3",), ((0,),)), "the skips of layer 0 are"),
    ],
)
def test_wrong_arcs(make, words):
    with pytest.raises(UserError, match=words):
        make()
