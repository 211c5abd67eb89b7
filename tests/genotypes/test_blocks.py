import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jdarts.errors import UserError
from jdarts.genotypes import BLOCK_OPS, BlockCell, BlockGenotype, Cell, Genotype, block_cell, load, parse
from jdarts.genotypes.published_networks import find, networks

BLOCK = ((("sep_conv_3x3", 0), ("skip_connect", 1)),)


@st.composite
def cells(draw):
    nodes = []
    for target in range(2, 2 + draw(st.integers(1, 5))):
        edge = st.tuples(st.sampled_from(BLOCK_OPS), st.integers(0, target - 1))
        nodes.append((draw(edge), draw(edge)))
    return block_cell(nodes)


@given(cells(), cells(), st.sampled_from(["nasnet", "amoebanet", "pnasnet", "enas"]), st.booleans())
def test_text_reads_back(normal, reduce, family, skip):
    skip = skip and family in ("nasnet", "pnasnet")
    genotype = BlockGenotype(normal, normal if family == "pnasnet" else reduce, family, skip)
    assert parse(genotype.to_text()) == parse(genotype.to_json()) == genotype
    assert parse(f"12:00:01 found {genotype.to_text()}\nnext line") == genotype


def test_the_output_is_what_no_block_reads():
    assert block_cell([(("skip_connect", 1), ("skip_connect", 1)), (("conv_1x1", 2), ("conv_1x1", 1))]).concat == (0, 3)
    assert block_cell(BLOCK).concat == (2,)


def test_a_block_genotype_is_not_the_genotype_of_its_cells():
    cell = block_cell(BLOCK)
    assert BlockGenotype(cell, cell) != Genotype(cell, cell) != BlockGenotype(cell, cell, "amoebanet")


@pytest.mark.parametrize("name", networks())
def test_published_networks_are_found_by_name(name):
    genotype = networks()[name].genotype
    assert parse(name) == load(name.lower().replace("_", "-")) == parse(genotype.to_text()) == genotype
    assert networks()[name].source


def test_inputs_are_counted_from_the_older_cell():
    """The release counts the cell before as 0, jdarts as 1."""
    found = find("NASNET_A_MOBILE")
    assert found is not None
    assert found.genotype.normal.nodes[0] == (("sep_conv_5x5", 1), ("sep_conv_3x3", 0))
    assert found.genotype.normal.concat == (0, 2, 3, 4, 5, 6)
    assert find("DARTS_V2") is None


CELL = block_cell(BLOCK)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BlockCell(((("skip_connect", 0),),), (2,)), "node 2 has 1 edges; a block has two inputs"),
        (lambda: BlockCell(BLOCK, (3,)), "concat contains 3; the nodes of this cell are 0 to 2"),
        (lambda: BlockGenotype(CELL, None), "the reduce cell of a nasnet genotype must be a BlockCell"),
        (lambda: BlockGenotype(Cell(BLOCK, (2,)), CELL), "the normal cell of a nasnet genotype must be a BlockCell"),
        (
            lambda: BlockGenotype(CELL, CELL, cast(Any, "nasnat")),
            "'nasnat'; did you mean 'nasnet'",
        ),
        (lambda: BlockGenotype(CELL, BlockCell(BLOCK, (0, 2)), "pnasnet"), "a pnasnet genotype has one cell"),
        (lambda: BlockGenotype(CELL, CELL, "enas", True), "enas networks do not have this wiring"),
        (
            lambda: BlockGenotype(CELL, CELL, "nasnet", cast(Any, 1)),
            "layer_input is 1; use true or false",
        ),
    ],
)
def test_wrong_cells_and_genotypes(make, words):
    with pytest.raises(UserError, match=words):
        make()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": 3}, "family: found 3, expected one of"),
        ({"familiy": "nasnet"}, "unknown key of a genotype in JSON 'familiy'"),
        ({"normal": None}, "normal: found None"),
        ({"reduce": {"nodes": [], "concat": [0]}}, None),
    ],
)
def test_wrong_json(change, words):
    fields = json.loads(BlockGenotype(CELL, CELL).to_json()) | change
    if words is None:  # a cell without blocks hands on its input
        assert parse(json.dumps(fields)).cells["reduce"].nodes == ()
        return
    with pytest.raises(UserError, match=words):
        parse(json.dumps(fields))


def test_json_without_a_cell():
    fields = json.loads(BlockGenotype(CELL, CELL).to_json())
    del fields["reduce"]
    with pytest.raises(UserError, match="genotype JSON lacks reduce"):
        parse(json.dumps(fields))
