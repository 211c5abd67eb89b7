"""Models fitted to tables: exact on pairwise functions, close on Accel-NASBench, and estimators of a search."""

import numpy as np
import pytest
from support.real_data import REAL_DATA

from jdarts import spaces
from jdarts.benchmarks import ArchitectureTable, load_accel_table
from jdarts.errors import UserError
from jdarts.estimation import criterion, fit_surrogate, mnasnet_product
from jdarts.genotypes.macro import MacroNetwork
from jdarts.spaces.decisions import all_canonical, uniform
from jdarts.spaces.mnasnet import read
from jdarts.strategies import by_name, run_study

ACCEL = REAL_DATA / "benchmarks" / "accel-nasbench_jsons.tar.gz"
SPACE = spaces.nasbench_macro


def pairwise(choices):
    return 50.0 + choices[0] * choices[3] - 2.0 * (choices[5] == 1) + choices[7]


def table(rows, missing=0):
    every = list(all_canonical(SPACE))
    chosen = [every[i] for i in np.random.default_rng(0).permutation(len(every))[:rows]]
    values = np.array([pairwise(choices) for choices in chosen])
    columns = {"acc": values, "speed": np.where(np.arange(rows) < missing, np.nan, values)}
    return ArchitectureTable(columns, [SPACE.decode(choices).to_text() for choices in chosen], ["acc"], "acc")


def test_a_pairwise_function_is_found_from_a_part_of_the_rows():
    model = fit_surrogate(SPACE, table(2_000, missing=50), MacroNetwork, {"accuracy": "acc", "speed": "speed"})
    for quality in model.quality.values():
        assert quality.spearman > 0.97 and quality.mean_error < 0.05
    rng = np.random.default_rng(1)
    for choices in (uniform(SPACE, rng) for _ in range(20)):
        assert model(SPACE.decode(choices), {})["accuracy"] == pytest.approx(pairwise(choices), abs=0.1)


def test_noise_is_not_taken_for_knowledge():
    noise = table(1_000)
    noise.columns["acc"] = np.random.default_rng(3).uniform(0, 100, 1_000)
    quality = fit_surrogate(SPACE, noise, MacroNetwork, {"accuracy": "acc"}).quality["accuracy"]
    assert abs(quality.spearman) < 0.3 and quality.mean_error > 15


def test_mistakes_are_told():
    with pytest.raises(UserError, match=r"needs at least 20 rows, .*; found 10 and"):
        fit_surrogate(SPACE, table(10), MacroNetwork, {"accuracy": "acc"})
    with pytest.raises(UserError, match="unknown column 'latency'"):
        fit_surrogate(SPACE, table(30), MacroNetwork, {"latency": "latency"})
    with pytest.raises(UserError, match="no results for the budget"):
        fit_surrogate(SPACE, table(30), MacroNetwork, {"accuracy": "acc"})(MacroNetwork("00000000"), {"epochs": 3})


@pytest.mark.skipif(not ACCEL.exists(), reason="Accel-NASBench is not in ../shared/data")
def test_accel_nasbench_is_searched_by_any_strategy():
    space = spaces.mnasnet
    columns = {"accuracy": "val_top1", "latency": "latency_zcu102"}
    model = fit_surrogate(space, load_accel_table(ACCEL), read, columns)
    assert model.quality["accuracy"].spearman > 0.95 and model.quality["latency"].spearman > 0.95
    random, evolution = (
        run_study(space, by_name(name, space, **settings), model, trials=80, objectives=[mnasnet_product(5.0)])
        for name, settings in (("random", {}), ("regularized_evolution", {"population": 15, "sample": 10}))
    )
    assert evolution.best_value > random.best_value
    two = [criterion("accuracy"), criterion("latency")]
    study = run_study(space, by_name("nsga2", space, seed=0, population_size=10), model, trials=40, objectives=two)
    assert len(study.best_trials) > 3
