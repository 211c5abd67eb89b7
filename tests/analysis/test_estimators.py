"""Two estimators on the same architectures, and the figure of a comparison of strategies."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from support.real_data import REAL_DATA

from jdarts import spaces
from jdarts.analysis import correlate_estimators
from jdarts.bench.search_curves import search_curves_figure
from jdarts.benchmarks import load_table
from jdarts.errors import UserError
from jdarts.estimation import Score, criterion, nasbench201_lookup

TABLE = REAL_DATA / "nasbench201.csv.gz"
SPACE = spaces.nasbench_macro


def digits(network, budget):
    return Score({"accuracy": sum(map(int, network.to_text())) * budget.get("factor", 1.0), "macs": 1.0})


def first_digit(network, budget):
    return Score({"accuracy": float(network.to_text()[0])})


def test_the_coefficients_are_those_of_scipy_and_all_is_drawn():
    found = correlate_estimators(SPACE, (digits, {"factor": -1.0}), (first_digit, {}), architectures=40, seed=1)
    assert len(set(found.choices)) == 40 and found.first.tolist() == [-sum(choices) for choices in found.choices]
    assert found.second.tolist() == [choices[0] for choices in found.choices]
    assert found.spearman == pytest.approx(stats.spearmanr(found.first, found.second)[0]) and found.spearman < 0
    assert found.kendall == pytest.approx(stats.kendalltau(found.first, found.second)[0])
    (axis,) = found.figure(("sum", "first")).axes
    np.testing.assert_array_equal(axis.lines[0].get_xdata(), found.first)
    assert axis.get_xlabel() == "accuracy, sum" and f"{found.spearman:.3f}" in axis.get_title()
    again = correlate_estimators(
        SPACE, (digits, {}), (digits, {}), architectures=[SPACE.decode((i,) * 8) for i in range(3)]
    )
    assert again.spearman == again.kendall == 1 and again.choices[2] == (2,) * 8


def test_twelve_epochs_rank_like_two_hundred():
    """The lower fidelity of NAS-Bench-201 on 500 cells; measured: Spearman .81 (addendum §18)."""
    if not TABLE.exists():
        pytest.skip("the NAS-Bench-201 table is not in ../shared/data")
    table = nasbench201_lookup(load_table(TABLE))
    found = correlate_estimators(spaces.nasbench201, (table, {}), (table, {"epochs": 200}), architectures=500)
    assert 0.75 < found.spearman < 0.88


def test_what_cannot_be_correlated_is_told():
    with pytest.raises(UserError, match="there are 1 architectures"):
        correlate_estimators(SPACE, (digits, {}), (digits, {}), architectures=1)
    with pytest.raises(UserError, match="has 6561 architectures; 9999 different ones cannot be compared"):
        correlate_estimators(SPACE, (digits, {}), (digits, {}), architectures=9999)
    with pytest.raises(UserError, match="unknown value of an estimate 'macs'"):
        correlate_estimators(SPACE, (digits, {}), (first_digit, {}), architectures=5, criterion=criterion("macs"))


def test_the_curves_of_strategies_are_means_with_bars(tmp_path):
    rng = np.random.default_rng(0)
    curves = {name: np.maximum.accumulate(rng.uniform(size=(5, 30)), axis=1) for name in ("random", "evolution")}
    figure = search_curves_figure(curves, best=1.0)
    (axis,) = figure.axes
    containers: Any = axis.containers
    for container, values in zip(containers, curves.values(), strict=True):
        line, _, (bars,) = container.lines
        np.testing.assert_allclose(line.get_ydata(), values.mean(axis=0))
        for (x, low), (_, high) in bars.get_segments():
            column = values[:, int(x) - 1]
            assert (low, high) == pytest.approx((column.mean() - column.std(), column.mean() + column.std()))
    figure.savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5_000
    with pytest.raises(UserError, match="give arrays"):
        search_curves_figure({"random": np.zeros(4)})
