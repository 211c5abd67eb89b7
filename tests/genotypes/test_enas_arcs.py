import pytest
from hypothesis import given
from hypothesis import strategies as st

from jdarts.errors import UserError
from jdarts.genotypes.enas import MACRO_ARC, MACRO_OPS, MacroArchitecture, micro_cell, released_micro


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
    assert architecture.skips[:6] == ((), (), (0,), (2,), (), (0, 1, 3))


@st.composite
def architectures(draw):
    layers = draw(st.integers(1, 6))
    ops = tuple(draw(st.sampled_from(MACRO_OPS)) for _ in range(layers))
    return MacroArchitecture(ops, tuple(tuple(i for i in range(n) if draw(st.booleans())) for n in range(layers)))


@given(architectures())
def test_arcs_read_back(architecture):
    assert MacroArchitecture.read(architecture.to_text()) == architecture


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
        (lambda: MacroArchitecture(("conv_1x1",), ((),)), "the op of layer 0 is 'conv_1x1'"),
        (lambda: MacroArchitecture(("conv_3x3",), ((0,),)), "the skips of layer 0 are"),
    ],
)
def test_wrong_arcs(make, words):
    with pytest.raises(UserError, match=words):
        make()
