"""Stop rules on published sequences and on records written by hand."""

import numpy as np
import pytest

from jdarts import spaces
from jdarts.spaces import nasbench201
from jdarts.stopping import eigenvalue_growth, stable_ranking, too_many_skips

# λ_max of three published DARTS searches on S1, CIFAR-10, epochs 0, 2, …, 48, 49 (RobustDARTS' records).
S1 = {
    1: "0.179 0.148 0.170 0.146 0.121 0.249 0.231 0.360 0.225 0.386 0.208 0.430 0.508 0.229 0.410 0.502 0.500 0.250 "
    "0.457 0.517 0.644 0.459 0.707 1.319 0.527 0.521",
    2: "0.174 0.147 0.263 0.193 0.167 0.221 0.209 0.151 0.220 0.290 0.314 0.474 0.305 0.362 0.323 0.361 0.900 0.243 "
    "0.301 0.629 0.647 0.517 0.821 0.395 0.395 0.394",
    3: "0.146 0.208 0.316 0.197 0.213 0.183 0.347 0.203 0.250 0.171 0.310 0.305 0.253 0.261 0.407 0.592 0.596 0.789 "
    "0.733 0.481 0.365 0.786 0.913 0.312 0.880 1.064",
}


def records_of(values):
    made = []
    for epoch in range(50):
        record = {"epoch": epoch + 1}
        if epoch % 2 == 0:
            record["dominant_eigenvalue"] = values[epoch // 2]
        made.append(record)
    return made


@pytest.mark.parametrize(("seed", "stop", "back"), [(1, 22, 10), (2, 22, 10), (3, 30, 18)])
def test_early_stopping_reproduces_published_decisions(seed, stop, back):
    rule = eigenvalue_growth()
    records = records_of([float(v) for v in S1[seed].split()])
    decisions = [rule(records[:n], spaces.robust_s1) for n in range(1, 51)]
    first = next(i for i, decision in enumerate(decisions) if decision is not None)
    assert first == stop  # the epoch, 0-based, after which it stops
    assert decisions[first] == back + 1  # finished epochs of the genotype it returns


def test_early_stopping_leaves_a_flat_sequence_alone():
    rule = eigenvalue_growth()
    records = records_of([0.15 + 0.001 * i for i in range(25)])
    assert all(rule(records[:n], spaces.robust_s1) is None for n in range(1, 51))


def test_a_dead_network_is_not_called_healthy():
    records = records_of([float(v) for v in S1[1].split()])
    for epoch in (10, 8):  # where the published rule returns to, and the measurement before
        records[epoch] |= {"alive": False}
    assert eigenvalue_growth()(records[:23], spaces.robust_s1) == 10  # instead of 11, and not 9


def genotype(skips: int) -> str:
    return nasbench201.genotype(["skip_connect"] * skips + ["nor_conv_3x3"] * (6 - skips)).to_text()


def test_darts_plus_stops_after_the_first_epoch_with_two_skips():
    rule = too_many_skips(2)
    records = [{"epoch": i + 1, "genotype": genotype(n)} for i, n in enumerate((0, 1, 1, 2))]
    assert [rule(records[:n], nasbench201) for n in range(1, 5)] == [None, None, None, 4]


def test_darts_plus_stops_when_the_ranking_of_convolutions_stays():
    rule, rows = stable_ranking(3), []
    for epoch in range(9):
        alphas = np.zeros((6, 5))
        alphas[:, 2] = 1.0
        alphas[0, 3] = 2.0 if epoch < 4 else 0.5  # the order of the two convolutions changes once
        alphas[:, 1] = epoch  # a skip that grows is no convolution
        rows.append({"epoch": epoch + 1, "alphas": {"cell": alphas.tolist()}})
    decisions = [rule(rows[:n], nasbench201) for n in range(1, 10)]
    assert decisions == [None, None, None, 4, None, None, None, 8, 9]
