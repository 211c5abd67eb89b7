"""Scores from tables, MnasNet's product, Pareto fronts and their hypervolume."""

import numpy as np
import pytest
from support.real_data import REAL_DATA

from jdarts import spaces
from jdarts.benchmarks import ArchitectureTable, load_accel_table, load_macro_table, load_table
from jdarts.errors import UserError
from jdarts.estimation import (
    HARD,
    Score,
    TableLookup,
    accel_lookup,
    criterion,
    hypervolume,
    macro_lookup,
    mnasnet_product,
    nasbench201_lookup,
    pareto_front,
)
from jdarts.genotypes import parse
from jdarts.genotypes.macro import MacroNetwork

NB201 = REAL_DATA / "nasbench201.csv.gz"
MACRO = REAL_DATA / "benchmarks" / "nas-bench-macro_cifar10.json"
ACCEL = REAL_DATA / "benchmarks" / "accel-nasbench_jsons.tar.gz"


def small_table():
    columns = {"top1": np.array([70.0, 60.0]), "seconds": np.array([5.0, 6.0]), "speed": np.array([np.nan, 2.0])}
    return ArchitectureTable(columns, ["00000000", "11111111"], ["top1"], "top1")


def test_a_table_gives_values_and_cost():
    estimator = TableLookup(small_table(), {"accuracy": "top1"}, cost="seconds")
    assert estimator(MacroNetwork("11111111"), {}) == Score({"accuracy": 60.0}, 6.0)
    with pytest.raises(UserError, match="22222222 is not in the table of 2 architectures"):
        estimator(MacroNetwork("22222222"), {})
    with pytest.raises(UserError, match="no results for the budget epochs = 3; it has none but its own"):
        estimator(MacroNetwork("11111111"), {"epochs": 3})
    with pytest.raises(UserError, match="unknown column 'top_1'; did you mean 'top1'"):
        TableLookup(small_table(), {"accuracy": "top_1"})
    with pytest.raises(UserError, match="the table has no speed for 00000000"):
        TableLookup(small_table(), {"speed": "speed"})(MacroNetwork("00000000"), {})
    with pytest.raises(UserError, match="unknown value of an estimate 'latency'"):
        criterion("latency")(estimator(MacroNetwork("11111111"), {}))


@pytest.mark.skipif(not NB201.exists(), reason="the NAS-Bench-201 table is not in ../shared/data")
def test_nasbench201_by_budget():
    table = load_table(NB201)
    estimator, genotype = nasbench201_lookup(table), parse("nasbench201_best_cifar100")
    entry = table.query(genotype)
    assert (
        estimator(genotype, {})["accuracy"] == entry["c10_valid_12"] == estimator(genotype, {"epochs": 12})["accuracy"]
    )
    assert estimator(genotype, {"epochs": 200})["accuracy"] == entry["c10_test_200"] > entry["c10_valid_12"]
    assert estimator(genotype, {})["macs"] == entry["flops_c10"]
    assert estimator(genotype, {}).cost is None, "this table has no times"
    assert nasbench201_lookup(table, "in16")(genotype, {})["accuracy"] == entry["in16_valid_12"]
    with pytest.raises(UserError, match="it has epochs = 12, epochs = 200"):
        estimator(genotype, {"epochs": 90})
    with pytest.raises(UserError, match="unknown data set of NAS-Bench-201 'cifar10'"):
        nasbench201_lookup(table, "cifar10")
    with pytest.raises(UserError, match="asked for genotypes"):
        estimator(MacroNetwork("11111111"), {})


@pytest.mark.skipif(not MACRO.exists(), reason="NAS-Bench-Macro is not in ../shared/data")
def test_every_choice_of_the_macro_space_is_in_its_table():
    table = load_macro_table(MACRO)
    estimator, space = macro_lookup(table), spaces.nasbench_macro
    best = max(space.encode(MacroNetwork(code)) for code in table.architectures if table.rank(code) == 1)
    assert estimator(space.decode(best), {}).values == {
        "accuracy": table.best()["mean_acc"],
        "parameters": 1_985_514,
        "macs": 85_164_544,
    }
    assert {space.encode(MacroNetwork(code)) for code in table.architectures} == {
        tuple(map(int, code)) for code in table.architectures
    }


@pytest.mark.skipif(not ACCEL.exists(), reason="Accel-NASBench is not in ../shared/data")
def test_networks_of_accel_nasbench_are_in_the_mnasnet_space():
    table = load_accel_table(ACCEL)
    estimator, space = accel_lookup(table, "vck190"), spaces.mnasnet
    from jdarts.spaces.mnasnet import read

    for text in table.architectures[::500]:
        network = read(text)
        assert space.decode(space.encode(network)) == network
        score = estimator(network, {})
        assert score.values["latency"] == table.query(text)["latency_vck190"] > 0 and score.cost > 100
    with pytest.raises(UserError, match="unknown device 'a100'"):
        accel_lookup(table, "a100")


@pytest.mark.parametrize(
    ("exponents", "accuracy", "latency", "expected"),
    [
        ((-0.07, -0.07), 0.75, 2.0, 0.714478),
        ((-0.07, -0.07), 0.75, 0.5, 0.78729),
        ((-0.07, -0.07), 1.0, 2.0, 0.95264),
        ((-0.07, -0.07), 0.75, 1.0, 0.75),
        (HARD, 0.75, 0.5, 0.75),
        (HARD, 0.75, 1.0, 0.75),
        (HARD, 0.75, 2.0, 0.375),
    ],
)
def test_the_product_of_mnasnet(exponents, accuracy, latency, expected):
    """spec/spaces.md C.10 and spec/addendum.md §7, in units of the target."""
    product = mnasnet_product(75.0, exponents)
    found = product(Score({"accuracy": accuracy, "latency": 75.0 * latency}))
    assert found == pytest.approx(expected, abs=5e-6) and product.maximize
    with pytest.raises(UserError, match="the target of latency is 0"):
        mnasnet_product(0)


OBJECTIVES = (criterion("accuracy"), criterion("latency"))


def test_the_pareto_front_and_its_hypervolume():
    points = [(90, 10), (80, 5), (85, 12), (90, 10), (70, 4), (95, 30), (80, 6)]
    assert pareto_front(points, OBJECTIVES).tolist() == [0, 1, 3, 4, 5]
    # By hand: above accuracy 60 and below latency 20, steps of the staircase from the left.
    assert hypervolume(points, OBJECTIVES, (60, 20)) == (5 - 4) * 10 + (10 - 5) * 20 + (20 - 10) * 30
    assert hypervolume([(50, 1)], OBJECTIVES, (60, 20)) == 0
    with pytest.raises(UserError, match=r"points have shape \(2,\)"):
        pareto_front([1, 2], OBJECTIVES)


def test_the_pareto_front_is_that_of_its_definition():
    points = np.random.default_rng(0).integers(0, 6, (60, 2))
    front = set(pareto_front(points, OBJECTIVES).tolist())
    for i, (accuracy, latency) in enumerate(points):
        dominated = any(a >= accuracy and b <= latency and (a, b) != (accuracy, latency) for a, b in points)
        assert (i in front) == (not dominated)
