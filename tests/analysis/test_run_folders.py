"""Run folders with several searches, and searches that run once: their states are those of a loop by hand."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

import jdarts
from jdarts import analysis, methods, spaces
from jdarts.analysis.run_folders import open_epochs, open_run
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.methods import Method
from jdarts.pipeline import cached
from jdarts.runs.lock import RunLock
from jdarts.search import make_search

pytestmark = pytest.mark.slow
CONFIG = Experiment(
    name="tiny",
    data=DataConfig(source="synthetic:8x8x1:3:16", crop_padding=1),
    space=SpaceConfig(name="nasbench201", channels=4, cells=1),
    search=SearchConfig(epochs=2, batch_size=4, hypergradient="first_order", keep_checkpoints=2),
)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """`(run folder, the searches of two seeds)`, from the default folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JDARTS_CACHE", str(tmp_path_factory.mktemp("cache")))
        found = jdarts.cached_searches(CONFIG, (0, 4))
        return cached._cache_folder(CONFIG, (0, 4)), found


def test_every_epoch_of_a_seed_is_that_of_a_loop_by_hand(searched):
    config = replace(CONFIG, seed=4)
    search = make_search(config, spaces.get("nasbench201"), load(config.data).for_search(config.data))
    step, state = analysis.compile_pieces(search.step), jax.jit(search.init)(jax.random.key(4))
    for epoch in searched[1][1]:
        for name in ("weights", "alphas", "step", "sums"):
            wanted, found = getattr(state, name), getattr(epoch.state, name)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), wanted, found)
        for _ in range(search.steps_per_epoch):
            state, _ = step(state, search.arrays)
    assert [epoch.epoch for epoch in searched[1][1]] == [0, 1, 2]
    assert len({id(epoch.loss(train=True)) for epochs in searched[1] for epoch in epochs}) == 1, "one compiled loss"


def test_the_second_call_only_reads(searched, monkeypatch):
    folder, first = searched
    monkeypatch.setattr(cached, "run_search_only", None)
    again = jdarts.cached_searches(CONFIG, (0, 4), folder=folder)
    for a, b in zip(jax.tree.leaves(first[0][2].alphas), jax.tree.leaves(again[0][2].alphas), strict=True):
        np.testing.assert_array_equal(a, b)
    newest = open_run(folder / "search" / "seed-4")
    np.testing.assert_array_equal(newest.w, first[1][2].w)
    assert newest.config.seed == 4


def test_a_search_of_another_process_is_awaited(searched, monkeypatch):
    results, away = searched[0] / "search/members.json", searched[0] / "away.json"
    results.rename(away)
    lock, waits = RunLock(searched[0]), []

    def end(seconds):
        waits.append(seconds)
        lock.release()
        away.rename(results)

    monkeypatch.setattr(cached.time, "sleep", end)
    assert len(jdarts.cached_searches(CONFIG, (0, 4), folder=searched[0])) == 2 and len(waits) == 1


def test_what_cannot_be_opened(searched):
    with pytest.raises(UserError, match=r"holds 2 searches, seed-0 to seed-4; give .*search/seed-0"):
        open_run(searched[0])
    with pytest.raises(UserError, match="is not a run folder"):
        open_epochs(searched[0].parent)


def test_the_cache_of_searches_refuses_code_that_it_cannot_watch():
    @methods.register
    def darts_of_this_test() -> Method:
        return methods.build("darts", ())

    config = replace(CONFIG, search=replace(CONFIG.search, method="darts_of_this_test"))
    with pytest.raises(UserError, match=r"test_run_folders\.py; give cached_searches a folder"):
        jdarts.cached_searches(config, (0,))


def test_a_swept_search_has_its_values(searched, tmp_path):
    from jdarts.search.stored import _member

    with pytest.raises(UserError, match="recorded at the end"):
        _member(tmp_path, "seed-1,learning_rate-0.1")
    entry = {"name": "seed-1,learning_rate-0.1", "seed": 1, "search.weight_optimizer.learning_rate": 0.1, "loss": 2.0}
    (tmp_path / "members.json").write_text(json.dumps({"members": [entry]}))
    config = _member(tmp_path, entry["name"]).config(CONFIG)
    assert config.seed == 1 and config.search.weight_optimizer.learning_rate == 0.1
