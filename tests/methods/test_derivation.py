"""Derivations: thresholds, pairs, most probable cells, the limit on skips."""

import itertools
import math
from collections import Counter
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.derivation import best_of, best_pairs, limit_skips, most_probable, random_genotypes, skips_in, threshold
from jdarts.errors import UserError
from jdarts.methods.setn import setn
from jdarts.networks.wiring import row
from jdarts.spaces import darts_cnn, darts_cnn_7, define_space, nasbench201

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


def _rules():
    return {
        "derive": lambda space, p: space.derive(p),
        "threshold": lambda space, p: threshold(space, p, 0.5),
        "best_pairs": best_pairs,
        "most_probable": lambda space, p: most_probable(space, p, 2, KEY),
        "logarithms": lambda space, p: most_probable(space, p, 2, KEY, log=True),
        "limit_skips": lambda space, p: limit_skips(space, p, 2),
    }


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("space", "cell_type", "place", "told"),
    [
        (darts_cnn, "reduce", (6, 4), r'op_weights\["reduce"\] row 6 \(edge 1→4\) is {} for sep_conv_3x3'),
        (nasbench201, "cell", (4, 0), r'op_weights\["cell"\] row 4 \(edge 1→3\) is {} for none'),
    ],
)
def test_every_rule_refuses_weights_that_are_not_finite(space, cell_type, place, told, value):
    rules = _rules()
    if space is nasbench201:
        del rules["limit_skips"]  # P-DARTS knows DARTS cells only
    p = zeros(space, 0.125)
    p[cell_type][place] = value
    for rule in rules.values():
        with pytest.raises(UserError, match=told.format(value)) as caught:
            rule(space, {c: jnp.asarray(a, jnp.float32) for c, a in p.items()})
        assert "\n" not in str(caught.value)


def test_rules_refuse_weights_of_another_form_negative_probabilities_and_scores_of_nan():
    for rule in _rules().values():
        with pytest.raises(UserError, match=r"has shape \(14, 3\); space darts_cnn needs \(14, 8\)"):
            rule(darts_cnn, {c: np.ones((14, 3)) for c in ("normal", "reduce")})
        with pytest.raises(UserError, match=r'op_weights\["normal"\] is .* expected numbers of shape \(14, 8\)'):
            rule(darts_cnn, {"normal": [[0.1], [0.1, 0.2]], "reduce": np.ones((14, 8))})
    with pytest.raises(UserError, match=r'"cell"\] row 0 has the negative weight -0.5'):
        most_probable(nasbench201, {"cell": zeros(nasbench201, -0.5)["cell"]}, 2, KEY)
    with pytest.raises(UserError, match="candidate 1 scored nan"):
        scores = iter([0.5, np.nan, 1.0])
        best_of(nasbench201, random_genotypes(nasbench201, 3, KEY), lambda p: next(scores))
    with pytest.raises(UserError, match="no candidate genotypes"):
        best_of(nasbench201, [], lambda p: 1.0)
    with pytest.raises(UserError, match="candidates is 0"):
        most_probable(nasbench201, zeros(nasbench201, 0.2), 0, KEY)


def ops_of(genotype):
    return tuple(nasbench201.cell[0].index(op) for edges in genotype.normal.nodes for op, _ in edges)


def exact_order(alphas):
    """Architectures by Π exp(α) for whole α: by their exact integer sums, equal ones in alpha order."""
    total = {ops: sum(int(alphas[e][k]) for e, k in enumerate(ops)) for ops in itertools.product(range(5), repeat=6)}
    return sorted(total, key=lambda ops: -total[ops])


@pytest.mark.parametrize("spread", [3, 400])
def test_setn_ranks_cells_whose_softmax_underflows(spread):
    n = np.random.default_rng(spread).integers(-spread, spread + 1, (6, 5))
    expected = exact_order(n)[:40]
    logs = {"cell": n.astype(np.float64)}
    found = most_probable(nasbench201, logs, 40, KEY, log=True)
    assert [ops_of(genotype) for genotype in found] == expected
    seen = []
    method = setn(candidates=40)
    alphas = {"cell": jnp.asarray(logs["cell"], jnp.float32)}
    p = method.deterministic_weights(nasbench201, alphas)["cell"]
    assert (int(jnp.sum(p == 0)) > 6) == (spread == 400)

    def evaluate(weights):
        seen.append(tuple(int(k) for k in np.argmax(weights["cell"], axis=1)))
        return float(len(seen) == 3)

    chosen = method.genotype(nasbench201, alphas, evaluate, KEY)
    assert set(seen) == set(expected) if spread == 400 else seen[0] in expected
    assert ops_of(chosen) == seen[2]


def test_zero_weights_come_last_in_setn():
    p = np.random.default_rng(3).dirichlet(np.ones(5), size=6)
    p[0, 1:], p[3, 0] = 0, 0
    exact = {
        ops: [Fraction(float(p[e, k])) for e, k in enumerate(ops)] for ops in itertools.product(range(5), repeat=6)
    }
    key = {ops: (sum(f == 0 for f in fs), -math.prod(f for f in fs if f)) for ops, fs in exact.items()}
    found = [ops_of(genotype) for genotype in most_probable(nasbench201, {"cell": p}, 15_625, KEY)]
    assert found == sorted(key, key=lambda ops: key[ops])


def test_equal_probabilities_keep_the_order_of_the_alphas():
    row = np.array([0.1, 0.3, 0.2, 0.3, 0.1])
    found = [ops_of(genotype) for genotype in most_probable(nasbench201, {"cell": np.tile(row, (6, 1))}, 200, KEY)]
    fractions = [Fraction(value).limit_denominator(10) for value in row]
    ranked = sorted(itertools.product(range(5), repeat=6), key=lambda ops: -math.prod(fractions[k] for k in ops))
    assert found == ranked[:200]


def test_setn_draws_darts_cells_by_their_probabilities():
    """Against the probabilities of draws without replacement, by enumeration in exact fractions."""
    space = define_space("two_ops", nodes=2, normal=("none", "skip_connect", "sep_conv_3x3"))
    weights = {(0, 2): (0, 1, 3), (1, 2): (5, 1, 1), (0, 3): (0, 4, 0), (1, 3): (1, 2, 1), (2, 3): (0, 1, 0)}
    p = np.array([weights[edge] for edge in space.edges], float)
    count = 3000
    genotypes = most_probable(space, {"normal": p, "reduce": p}, count, KEY)
    logs = {c: np.log(np.maximum(p, 1e-300)) - 5000 for c in ("normal", "reduce")}
    shifted = most_probable(space, logs, count, KEY, log=True)
    strength = {source: Fraction(max(weights[source, 3][1:])) for source in range(3)}
    total = sum(strength.values())
    for drawn in (genotypes, shifted):
        pairs = Counter(tuple(source for _, source in genotype.normal.nodes[1]) for genotype in drawn)
        for a, b in itertools.combinations(range(3), 2):
            first = strength[a] / total * strength[b] / (total - strength[a])
            expected = float(first + strength[b] / total * strength[a] / (total - strength[b]))
            deviation = math.sqrt(expected * (1 - expected) / count)
            assert abs(pairs[a, b] / count - expected) < 4 * deviation, (a, b)
        ops = Counter(genotype.normal.nodes[0][0] for genotype in drawn)
        assert abs(ops["sep_conv_3x3", 0] / count - 3 / 4) < 4 * math.sqrt(3 / 16 / count)
        assert {source for genotype in drawn for _, source in genotype.normal.nodes[0]} == {0, 1}


def test_setn_draws_cells_where_only_none_is_left():
    p = zeros(darts_cnn)
    for rows in p.values():
        rows[:, 0] = 1
    cells = most_probable(darts_cnn, p, 200, KEY)
    assert len({genotype.normal.nodes[3] for genotype in cells}) > 100  # all equally impossible
    p["normal"][row(1, 4), 5] = 1e-30  # the only edge and op that can be
    for genotype in most_probable(darts_cnn, p, 20, KEY):
        assert ("sep_conv_5x5", 1) in genotype.normal.nodes[2] and len(genotype.normal.nodes[2]) == 2
