import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.genotypes import BlockCell, block_cell, parse
from jdarts.genotypes.enas import MACRO_ARC, MICRO_ARC, MICRO_OPS, MacroArchitecture, released_micro
from jdarts.networks.of_genotype import check_network
from jdarts.spaces import enas_micro
from jdarts.spaces.block_spaces import BlockSpace, nasnet, nasnet_8, pnas
from jdarts.spaces.decisions import all_canonical, combinations, is_canonical, uniform
from jdarts.spaces.enas_macro import EnasMacroSpace, enas_macro
from jdarts.spaces.progressive_blocks import ProgressiveBlocks, pnas_progressive

SPACES = (nasnet, nasnet_8, pnas, pnas_progressive, enas_micro)
SMALL = BlockSpace("small", ("skip_connect", "conv_1x1"), "pnasnet", blocks=2)


@pytest.mark.parametrize("space", [*SPACES, enas_macro], ids=lambda space: space.name)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_encode_and_decode_are_inverse(space, seed):
    architecture = space.decode(uniform(space, np.random.default_rng(seed)))
    canonical = space.encode(architecture)
    assert is_canonical(space, canonical) and space.decode(canonical) == architecture
    assert parse(architecture.to_text()) == architecture
    check_network(architecture, channels=8, cells=6, image_size=32)


def test_uniform_choices_reach_every_architecture():
    everything = set(all_canonical(SMALL))
    assert len(everything) == SMALL.size == (4 * 5 // 2) * (6 * 7 // 2)
    rng = np.random.default_rng(0)
    assert {SMALL.encode(SMALL.decode(uniform(SMALL, rng))) for _ in range(8000)} == everything


def test_sizes_are_the_published_ones():
    """NASNet: (2·3·4·5·6)²·8¹⁰ ordered cells; PNAS: pairs of operands of each block; ENAS: (2·3·4·5·6)²·5¹⁰."""
    assert combinations(pnas.decisions) == 720**2 * 8**10 == combinations(nasnet_8.decisions[:20])
    assert [BlockSpace("one", pnas.ops, "pnasnet", blocks=1).size, pnas.size] == [
        136,
        136 * 300 * 528 * 820 * 1176,
    ]
    assert nasnet_8.size == pnas.size**2
    assert combinations(enas_micro.decisions[:20]) == 720**2 * 5**10
    assert len(enas_macro.decisions) == 78 and len(EnasMacroSpace(layers=24).decisions) == 300
    assert enas_macro.size == 6**12 * 2**66
    assert len(nasnet.ops) == 13 and math.isclose(combinations(nasnet.decisions), (720**2 * 13.0**10) ** 2)


def test_released_architectures_have_choices():
    assert enas_micro.decode(enas_micro.encode(released_micro())).cells.keys() == {"normal", "reduce"}
    arc = [int(number) for number in MICRO_ARC[0].split()]
    found = enas_micro.encode(released_micro())[:20]
    for node in range(5):
        x, x_op, y, y_op = arc[4 * node : 4 * node + 4]
        (first, second), (op_1, op_2) = found[4 * node : 4 * node + 2], found[4 * node + 2 : 4 * node + 4]
        assert {(first, op_1), (second, op_2)} == {(x, x_op), (y, y_op)}
    pnasnet = parse("PNASNET5_CIFAR")
    assert sorted(pnas.decode(pnas.encode(pnasnet)).normal.nodes[0]) == sorted(pnasnet.normal.nodes[0])
    architecture = MacroArchitecture.read(MACRO_ARC)
    assert EnasMacroSpace(layers=24).encode(architecture) == tuple(map(int, MACRO_ARC.split()))


def test_the_order_of_two_inputs_has_no_meaning():
    choices = list(pnas.encode(parse("PNASNET5_CIFAR")))
    swapped = [choices[1], choices[0], choices[3], choices[2], *choices[4:]]
    assert pnas.decode(swapped) == pnas.decode(choices)
    assert not is_canonical(pnas, swapped) and is_canonical(pnas, choices)
    assert [decision.name for decision in pnas.decisions[:4]] == [
        f"normal.2.{name}" for name in ("input_1", "input_2", "op_1", "op_2")
    ]


CELL = block_cell([(("skip_connect", 0), ("conv_1x1", 1))])


@pytest.mark.parametrize(
    ("encode", "words"),
    [
        (lambda: pnas.encode(parse("NASNET_A_CIFAR")), "has genotypes of the family pnasnet; found 'nasnet'"),
        (lambda: nasnet.encode(parse("DARTS_V2")), "found 'Genotype'"),
        (lambda: nasnet.encode(parse("NASNET_A_CIFAR")), r"the normal cell has the output \[0, 2, 3, 4, 5, 6\]"),
        (lambda: SMALL.encode(replace(parse("PNASNET5_CIFAR"))), "does not belong to space small, which has 2 blocks"),
        (lambda: enas_macro.encode(MacroArchitecture.read("0 1 0")), "expected a MacroArchitecture of 12 layers"),
        (lambda: EnasMacroSpace(layers=0), "layers of space enas_macro is 0; use a whole number of 1 to 100"),
        (lambda: pnas.decode((9,) * 20), "decision normal.2.input_1 of space pnas is 9"),
    ],
)
def test_architectures_of_other_spaces_are_refused(encode, words):
    with pytest.raises(UserError, match=words):
        encode()


def test_an_op_of_another_space_is_refused():
    one = BlockSpace("one", MICRO_OPS, "enas", blocks=1)
    with pytest.raises(UserError, match="the normal cell has the op conv_1x1; space one has sep_conv_3x3"):
        one.encode(replace(released_micro(), normal=CELL))
    assert isinstance(CELL, BlockCell)


@pytest.mark.parametrize("space", [*SPACES, enas_macro], ids=lambda space: space.name)
def test_spaces_are_found_by_name(space):
    assert spaces.get_decisions(space.name) is space


def test_a_progressive_space_contains_all_smaller_cells():
    space = ProgressiveBlocks("small_progressive", SMALL)
    assert (
        space.size == 10 + SMALL.size == len(set(all_canonical(space)))
        and pnas_progressive.levels[-1].size == pnas.size
    )
    whole, one = pnas.encode(parse("PNASNET5_CIFAR")), pnas_progressive.decode((0, 1, 0, 2, 3, *[1] * 16))
    assert pnas_progressive.decode((4, *whole)) == pnas.decode(whole)
    assert len(one.normal.nodes) == 1 and pnas_progressive.encode(one) == (0, 0, 1, 3, 2, *[0] * 16)
    grown = {tuple(row) for row in space.growth.extended(space.growth.first(), 2).tolist()}
    assert len(grown) == 10 * 21 and all(is_canonical(space, choices) for choices in grown), "each once"
    with pytest.raises(UserError, match="space nasnet cannot grow block by block"):
        ProgressiveBlocks("two", nasnet)
    with pytest.raises(UserError, match="has genotypes of the family pnasnet"):
        pnas_progressive.encode(parse("NASNET_A_CIFAR"))
