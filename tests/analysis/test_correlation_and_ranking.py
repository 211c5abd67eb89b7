"""Gradient correlation against explicit gradients, its meaning for the alpha gradient, and ranks against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from support.mixture import mixture_loss, mixture_problem

from jdarts.analysis import (
    correlate,
    gradient_correlation,
    kendall,
    op_groups,
    operator_gradients,
    rank_correlation,
    spearman,
    weight_gradient,
)
from jdarts.analysis.correlation import last_cell
from jdarts.errors import UserError


def test_correlation_is_the_inner_product_of_explicit_gradients():
    w, alphas, (a, b) = mixture_problem(dtype=np.float32)
    slope = weight_gradient(mixture_loss)
    groups = {"first": lambda g: g["layers"][0], "rest": lambda g: (g["layers"][1], g["head"])}
    found = gradient_correlation(slope, w, alphas, a, b, groups)
    explicit = [jax.grad(lambda w, batch=batch: mixture_loss(w, alphas, batch)[0])(w) for batch in (a, b)]
    left, right = (np.asarray(g["layers"][0], np.float64).ravel() for g in explicit)
    assert found["first"].raw == pytest.approx(left @ right, rel=1e-4)
    assert found["first"].cosine == pytest.approx(left @ right / np.linalg.norm(left) / np.linalg.norm(right), rel=1e-4)
    same = gradient_correlation(slope, w, alphas, a, a, groups)
    assert same["rest"].cosine == pytest.approx(1) and same["rest"].raw == pytest.approx(same["rest"].norm_a ** 2)
    assert np.isnan(correlate([np.zeros(3)], [np.ones(3)]).cosine)


def test_it_predicts_what_a_weight_step_does_to_the_alpha_gradient():
    """Eq. 8: for a linear op weighted by p, a weight step −η∇L(A) changes ∂L_B/∂p by −η C(A, B) / p."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        theta, x, g_a, g_b, p = (
            rng.normal(size=(4, 3)),
            rng.normal(size=(2, 3)),
            rng.normal(size=4),
            rng.normal(size=4),
            0.3,
        )

        def loss(theta, p, batch):  # linear in the op's output, so that ∂L/∂ō is the batch's own vector
            return jnp.vdot(batch[0], p * (theta @ batch[1])), None

        a, b = (g_a, x[0]), (g_b, x[1])
        found = gradient_correlation(weight_gradient(loss), theta, p, a, b, {"op": lambda g: g})["op"]
        slope = jax.grad(lambda p, theta: loss(theta, p, b)[0])
        eta = 0.01
        moved = theta - eta * jax.grad(lambda t: loss(t, p, a)[0])(theta)
        assert float(slope(p, moved) - slope(p, theta)) == pytest.approx(-eta * found.raw / p, rel=1e-10)


def test_groups_pick_every_op_of_the_chosen_cells_once():
    weights = {
        "stem": {"kernel": np.ones(1)},
        "cell_0": {
            "from_0_sep_conv_3x3": {"a": np.ones(2)},
            "from_1_sep_conv_3x3": {"a": np.ones(3)},
            "preprocess_0": {},
        },
        "cell_1": {"from_0_sep_conv_3x3": {"a": np.ones(4)}, "from_0_skip_connect": {"a": np.ones(5)}},
    }
    sizes = {op: sum(x.size for x in jax.tree.leaves(pick(weights))) for op, pick in op_groups(weights).items()}
    assert sizes == {"sep_conv_3x3": 9, "skip_connect": 5}
    assert set(op_groups(weights, cells=["cell_0"])) == {"sep_conv_3x3"}
    with pytest.raises(UserError, match="no ops of a cell supernet"):
        op_groups({"layers": {}})


def test_groups_of_a_chain_are_its_choices():
    weights = {
        "layer_0": {"conv": np.ones(1)},
        "layer_9": {"choice_0": {"a": np.ones(2)}, "choice_1": {"a": np.ones(3)}},
        "layer_10": {"choice_0": {"a": np.ones(4)}},
        "layer_11": {"conv": np.ones(1)},
    }
    sizes = {op: sum(x.size for x in jax.tree.leaves(pick(weights))) for op, pick in op_groups(weights).items()}
    assert sizes == {"choice_0": 6, "choice_1": 3}
    assert last_cell(weights) == "layer_10" and last_cell({"cell_2": {}, "cell_11": {}, "layer_99": {}}) == "cell_11"


def test_operator_gradients_are_means_of_the_gradient_by_op_weights():
    tables = {"normal": (("skip_connect", "sep_conv_3x3"), ("sep_conv_3x3", "skip_connect"))}
    slope = {"normal": jnp.array([[1.0, 2.0], [4.0, 8.0]])}
    found = operator_gradients(
        lambda w, p, batch: (jnp.vdot(slope["normal"], p["normal"]), None), None, slope, None, tables
    )
    assert found == {"normal": {"skip_connect": 4.5, "sep_conv_3x3": 3.0}}


@pytest.mark.parametrize("seed", range(6))
def test_ranks_agree_with_scipy(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    x, y = rng.normal(size=n), rng.normal(size=n)
    if seed % 2:  # ties
        x, y = np.round(x), np.round(x + y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        x[0], y[0] = 9, 9
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)


def test_rank_edge_cases():
    assert kendall([1, 2, 3], [3, 2, 1]) == spearman([1, 2, 3], [3, 2, 1]) == -1
    assert np.isnan(kendall([1, 1], [1, 2])) and np.isnan(spearman([1, 1], [1, 2]))
    with pytest.raises(UserError, match="equal length"):
        kendall([1, 2], [1, 2, 3])
    with pytest.raises(UserError, match="not finite"):
        spearman([1, np.nan], [1, 2])


def test_scores_against_a_table():
    table = {"a": 0.9, "b": 0.8, "c": 0.7}
    assert rank_correlation({"a": 3.0, "c": 1.0, "b": 2.0}, table) == {"kendall": 1, "spearman": 1, "architectures": 3}
    with pytest.raises(UserError, match=r"no architecture '\|x\|' \(1 of 2"):
        rank_correlation({"a": 1.0, "|x|": 2.0}, table)
