"""Results of searches: cells that no network of a search has trained."""

import pytest

from jdarts.config import Experiment, SearchConfig, SpaceConfig
from jdarts.genotypes import parse
from jdarts.search.found import genotype_file, untrained

KINDS = ("normal", "reduce")


@pytest.mark.parametrize(
    ("method", "options", "cells", "said"),
    [
        ("darts", (), 3, ""),
        ("darts", (), 2, "space.cells is 2,"),
        ("p_darts", (), 1, ""),
        ("p_darts", ("cells=5,2,17",), 8, "the smallest number in the option cells of p_darts is 2,"),
        ("stac_nas", ("cells=1,20",), 8, "the smallest number in the option cells of stac_nas is 1,"),
    ],
)
def test_networks_of_one_or_two_cells_train_no_normal_cell(method, options, cells, said):
    """By hand: reduction cells stand at ⌊L/3⌋ and ⌊2L/3⌋, which are all cells for L = 1 and 2."""
    settings = SearchConfig(method=method, method_options=options)
    config = Experiment(space=SpaceConfig(cells=cells), search=settings)
    reason = untrained(config, KINDS)
    assert reason.startswith(said) and bool(reason) == bool(said)
    assert untrained(config, ("cell",)) == "", "NAS-Bench-201 has no reduction cells to choose"
    genotype = parse("DARTS_V2")
    text = genotype_file(config, genotype)
    assert parse(text) == genotype and (said in text if said else text == genotype.to_text() + "\n")
