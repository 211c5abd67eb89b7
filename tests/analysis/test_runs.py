"""Analyses of a real, tiny search: its own records, the output of `analyze`, and folders that are not runs."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import cli, pipeline
from jdarts.analysis import alpha_hessian, discretisation_gap, live, open_run
from jdarts.analysis.discretisation import recalibrated
from jdarts.analysis.monitor import OF_THE_NORMAL_CELL, collapse_indicators
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.errors import UserError
from jdarts.runs.reporter import SilentReporter

pytestmark = pytest.mark.slow
CONFIG = Experiment(
    name="tiny",
    data=DataConfig(source="synthetic:8x8x1:4:160", crop_padding=1),
    space=SpaceConfig(name="robust_s2", channels=4, cells=1),
    search=SearchConfig(epochs=2, batch_size=16, hypergradient="first_order", hessian_every=1),
)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysis") / "run"
    reporter = SilentReporter()
    pipeline.run_search_only(CONFIG, [], folder, resume=False, reporter=reporter)
    return folder, reporter, open_run(folder)


def metrics(folder):
    return [json.loads(line) for line in (folder / "search/metrics.jsonl").read_text().splitlines()]


def test_a_search_records_its_eigenvalues_and_indicators(searched):
    folder, _, run = searched
    records = metrics(folder)
    assert [r["epoch"] for r in records] == [1, 2]
    for record in records:
        assert len(record["alpha_hessian_eigenvalues"]) == 56
        assert record["dominant_eigenvalue"] == pytest.approx(max(record["alpha_hessian_eigenvalues"]), rel=1e-5)
        assert record["alive"] is True
        assert record["alpha_gradient_norm"] > 0 and record["alpha_hessian_seconds"] >= 0
        assert 0 < record["relative_entropy"] <= 1
        assert not set(OF_THE_NORMAL_CELL) & set(record), "one cell: it is a reduction cell"
    own = collapse_indicators(run.op_weights, run.space)
    assert records[-1]["margin"] == pytest.approx(own["margin"], rel=1e-6)


def test_the_last_record_is_the_hessian_of_the_last_alpha_batch(searched):
    folder, _, run = searched
    found = alpha_hessian(run.loss(train=True), run.w, run.alphas, [run.last_alpha_batch()], chunk=56, compile=jax.jit)
    np.testing.assert_allclose(
        found.eigenvalues, metrics(folder)[-1]["alpha_hessian_eigenvalues"], atol=1e-4 * found.max_eigenvalue
    )
    assert found.shift_residual < 1e-5, "float32"
    before = run.state.replace(step=run.state.step - 1)
    np.testing.assert_array_equal(
        run.last_alpha_batch()["images"], run.search.draw(before, run.search.arrays)[-1]["images"]
    )


def test_losses_and_batches_of_a_run(searched):
    run = searched[2]
    batches = run.batches(2, size=20, seed=3)
    rows = np.concatenate([np.asarray(b["images"]).reshape(20, -1) for b in batches])
    assert len(np.unique(rows, axis=0)) == 40, "disjoint"
    again = run.batches(2, size=20, seed=3)
    np.testing.assert_array_equal(again[1]["images"], batches[1]["images"])
    np.testing.assert_array_equal(again[1]["labels"], batches[1]["labels"])
    evaluation = jax.jit(run.loss(train=False))
    by_alphas = evaluation(run.w, run.alphas, batches[0])
    by_weights = jax.jit(run.loss(train=False, takes="op_weights"))(run.w, run.op_weights, batches[0])
    assert float(by_alphas[0]) == pytest.approx(float(by_weights[0]), rel=1e-6)
    score = jax.jit(run.search.score)(run.state, run.op_weights, run.data.val.images[:16], run.data.val.labels[:16])
    assert float(evaluation(run.w, run.alphas, run.whole()[0])[1]["accuracy"]) == pytest.approx(float(score))
    assert run.loss(train=True) is run.at(run.state).loss(train=True), "one function, one compilation"
    with pytest.raises(UserError, match=r"5 batches of 20 images from the .* split, which has 4; ask for fewer"):
        run.batches(5, size=20)
    assert live(CONFIG, run.state, data=run.data).genotype == run.genotype


def test_recalibration_forgets_the_old_averages(searched):
    run = searched[2]
    batches = run.batches(2, split="train")
    loss = jax.jit(run.loss(train=True, takes="op_weights"))
    found = recalibrated(loss, run.w, run.op_weights, batches)
    moved = [{**b, "batch_stats": jax.tree.map(lambda s: s + 7, b["batch_stats"])} for b in batches]
    for a, b in zip(
        jax.tree.leaves(found), jax.tree.leaves(recalibrated(loss, run.w, run.op_weights, moved)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    # one batch: evaluation with its own statistics is training mode, except for the unbiased variance
    stats = recalibrated(loss, run.w, run.op_weights, batches[:1])
    evaluated = jax.jit(run.loss(train=False))(run.w, run.alphas, {**batches[0], "batch_stats": stats})[0]
    assert float(evaluated) == pytest.approx(float(loss(run.w, run.op_weights, batches[0])[0]), rel=0.02)


def test_the_discretisation_gap_is_a_difference_of_accuracies(searched):
    run = searched[2]
    gap = discretisation_gap(run, recalibration=2)
    assert gap["gap"] == pytest.approx(gap["soft"]["accuracy"] - gap["one_hot"]["accuracy"])
    hard = run.space.one_hot(run.genotype)
    loss = jax.jit(run.loss(train=False, takes="op_weights"))
    direct = [float(loss(run.w, hard, batch)[1]["accuracy"]) for batch in run.whole()]
    assert gap["one_hot"]["accuracy"] == pytest.approx(np.mean(direct))
    assert jnp.sum(hard["normal"]) == 8


def test_analyze_writes_numbers_and_figures(searched, capsys):
    folder, _, run = searched
    options = ["--batches", "2", "--points", "3", "--chunk", "28", "--directions", "gradient"]
    parts = ["--hessian", "--landscape", "--correlation", "--gap", "--weights"]
    assert cli.main(["analyze", str(folder), *parts, *options]) == 0
    out = capsys.readouterr().out
    assert "λ max" in out and out.strip().endswith("analysis.json")
    found = json.loads((folder / "analysis/analysis.json").read_text())
    assert found["epoch"] == 2 and found["genotype"] == run.genotype.to_text()
    assert np.shape(found["hessian"]["matrix"]) == (56, 56) and len(found["hessian"]["errors"]) == 56
    assert np.shape(found["landscape"]["loss"]) == (3, 3)
    same = found["correlation"]["schemes"]["same batch (Single-DARTS)"]["sep_conv_3x3"]
    assert same["cosine"] == pytest.approx(1, abs=1e-6) and same["raw"] > 0
    assert found["weights"]["largest"] >= found["weights"]["smallest"]
    for name in (
        "alpha_hessian",
        "landscape",
        "landscape_surface",
        "gradient_correlation",
        "operator_gradients",
        "discretisation_gap",
        "weight_spectrum",
    ):
        assert (folder / f"analysis/{name}.svg").stat().st_size > 1000 and (folder / f"analysis/{name}.png").exists()
    assert cli.main(["report", str(folder)]) == 0
    text = (folder / "report.html").read_text()
    assert "Spectrum of the alpha-Hessian" in text and "derived ops only" in text


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda p: shutil.rmtree(p / "search/checkpoints"), "has no checkpoint of a search yet"),
        (
            lambda p: [shutil.rmtree(c / "state") for c in (p / "search/checkpoints").iterdir() if c.is_dir()],
            "can be read",
        ),
        (
            lambda p: (p / "config.json").write_text(
                (p / "config.json").read_text().replace('"channels": 4', '"channels": 6')
            ),
            "does not fit",
        ),
    ],
)
def test_runs_that_cannot_be_analysed(searched, tmp_path, capsys, break_it, message):
    path = tmp_path / "run"
    shutil.copytree(searched[0], path)
    break_it(path)
    assert cli.main(["analyze", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.strip().count("\n") == 0 and "Traceback" not in error


def test_reading_a_run_changes_nothing_in_it(searched, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(searched[0], path)
    temporary = path / "search/checkpoints/99.orbax-checkpoint-tmp-1"
    temporary.mkdir()  # a checkpoint that the search is just writing
    before = sorted(str(f) for f in path.rglob("*"))
    open_run(path)
    assert sorted(str(f) for f in path.rglob("*")) == before


def test_unknown_directions(searched, capsys):
    assert cli.main(["analyze", str(searched[0]), "--directions", "north"]) == 2
    assert "choose from random, gradient, eigenvectors" in capsys.readouterr().err
