import pytest

from jdarts.errors import UserError
from jdarts.genotypes import Cell, Genotype, published


def test_all_names_are_there_once_and_decode():
    names = published.names()
    assert len(set(names)) == len(names) == 176 + 8
    assert all(isinstance(published.get(name), Genotype) for name in names)
    assert all(published.source(name) for name in names)


def test_darts_v2_is_the_published_cell():
    assert published.get("DARTS_V2") == Genotype(
        normal=Cell(
            (
                (("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
                (("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
                (("sep_conv_3x3", 1), ("skip_connect", 0)),
                (("skip_connect", 0), ("dil_conv_3x3", 2)),
            ),
            (2, 3, 4, 5),
        ),
        reduce=Cell(
            (
                (("max_pool_3x3", 0), ("max_pool_3x3", 1)),
                (("skip_connect", 2), ("max_pool_3x3", 1)),
                (("max_pool_3x3", 0), ("skip_connect", 2)),
                (("skip_connect", 2), ("max_pool_3x3", 1)),
            ),
            (2, 3, 4, 5),
        ),
    )


def test_concats_of_the_hand_designed_translations():
    amoebanet = published.get("AmoebaNet")
    assert amoebanet.normal.concat == (4, 5, 6)
    assert amoebanet.cells["reduce"].concat == (3, 4, 6)
    assert amoebanet.cells["reduce"].nodes[4] == (("conv_7x1_1x7", 0), ("sep_conv_3x3", 5))


def test_sparse_cells_keep_edges_from_absent_nodes_but_skip_them():
    normal = published.get("FairDARTS_g").normal
    assert normal.concat == normal.present == (2, 4, 5)
    assert normal.nodes[2] == (("skip_connect", 3), ("sep_conv_5x5", 1))
    assert normal.live_nodes[2] == (("sep_conv_5x5", 1),)


@pytest.mark.parametrize("function", [published.get, published.source])
def test_an_unknown_name_is_answered_with_the_nearest(function):
    with pytest.raises(UserError, match="unknown genotype 'DARTS_2'; did you mean 'DARTS_V2'"):
        function("DARTS_2")
