"""Drivers above the step, on one cell and a few images: stages, rollback, perturbation, early stop, random search."""

import dataclasses
import json

import numpy as np
import pytest
from one_cell import OneCellSpace

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.genotype import parse
from jdarts.reporter import SilentReporter
from jdarts.run_folder import RunFolder
from jdarts.search import run_search
from jdarts.search.drivers import narrowed
from jdarts.spaces import nasbench201

CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x1:3:16", crop_padding=1),
    space=SpaceConfig(name="nasbench201", channels=4, cells=1),
    search=SearchConfig(epochs=3, batch_size=4, alpha_optimizer=AdamConfig(learning_rate=1e-6)),
)


def run(tmp_path, method, *options, resume=False, **changes):
    search = dataclasses.replace(CONFIG.search, method=method, method_options=options, **changes)
    config = dataclasses.replace(CONFIG, search=search)
    folder = RunFolder.open(tmp_path / "run", config) if resume else RunFolder.create(tmp_path / "run", config)
    result = run_search(config, OneCellSpace(), load(config.data), folder, resume=resume, reporter=SilentReporter())
    return result, folder


@pytest.mark.slow
def test_early_stopping_returns_the_genotype_of_its_epoch_and_resumes_as_stopped(tmp_path):
    options = ("criterion=ranking", "patience=1")
    (genotype, state), folder = run(tmp_path, "darts_plus", *options, epochs=5)
    records = folder.records("genotypes")
    assert [r["epoch"] for r in records] == [1, 2]  # of five; alphas that hardly move keep their ranking
    assert genotype.to_text() == records[-1]["genotype"]
    (again, same), _ = run(tmp_path, "darts_plus", *options, epochs=5, resume=True)
    assert again == genotype and int(same.step) == int(state.step)


@pytest.mark.slow
def test_stages_of_p_darts_narrow_the_candidates(tmp_path):
    (genotype, _), folder = run(tmp_path, "p_darts", "frozen=1", epochs=2)
    widths = []
    for stage in range(3):
        records = folder.subfolder(f"stage_{stage}").records("genotypes")
        widths.append(np.asarray(records[-1]["alphas"]["cell"]).shape)
    assert widths == [(6, 5), (6, 4), (6, 3)]
    assert parse(genotype.to_text()) == genotype


def test_narrowing_keeps_the_largest_weights_of_each_edge_in_order():
    p = np.tile([0.1, 0.3, 0.2, 0.25, 0.15], (6, 1))
    p[0] = [0.5, 0.1, 0.2, 0.05, 0.15]
    small = narrowed(nasbench201, {"cell": p}, 3)
    assert small.cell[0] == ("none", "nor_conv_1x1", "avg_pool_3x3")
    assert small.cell[1] == ("skip_connect", "nor_conv_1x1", "nor_conv_3x3")


@pytest.mark.slow
def test_rollback_goes_on_from_the_earlier_epoch_with_more_decay(tmp_path):
    always = ("factor=1e-9", "window=1", "delta=1", "every=1", "start=0")  # eigenvalues are at least the decay 1e-3
    (_, state), folder = run(tmp_path, "darts_ada", *always)
    levels = [folder.subfolder(f"level_{i}") for i in range(3)]
    assert [[r["epoch"] for r in level.records("metrics")] for level in levels] == [[1, 2], [1, 2], [1, 2, 3]]
    first, second = levels[0].records("metrics"), levels[1].records("metrics")
    assert first[0] == second[0]  # the epoch that it returned to
    assert first[1]["train_loss"] != second[1]["train_loss"]
    assert all(r["dominant_eigenvalue"] >= 1e-3 - 1e-6 for r in first)
    assert int(state.step) == 6


@pytest.mark.slow
def test_perturbation_decides_every_edge_by_the_accuracy_without_each_op(tmp_path):
    (genotype, state), folder = run(tmp_path, "darts_pt", "tune_epochs=1", epochs=1)
    decisions = folder.records("decisions")
    assert len(decisions) == 6 and len({tuple(d["edge"]) for d in decisions}) == 6
    for d in decisions:
        worst = int(np.argmin(d["accuracy_without"]))
        assert d["op"] == nasbench201.cell[0][worst]
        source, target = d["edge"]
        assert dict((s, op) for op, s in genotype.normal.nodes[target - 1])[source] == d["op"]
    assert int(state.step) == 5 * 2  # five epochs of tuning, two steps each


def test_random_search_takes_the_best_by_twelve_epochs_of_the_table(tmp_path, real_data):
    table = str(real_data / "nasbench201.csv.gz")
    (genotype, state), folder = run(tmp_path, "random_search", "samples=50", benchmark_table=table)
    samples = json.loads((folder.path / "samples.json").read_text())
    assert state is None and len(samples) == 50
    assert genotype.to_text() == max(samples, key=lambda s: s["c10_valid_12"])["genotype"]


def test_random_search_without_a_table_needs_validation_images(tmp_path):
    with pytest.raises(UserError, match=r"set train\.val_fraction"):
        run(tmp_path, "random_search")
