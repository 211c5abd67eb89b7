"""Derivations: thresholds, pairs, most probable cells, the limit on skips."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.derivation import best_of, best_pairs, limit_skips, most_probable, random_genotypes, skips_in, threshold
from jdarts.spaces import darts_cnn, darts_cnn_7, nasbench201
from jdarts.spaces.cells import row

KEY = jax.random.key(0)


def zeros(space, value=0.0):
    return {c: np.full(shape, value) for c, shape in space.alpha_shapes.items()}


def column(op):
    return darts_cnn_7.normal[0].index(op)


def test_threshold_keeps_strong_ops_of_the_two_best_edges_only():
    p = zeros(darts_cnn_7, 0.5)
    p["normal"][row(0, 2), column("sep_conv_3x3")] = 0.9
    p["normal"][row(1, 3), column("dil_conv_3x3")] = 0.86
    for source, score in ((0, 0.95), (1, 0.9), (2, 0.99)):  # three strong edges into node 4
        p["normal"][row(source, 4), column("skip_connect")] = score
    genotype = threshold(darts_cnn_7, p, 0.85)
    assert genotype.normal.nodes[0] == (("sep_conv_3x3", 0),)
    assert genotype.normal.nodes[1] == (("dil_conv_3x3", 1),)
    assert genotype.normal.nodes[2] == (("skip_connect", 2), ("skip_connect", 0))
    assert genotype.normal.concat == (2, 3, 4)
    # a cell in which nothing reaches the threshold keeps its strongest edge from an input
    assert genotype.reduce.nodes == ((("max_pool_3x3", 0),),)


def test_threshold_drops_what_hangs_on_absent_nodes():
    p = zeros(darts_cnn_7, 0.1)
    p["normal"][row(2, 3), 0] = 0.99  # node 2 has no input
    p["normal"][row(0, 5), 0] = 0.99
    genotype = threshold(darts_cnn_7, p, 0.85)
    assert genotype.normal.concat == (5,)


def test_threshold_on_nasbench201_leaves_weak_edges_out():
    p = zeros(nasbench201, 0.2)
    p["cell"][0, 3], p["cell"][4, 2], p["cell"][5, 0] = 0.9, 0.95, 0.99
    text = threshold(nasbench201, p, 0.85).to_text()
    assert text == "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|nor_conv_1x1~1|none~2|"


def test_best_pairs_may_put_two_ops_on_one_edge():
    p = zeros(darts_cnn)
    p["normal"][row(1, 3), 4], p["normal"][row(1, 3), 5], p["normal"][row(0, 3), 3] = 0.5, 0.4, 0.3
    p["normal"][:, 0] = 0.9  # none never counts
    assert best_pairs(darts_cnn, p).normal.nodes[1] == (("sep_conv_3x3", 1), ("sep_conv_5x5", 1))


def test_most_probable_cells_are_those_of_the_enumeration():
    p = np.random.default_rng(0).dirichlet(np.ones(5), size=6)
    cells = most_probable(nasbench201, {"cell": p}, 20, KEY)
    products = {ops: np.prod([p[e, k] for e, k in enumerate(ops)]) for ops in itertools.product(range(5), repeat=6)}
    expected = sorted(products, key=lambda ops: -products[ops])[:20]
    names = nasbench201.cell[0]
    assert [c.to_text() for c in cells] == [nasbench201.genotype([names[k] for k in ops]).to_text() for ops in expected]


def test_sampled_cells_have_two_edges_a_node_and_the_best_is_found():
    p = {c: np.full(shape, 1 / 8) for c, shape in darts_cnn.alpha_shapes.items()}
    for genotype in (*most_probable(darts_cnn, p, 5, KEY), *random_genotypes(darts_cnn, 5, KEY)):
        for cell in genotype.cells.values():
            assert all(len({s for _, s in edges}) == 2 for edges in cell.nodes)
            assert all(op != "none" for edges in cell.nodes for op, _ in edges)
    cells = random_genotypes(nasbench201, 30, KEY)
    most = max(cell.to_text().count("nor_conv_3x3") for cell in cells)
    best = best_of(nasbench201, cells, lambda p: float(p["cell"][:, 3].sum()))
    assert best.to_text().count("nor_conv_3x3") == most


def test_the_limit_on_skips_removes_the_weakest_first():
    p = zeros(darts_cnn, 0.01)
    k, conv = 3, 4
    p["normal"][:, k] = np.linspace(0.5, 0.6, 14)
    p["normal"][:, conv] = 0.3
    free = limit_skips(darts_cnn, p, 8)
    assert skips_in(free) == 8
    limited = limit_skips(darts_cnn, p, 2)
    assert skips_in(limited) == 2
    kept = [(s, t) for t, edges in enumerate(limited.normal.nodes, 2) for op, s in edges if op == "skip_connect"]
    assert sorted(kept) == [(3, 5), (4, 5)]  # the two largest weights


def test_ties_go_to_the_lower_index():
    assert nasbench201.derive({"cell": jnp.zeros((6, 5))}).to_text().count("none") == 6
