"""Stop rules on published sequences and on records written by hand."""

import json

import jax
import numpy as np
import pytest
from support.one_cell import NARROW

from jdarts import spaces
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.search import make_search
from jdarts.search.probes import alpha_spectrum
from jdarts.spaces import nasbench201
from jdarts.stopping import curvature_is_gone, eigenvalue_growth, stable_ranking, too_many_skips

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
    for epoch in range(0, 23, 2):
        records[epoch] |= {"alive": epoch < 8}
    # The published rule returns to 11 finished epochs. Those after 9 and 11 are dead, and so is the one between.
    assert eigenvalue_growth()(records[:23], spaces.robust_s1) == 8
    for record in records:
        record.pop("alive", None)
    records[0] |= {"alive": False}
    assert eigenvalue_growth()(records[:23], spaces.robust_s1) == 11, "no living epoch is known"


@pytest.mark.parametrize("decay", [0.0, 1e-3, 0.5])
def test_curvature_is_gone_where_every_eigenvalue_is_the_decay(decay):
    rounding = 1e-9 * np.random.default_rng(0).normal(size=56)
    assert curvature_is_gone(decay + rounding, weight_decay=decay)
    assert not curvature_is_gone(np.append(decay + rounding, decay + 5e-4), weight_decay=decay)
    assert not curvature_is_gone(np.append(decay + rounding, decay - 5e-4), weight_decay=decay), "concave is alive"
    assert decay == 0 or not curvature_is_gone(decay + rounding), "the decay is part of these eigenvalues"


def test_the_curvature_finds_the_published_dead_searches(real_data):
    """The records of the accuracy are the second reader: a search that died stays at the most frequent class."""
    folder = real_data / "robustdarts_hessians"
    if not folder.is_dir():
        pytest.skip("the alpha-Hessians of RobustDARTS (../shared/data/robustdarts_hessians) are not on this machine")
    spectra = {}
    with np.load(folder / "upper_triangles.npz") as triangles:
        for size in (56, 84):
            rows = triangles[f"size{size}"].astype(np.float64)
            matrices = np.zeros((len(rows), size, size))
            matrices[:, *np.triu_indices(size)] = rows
            spectra[size] = np.linalg.eigvalsh(matrices, UPLO="U")
    dead, by_largest, searches = 0, 0, set()
    for run in json.loads((folder / "runs.json").read_text()):
        own = spectra[run["size"]][run["first_row"] :][: len(run["epochs"])]
        gone = [curvature_is_gone(row, weight_decay=1e-3) for row in own]
        accuracy = [run["valid_accuracy"][epoch] for epoch in run["epochs"]]
        first = gone.index(True) if any(gone) else len(gone)
        assert all(gone[first:]), "the dead do not rise"
        assert all(a == pytest.approx(19.001338, abs=1e-6) for a in accuracy[first:])
        dead += sum(gone)
        by_largest += sum(abs(row[-1] - 1e-3) < 1e-6 for row in own)
        if any(gone):
            searches.add((run["space"], run["dataset"], run["weight_decay"], run["seed"]))
    assert dead == by_largest == 128
    assert searches == {("s3", "svhn", decay, seed) for decay in (0.0729, 0.2187) for seed in (1, 2, 3)}


def test_a_network_whose_weights_have_decayed_is_dead_and_a_fresh_one_is_not():
    config = Experiment(
        data=DataConfig(source="synthetic:8x8x1:3:16", crop_padding=1),
        space=SpaceConfig(name="nasbench201", channels=4, cells=1),
        search=SearchConfig(batch_size=4, hypergradient="first_order"),
    )
    search = make_search(config, NARROW, load(config.data).for_search(config.data))
    measure = alpha_spectrum(search, shift=1e-3)
    state = jax.jit(search.init)(jax.random.key(0)).replace(step=1)
    fresh = measure(state, search.arrays)
    decayed = measure(state.replace(weights=1e-12 * state.weights), search.arrays)
    assert not curvature_is_gone(fresh, weight_decay=1e-3)
    assert curvature_is_gone(decayed, weight_decay=1e-3)
    np.testing.assert_allclose(decayed, 1e-3, atol=1e-9)


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
