"""Indicators, the collapse rules on made-up histories, and RobustDARTS' rule on their published eigenvalues."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jdarts import spaces
from jdarts.analysis import indicators
from jdarts.analysis.monitor import collapse_hook, collapse_indicators, eigenvalue_growth, findings
from jdarts.config import Experiment, SearchConfig
from jdarts.errors import UserError
from jdarts.genotypes import parse
from jdarts.methods import build
from jdarts.runs.folder import RunFolder
from jdarts.search.hooks import EpochEnd

CONFIG = Experiment(search=SearchConfig(epochs=50))
HEALTHY = {
    "epoch": 40,
    "normal_skips": 2,
    "normal_parameter_free": 3,
    "normal_edges": 8,
    "relative_entropy": 0.8,
    "margin": 0.1,
    "skip_dominance": -0.1,
}
S1_SEED_1 = (  # RobustDARTS' log of S1, CIFAR-10, weight decay 3e-4, epochs 0, 2, …
    0.179, 0.148, 0.170, 0.146, 0.121, 0.249, 0.231, 0.360, 0.225, 0.386, 0.208, 0.430, 0.508,
)  # fmt: skip


def rules(**changes):
    return [rule for rule, _ in findings([{**HEALTHY, **changes}], CONFIG.search)]


def test_a_healthy_search_is_left_alone():
    assert rules() == []
    assert findings([], CONFIG.search) == []


def test_each_symptom_is_named_with_its_numbers():
    assert rules(normal_skips=5, normal_parameter_free=5) == ["skips"]
    assert rules(normal_skips=4) == []
    assert rules(normal_skips=3, normal_parameter_free=7) == ["parameter-free"]
    assert rules(relative_entropy=0.3, epoch=10) == ["entropy"]
    assert rules(relative_entropy=0.3, epoch=30) == []
    ((_, text),) = findings([{**HEALTHY, "normal_skips": 7, "skip_dominance": 0.25}], CONFIG.search)
    assert "7 of 8" in text and "+0.250" in text
    assert rules(alive=True, val_accuracy=0.12) == [], "a poor accuracy is not death"
    ((rule, text),) = findings([{**HEALTHY, "alive": False, "val_accuracy": 0.190013}], CONFIG.search)
    assert rule == "dead" and "validation accuracy 19.0%" in text


def test_the_eigenvalue_rule_is_robust_darts():
    assert eigenvalue_growth(S1_SEED_1[:6]) is None, "the window of four measurements before needs three values"
    ratio, now, before = eigenvalue_growth(S1_SEED_1[:12])
    assert now == pytest.approx(np.mean(S1_SEED_1[7:12])) and before == pytest.approx(np.mean(S1_SEED_1[3:8]))
    assert ratio == pytest.approx(now / before)
    fired = [
        k for k in range(1, 14)
        if (g := eigenvalue_growth(S1_SEED_1[:k])) and g[0] > 1.3
    ]  # fmt: skip
    assert 12 in fired, "their code stops at epoch 22, the twelfth measurement"
    history = [{**HEALTHY, "epoch": 2 * i, "dominant_eigenvalue": v} for i, v in enumerate(S1_SEED_1[:12])]
    assert [rule for rule, _ in findings(history, CONFIG.search)] == ["eigenvalue"]
    assert findings([*history, {**HEALTHY, "epoch": 23}], CONFIG.search) == [], (
        "an epoch without a measurement adds nothing"
    )


def test_indicators_by_hand():
    p = np.array([[0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3]])
    table = (("skip_connect", "sep_conv_3x3", "none"), ("none", "skip_connect", "max_pool_3x3"))
    expected = -(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1)) / np.log(3)
    np.testing.assert_allclose(indicators.entropies(p), [expected, 1])
    np.testing.assert_allclose(indicators.margins(p), [0.5, 0], atol=1e-15)
    assert indicators.op_shares(p, table)["none"] == pytest.approx((0.1 + 1 / 3) / 2)
    assert indicators.skip_dominance(p, table) == pytest.approx(0.5), "the second edge has no learnable op"
    np.testing.assert_allclose(indicators.entropies(np.array([[1.0, 0, 0]])), [0], atol=1e-12)
    np.testing.assert_allclose(indicators.softmax([[1000.0, 1000.0]]), [[0.5, 0.5]])
    assert indicators.op_counts(parse("DARTS_V2"))["normal"]["skip_connect"] == 2
    assert indicators.depth(parse("DARTS_V2")) == 2


def test_collapse_indicators_of_a_space():
    space = spaces.get("robust_s2")
    skip = {
        c: np.array([[1.0 if op == "skip_connect" else 0.0 for op in ops] for ops in t])
        for c, t in space.tables.items()
    }
    found = collapse_indicators(skip, space)
    assert found["normal_skips"] == found["normal_parameter_free"] == found["normal_edges"] == 8
    assert (
        found["skip_dominance"] == 1
        and found["margin"] == 1
        and found["relative_entropy"] == pytest.approx(0, abs=1e-9)
    )


@pytest.mark.parametrize(("method", "rules"), [("darts", ["skips"]), ("rsps", [])])
def test_alphas_that_never_move_warn_of_nothing(tmp_path, method, rules):
    space, told = spaces.get("robust_s2"), []
    skips = {n: [[1.0 * (op == "skip_connect") for op in ops] for ops in t] for n, t in space.tables.items()}
    alphas = {name: np.array(values, np.float32) for name, values in skips.items()}
    config = Experiment(search=SearchConfig(epochs=1))
    search: Any = SimpleNamespace(space=space, method=build(method))  # everything that the hook reads
    hook = collapse_hook(config, search, RunFolder.create(tmp_path / "run", config), told.append)
    record = hook(EpochEnd(1, alphas, lambda: pytest.fail("the state is not needed"), {}))
    assert [warning["rule"] for warning in record.get("warnings", [])] == rules and len(told) == len(rules)
    assert record["normal_skips"] == 8


def test_a_negative_interval_is_refused():
    with pytest.raises(UserError, match=r"search\.hessian_every is -1"):
        SearchConfig(hessian_every=-1)
