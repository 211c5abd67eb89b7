"""The recurrent spaces: sizes, alphas, derivation, genotypes of other spaces."""

import dataclasses
import itertools
import math

import jax
import numpy as np
import pytest

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.genotypes import RecurrentGenotype, parse
from jdarts.genotypes.recurrent import ACTIVATIONS, RECURRENT_OPS

DARTS = spaces.darts_rnn
WITH_NODE_0 = parse("DARTS_RNN").to_text().replace("range(1", "range(0")


def test_sizes_are_the_published_formulas():
    assert DARTS.size == math.factorial(8) * 4**8 == 2_642_411_520
    assert spaces.enas_lm_rnn.size == DARTS.size
    assert spaces.enas_rnn.size == 4**12 * math.factorial(11), "12 nodes; node i ≥ 1 chooses among i predecessors"
    small = spaces.RecurrentSpace("small", 3, ACTIVATIONS[:2], "loose_ends")
    cells = {small.decode(c) for c in itertools.product(*(range(d.options) for d in small.decisions))}
    assert len(cells) == small.size == 6 * 2**3


def test_alphas_have_a_row_for_each_pair_of_nodes():
    assert DARTS.alpha_shapes == {"recurrent": (36, 5)}
    assert DARTS.edges[:4] == ((0, 1), (0, 2), (1, 2), (0, 3)) and DARTS.edges[-1] == (7, 8)
    assert DARTS.tables["recurrent"] == (RECURRENT_OPS,) * 36
    alphas = DARTS.init_alphas(jax.random.key(0))["recurrent"]
    assert alphas.shape == (36, 5) and 0.5e-3 < float(alphas.std()) < 1.5e-3


def test_derivation_follows_the_code_of_the_authors():
    """Against a reading of `_parse` of the DARTS code with loops; none is never chosen, ties go to the first."""
    for seed in range(20):
        p = np.random.default_rng(seed).integers(0, 4, (36, 5)) / 4.0
        nodes, start = [], 0
        for i in range(8):
            best = None
            for j in range(i + 1):
                for k in range(1, 5):
                    value = p[start + j, k]
                    if best is None or value > best[0]:
                        best = value, RECURRENT_OPS[k], j
            nodes.append(best[1:])
            start += i + 1
        assert DARTS.derive({"recurrent": p}) == RecurrentGenotype(tuple(nodes), tuple(range(1, 9)))


@pytest.mark.parametrize("name", ["DARTS_RNN", "DARTS_RNN_V1", "SDARTS_random_ptb"])
def test_one_hot_op_weights_are_derived_again(name):
    genotype = parse(name)
    p = DARTS.one_hot(genotype)
    assert DARTS.derive(p) == genotype == DARTS.decode(DARTS.encode(genotype))
    assert float(p["recurrent"].sum()) == 8


def test_random_genotypes_differ_and_are_reproducible():
    assert DARTS.random_genotype(1) == DARTS.random_genotype(1) != DARTS.random_genotype(2)


def test_weights_that_are_not_finite_are_refused():
    p = np.zeros((36, 5))
    p[4, 3] = np.nan
    with pytest.raises(UserError, match=r"row 4 \(edge 1→3\) is nan for sigmoid"):
        DARTS.derive({"recurrent": p})


@pytest.mark.parametrize(
    ("space", "genotype", "message"),
    [
        (DARTS, "DARTS_V2", "does not belong to space darts_rnn; expected a recurrent cell of 8 nodes"),
        (DARTS, "ENAS_RNN", "expected a recurrent cell of 8 nodes behind node 0"),
        (DARTS, WITH_NODE_0, r"the nodes \[0, 1, 2, .*; in space darts_rnn it is that of \[1, 2"),
        (spaces.enas_rnn, "DARTS_RNN", "expected a recurrent cell of 11 nodes"),
    ],
)
def test_genotypes_of_other_spaces_are_refused(space, genotype, message):
    with pytest.raises(UserError, match=message):
        space.encode(parse(genotype))


def test_node_0_of_darts_has_tanh():
    with pytest.raises(UserError, match="node 0 has relu; in space darts_rnn it has tanh"):
        DARTS.encode(dataclasses.replace(parse("DARTS_RNN"), first="relu"))


def test_the_space_of_a_search_of_images_does_not_know_them():
    assert spaces.get_decisions("enas_rnn") is spaces.enas_rnn
    with pytest.raises(UserError, match="space darts_rnn is one of language models"):
        spaces.get("darts_rnn")
