"""Hooks of several searches in one program, and of a search whose images are streamed."""

import dataclasses

import jax
import numpy as np
import pytest
from PIL import Image

from jdarts import spaces
from jdarts.analysis.monitor import monitor_hooks
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.data.streaming import open_streams
from jdarts.devices.placement import place
from jdarts.errors import UserError
from jdarts.genotypes import parse
from jdarts.methods import build
from jdarts.runs.folder import RunFolder
from jdarts.schedules import Clock
from jdarts.search import SearchRun, make_search, run_search, single_loop
from jdarts.search import population as population_module
from jdarts.search.hooks import EpochEnd, call_hooks
from jdarts.search.members import members_of
from jdarts.search.population import check_members
from jdarts.search.streams import last_arrays, open_splits

CONFIG = Experiment(
    name="tiny",
    data=DataConfig(source="synthetic:8x8x1:4:160", crop_padding=1),
    space=SpaceConfig(name="robust_s2", channels=4, cells=1),
    search=SearchConfig(epochs=10, batch_size=16, hypergradient="first_order"),
)


def test_every_hook_sees_what_those_before_it_added():
    seen = []

    def first(moment):
        return {"a": moment.epoch + moment.record["loss"]}

    def second(moment):
        seen.append(moment.record)
        return {"b": moment.record["a"] * 2}

    assert call_hooks([first, second], EpochEnd(3, {}, unused_state, {"loss": 0.5})) == {"a": 3.5, "b": 7.0}
    assert seen == [{"loss": 0.5, "a": 3.5}]


def unused_state():
    raise AssertionError("no hook asked for the state")


def test_each_member_is_warned_of_by_itself(tmp_path):
    config = dataclasses.replace(CONFIG, space=dataclasses.replace(CONFIG.space, cells=3))
    space, data = spaces.get("robust_s2"), load(config.data).for_search(config.data)
    search = make_search(config, space, data)
    members = members_of(config, "3,5", ["alpha_optimizer.learning_rate=0.25"])
    warnings = {member.name: [] for member in members}
    hooks_of = monitor_hooks(config, search)
    hooks = [
        hooks_of(m.config(config), RunFolder(tmp_path), lambda text, name=m.name: warnings[name].append(text))
        for m in members
    ]

    def favouring(name, alpha):
        table = space.tables.items()
        return {cell: np.array([[alpha * (op == name) for op in ops] for ops in edges]) for cell, edges in table}

    each = favouring("skip_connect", 9.0), favouring("sep_conv_3x3", 0.1)
    records = [call_hooks(own, EpochEnd(2, alphas, unused_state, {})) for own, alphas in zip(hooks, each, strict=True)]
    collapsed, healthy = warnings.values()
    assert healthy == [] and "warnings" not in records[1]
    assert [w["rule"] for w in records[0]["warnings"]] == ["skips", "entropy"]
    assert "epoch 2: 8 of 8 edges of the normal cell are skip connections" in collapsed[0]
    assert "alpha_optimizer.learning_rate (0.25)" in collapsed[1], "the member's own value"


def test_curvature_of_members_needs_one_process(monkeypatch):
    config = dataclasses.replace(CONFIG, search=dataclasses.replace(CONFIG.search, hessian_every=2))
    members = members_of(config, "2", [])
    check_members(config.search, members)
    monkeypatch.setattr(population_module.processes, "count", lambda: 2)
    check_members(CONFIG.search, members)
    with pytest.raises(UserError, match=r"search\.hessian_every is 2, but with --seeds .* 2 processes"):
        check_members(config.search, members)


@pytest.fixture
def streamed(tmp_path):
    """A configuration whose images are streamed from a folder."""
    for label in range(2):
        folder = tmp_path / "train" / f"class_{label}"
        folder.mkdir(parents=True)
        for i in range(16):
            pixels = np.random.default_rng([label, i]).integers(0, 256, (9, 9, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:02}.png")
    settings = DataConfig(source="stream:folder", path=str(tmp_path), image_size=8, crop_padding=0, read_threads=2)
    return dataclasses.replace(
        CONFIG, data=settings, search=dataclasses.replace(CONFIG.search, batch_size=4, microbatches=2)
    )


def staged(streamed, folder, method):
    """A run on one device."""
    config = dataclasses.replace(streamed, search=dataclasses.replace(streamed.search, epochs=1))
    folder, placement = RunFolder.create(folder, config), place(config.devices, batch_size=4, microbatches=2)
    return SearchRun(config, spaces.get("robust_s2"), open_streams(config.data), folder, method), placement


def test_stages_of_p_darts_read_streamed_images(tmp_path, streamed, monkeypatch):
    made, place_search = [], single_loop.place_search

    def record(*args, **options):
        placed = place_search(*args, **options)
        made.append(placed.search.method.edge_values["skip_dropout"](Clock(np.float32(0), 1)))
        return placed

    monkeypatch.setattr(single_loop, "place_search", record)
    method = build("p_darts", ["cells=1,1,1", "skip_dropout=0.2,0.4,0.6", "frozen=0"])
    run, placement = staged(streamed, tmp_path / "run", method)
    genotype, _ = run_search(run, placement)
    assert parse(genotype.to_text()) == genotype
    assert list(map(float, made)) == pytest.approx([0.2, 0.4, 0.6]), "the dropout of each stage"
    for stage in range(3):
        (record,) = run.folder.subfolder(f"stage_{stage}").records("metrics")
        assert record["epoch"] == 1 and np.isfinite(record["train_loss"])


def test_drivers_with_other_loops_refuse_streamed_images(tmp_path, streamed):
    run, placement = staged(streamed, tmp_path / "run", build("darts_pt"))
    with pytest.raises(UserError, match=r"darts_pt runs several loops with the images in memory.* p_darts or stac_nas"):
        run_search(run, placement)


def test_the_last_streamed_batch_is_drawn_again(streamed):
    config, data = streamed, open_streams(streamed.data)
    search = make_search(config, spaces.get("robust_s2"), data)
    state = jax.eval_shape(search.init, jax.random.key(0))
    steps = {
        split: list(zip(range(6), s.batches(), strict=False))
        for split, s in open_splits(config, data, search.method).items()
    }
    for done in (1, 6):  # the second epoch begins with step 4
        arrays = last_arrays(config, search)(state.replace(step=np.int32(done)))
        for split, batches in steps.items():
            used = batches[done - 1][1]
            np.testing.assert_array_equal(arrays[f"{split}_images"], used["images"].reshape(4, 8, 8, 3))
            np.testing.assert_array_equal(arrays[f"{split}_labels"], used["labels"].ravel())
