"""`jdarts analyze` of a search on text: its windows, the Hessian against autodiff, the analyses of the command."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tiny_text import BPTT, CONFIG, SPACE, TRAIN_CONFIG, write_text

from jdarts import methods, spaces
from jdarts.analysis.command import AnalysisOptions, analyze
from jdarts.analysis.discretisation import recalibrated
from jdarts.analysis.run_folders import open_run
from jdarts.data.text import load_text
from jdarts.errors import UserError
from jdarts.runs.folder import RunFolder
from jdarts.search import SearchRun, run_search

BATCH = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished search of one epoch."""
    root = tmp_path_factory.mktemp("text")
    write_text(root / "text")
    data = dataclasses.replace(TRAIN_CONFIG.data, path=str(root / "text"))
    settings = dataclasses.replace(CONFIG.search, epochs=1, hypergradient="first_order")
    config = dataclasses.replace(TRAIN_CONFIG, data=data, search=settings, language_search=CONFIG.language_search)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(spaces.LANGUAGE, SPACE.name, SPACE)
        run = RunFolder.create(root / "run", config)
        run_search(SearchRun(config, SPACE, load_text(data), run, methods.configured(settings)))  # pyright: ignore
        yield run.path


def test_batches_are_disjoint_windows_of_the_columns(folder):
    live = open_run(folder)
    text = live.data.valid  # pyright: ignore[reportAttributeAccessIssue]
    columns = text[: len(text) // BATCH * BATCH].reshape(BATCH, -1)
    starts = range(0, columns.shape[1] - BPTT, BPTT)
    found = live.batches(len(starts), size=BATCH)
    assert sorted(int(batch["position"]) - BPTT for batch in found) == list(starts)
    for batch in (*found, *live.whole("val", size=BATCH)):
        start = int(batch["position"]) - BPTT
        np.testing.assert_array_equal(batch["tokens"], columns[:, start : start + BPTT])
        np.testing.assert_array_equal(batch["targets"], columns[:, start + 1 : start + BPTT + 1])
        assert not np.any(batch["hidden"])
    with pytest.raises(UserError, match="batches of 3 columns from the val split, which has"):
        live.batches(len(starts) + 1, size=BATCH)


def test_recalibrated_statistics_do_not_depend_on_the_old_ones_and_are_a_weighted_mean(folder):
    """With one batch they are the debiased running averages of a pass, whatever these start from."""
    live = open_run(folder)
    (batch,), loss = live.batches(1, size=BATCH), jax.jit(live.loss(train=True, takes="op_weights"))
    found = recalibrated(loss, live.w, live.op_weights, [batch], passes=live.examples.norms_a_pass)
    applications = 3 * BPTT
    for start in (0.0, 5.0):
        running = jnp.full_like(batch["batch_stats"], start)
        moved = loss(live.w, live.op_weights, {**batch, "batch_stats": running})[1]["batch_stats"]
        kept = 0.9**applications
        np.testing.assert_allclose((moved - kept * start) / (1 - kept), found, rtol=1e-4, atol=1e-6)


def test_the_command_analyses_text(folder):
    options = AnalysisOptions(batches=1, batch_size=BATCH, points=2)
    result = json.loads(analyze(folder, options, tell=lambda text: None).read_text())
    assert {"hessian", "landscape", "gap"} <= result.keys() and "correlation" not in result
    live = open_run(folder)
    (batch,) = live.batches(1, size=BATCH)
    flat, unflatten = jax.flatten_util.ravel_pytree(live.alphas)
    loss = live.search.loss
    matrix = jax.jit(jax.hessian(lambda a: loss(live.w, unflatten(a), batch)[0]))(flat)
    np.testing.assert_allclose(result["hessian"]["matrix"], matrix, rtol=1e-3, atol=1e-6)
    assert result["genotype"] == live.genotype.to_text() and result["gap"]["soft"]["loss"] > 0
    with pytest.raises(UserError, match="which recurrent cells do not have; use --hessian"):
        analyze(folder, dataclasses.replace(options, parts=("correlation",)), tell=lambda text: None)
