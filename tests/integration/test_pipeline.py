"""A whole run on tiny data: its files, and a single reading of the test images, at the end."""

import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from jdarts import pipeline
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig, TrainConfig
from jdarts.data import load
from jdarts.genotypes import parse
from jdarts.runs.reporter import SilentReporter
from jdarts.train import run_training


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = Experiment(
        name="tiny",
        data=DataConfig(source="synthetic:8x8x1:4:320", crop_padding=1),
        space=SpaceConfig(name="robust_s2", channels=4, cells=1),
        search=SearchConfig(epochs=2, batch_size=16, hypergradient="first_order"),
        train=TrainConfig(
            epochs=8, batch_size=16, channels=8, cells=1, auxiliary_weight=0, drop_path=0, cutout=0, random_cells=2
        ),
    )
    folder = tmp_path_factory.mktemp("pipeline") / "run"
    reporter = SilentReporter()
    tests = []
    evaluate = run_training.__globals__["evaluate"]

    def counted(training, state, images, batch_size):
        tests.append((type(images).__name__, int(state.step)))
        return evaluate(training, state, images, batch_size)

    run_training.__globals__["evaluate"] = counted
    try:
        pipeline.run_experiment(config, (), folder, resume=False, reporter=reporter)
    finally:
        run_training.__globals__["evaluate"] = evaluate
    return folder, reporter, tests


def test_the_summary_has_all_cells_and_learned_something(finished):
    folder, reporter, _ = finished
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary) == {"found", "random", "random-2"}
    for result in summary.values():
        parse(result["genotype"])
        assert result["parameters"] > 0 and result["macs"] > 0
        assert result["test_accuracy"] > 0.5, "four balanced classes: chance is 0.25"
    text = "\n".join(reporter.messages)
    assert parse(summary["found"]["genotype"]).to_text(without="normal") in text
    assert summary["found"]["untrained"].startswith("space.cells is 1") and "untrained" not in summary["random"]
    assert f"{summary['found']['test_accuracy']:.2%}" in text and f"{summary['random']['test_accuracy']:.2%}" in text
    accuracies = [summary[name]["test_accuracy"] for name in ("random", "random-2")]
    assert f"{statistics.mean(accuracies):.2%} ± {100 * statistics.stdev(accuracies):.2f}" in text
    assert str(folder) in text and "reduction cell" in text
    assert not any(line.startswith("normal cell") for line in text.splitlines()), "one cell: it is a reduction cell"
    assert "normal=" not in text
    assert "memory: the search step needs" in text and "per epoch (10 steps)" in text


def test_the_run_folder_is_complete(finished):
    folder: Path = finished[0]
    genotypes = [json.loads(line) for line in (folder / "search/genotypes.jsonl").read_text().splitlines()]
    assert [g["epoch"] for g in genotypes] == [1, 2]
    comment, genotype = (folder / "genotype.txt").read_text().splitlines()
    assert genotype == genotypes[-1]["genotype"] and "normal cell is noise" in comment
    assert parse(f"{comment}\n{genotype}\n") == parse(genotype)
    metrics = [json.loads(line) for line in (folder / "search/metrics.jsonl").read_text().splitlines()]
    assert [m["step"] for m in metrics] == [10, 20]
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "alpha_entropy", "seconds"):
        assert all(name in m for m in metrics)
    drawing = (folder / "cells.svg").read_text()
    assert drawing.startswith("<svg") and "reduction cell" in drawing and "normal cell" not in drawing
    assert (folder / "config.json").exists()
    assert not (folder / "classes.json").exists(), "the classes of synthetic data have no names"


def test_test_images_are_evaluated_once_after_the_last_epoch(finished):
    tests = finished[2]
    assert tests == [("TestImages", 8 * 20)] * 3


def test_the_run_folder_names_the_classes(tmp_path):
    """Labels that `data.remap_labels` replaced are included, so that outputs of a retrained network can be named."""
    images, labels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8), np.tile([3, 30, 300, 3000], 10)
    np.savez(tmp_path / "gaps.npz", x_train=images, y_train=labels)
    config = Experiment(data=DataConfig(source="npz", path=str(tmp_path / "gaps.npz"), remap_labels=True))
    options = {"resume": False, "overwrite": False, "reporter": SilentReporter()}
    with pipeline.open_run(tmp_path / "run", config, load(config.data), **options):
        assert json.loads((tmp_path / "run" / "classes.json").read_text()) == ["3", "30", "300", "3000"]
