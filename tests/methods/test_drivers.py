"""Drivers above the step, on one cell and a few images: stages, rollback, perturbation, early stop, random search."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.one_cell import NARROW, OneCellSpace

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SpaceConfig, TrainConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.genotypes import DARTS_OPS, parse
from jdarts.methods import build, configured
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.schedules import Clock
from jdarts.search import SearchRun, make_search, run_search
from jdarts.search.drivers.drnas import sources, transplanted, widened
from jdarts.search.drivers.r_darts import regularised
from jdarts.search.drivers.stac_nas import STACNAS_GROUPS
from jdarts.search.drivers.stages import narrowed
from jdarts.spaces import define_space, nasbench201

CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x1:3:16", crop_padding=1),
    space=SpaceConfig(name="nasbench201", channels=4, cells=1),
    search=SearchConfig(
        epochs=3, batch_size=4, hypergradient="first_order", alpha_optimizer=AdamConfig(learning_rate=1e-6)
    ),
)


def run(tmp_path, method, *options, resume=False, reporter=None, space=None, train=None, **changes):
    search = dataclasses.replace(CONFIG.search, method=method, method_options=options, **changes)
    config = dataclasses.replace(CONFIG, search=search, train=train or CONFIG.train)
    folder = RunFolder.open(tmp_path / "run", config) if resume else RunFolder.create(tmp_path / "run", config)
    reporter = reporter or SilentReporter()
    space = space or OneCellSpace()
    asked = SearchRun(config, space, load(config.data), folder, configured(config.search), resume, reporter)
    return run_search(asked), folder


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
    (_, state), folder = run(tmp_path, "darts_ada", *always, space=NARROW)
    levels = [folder.subfolder(f"level_{i}") for i in range(3)]
    assert [[r["epoch"] for r in level.records("metrics")] for level in levels] == [[1, 2], [1, 2], [1, 2, 3]]
    first, second = levels[0].records("metrics"), levels[1].records("metrics")
    assert first[0] == second[0]  # the epoch that it returned to
    assert first[1]["train_loss"] != second[1]["train_loss"]
    assert all(r["dominant_eigenvalue"] >= 1e-3 - 1e-6 for r in first)
    assert all(r["alive"] is True for r in first), "it learns, whatever its accuracy"
    assert int(state.step) == 6


class PulledPlug(SilentReporter):
    """Ends the program, as a power cut would, in the second of the two epochs of the third tuning."""

    tuning = False

    def phase(self, title, *rest):
        self.tuning = title.startswith("tuning 3")

    def step(self, step, metrics=None):
        if self.tuning and step == 2 * 2 * 2 + 2 + 1:
            raise ConnectionError("no power")


@pytest.mark.slow
def test_perturbation_decides_every_edge_by_the_accuracy_without_each_op_and_resumes_inside_tuning(tmp_path):
    options = ("darts_pt", "tune_epochs=2")
    (genotype, state), folder = run(tmp_path, *options, epochs=1, space=NARROW)
    (tmp_path / "cut").mkdir()
    with pytest.raises(ConnectionError):
        run(tmp_path / "cut", *options, epochs=1, reporter=PulledPlug(), space=NARROW)
    before = RunFolder(tmp_path / "cut" / "run").records("decisions")
    (again, same), cut = run(tmp_path / "cut", *options, epochs=1, resume=True, space=NARROW)
    assert len(before) == 3 and again == genotype
    assert cut.records("decisions") == folder.records("decisions") and cut.records("decisions")[:3] == before
    for name in ("weights", "alphas", "batch_stats"):
        for a, b in zip(jax.tree.leaves(getattr(state, name)), jax.tree.leaves(getattr(same, name)), strict=True):
            np.testing.assert_array_equal(a, b)
    decisions = folder.records("decisions")
    assert len(decisions) == 6 and len({tuple(d["edge"]) for d in decisions}) == 6
    for d in decisions:
        worst = int(np.argmin(d["accuracy_without"]))
        source, target = d["edge"]
        assert d["op"] == NARROW.cell[NARROW.edges.index((source, target))][worst]
        assert dict((s, op) for op, s in genotype.normal.nodes[target - 1])[source] == d["op"]
    assert int(state.step) == 5 * 2 * 2  # two epochs of tuning behind five decisions, two steps each


def test_random_search_takes_the_best_by_twelve_epochs_of_the_table(tmp_path, real_data):
    table = str(real_data / "nasbench201.csv.gz")
    (genotype, state), folder = run(tmp_path, "random_search", "samples=50", benchmark_table=table)
    samples = json.loads((folder.path / "samples.json").read_text())
    assert state is None and len(samples) == 50
    assert genotype.to_text() == max(samples, key=lambda s: s["c10_valid_12"])["genotype"]


def test_random_search_without_a_table_needs_validation_images(tmp_path):
    with pytest.raises(UserError, match=r"set train\.val_fraction"):
        run(tmp_path, "random_search")


@pytest.mark.slow
def test_r_darts_tells_all_strengths_and_takes_the_best_by_validation(tmp_path):
    train = TrainConfig(epochs=9, batch_size=4, channels=4, cells=1, auxiliary_weight=0.0, drop_path=0.0, cutout=0)
    options = ("strengths=0.0003,0.3", "train_epochs=1", "val_fraction=0.25")
    (genotype, state), folder = run(tmp_path, "r_darts", *options, epochs=1, train=train)
    found = json.loads((folder.path / "strengths.json").read_text())
    assert state is None and [entry["strength"] for entry in found] == [3e-4, 0.3]
    best = int(np.argmax([entry["val_accuracy"] for entry in found]))
    assert [entry["chosen"] for entry in found] == [i == best for i in range(2)]
    assert genotype.to_text() == found[best]["genotype"]
    for i, entry in enumerate(found):
        records = folder.subfolder(f"strength_{i}").subfolder("train").records("metrics")
        assert [r["epoch"] for r in records] == [1] and records[0]["val_accuracy"] == entry["val_accuracy"]
        assert 0 <= entry["test_accuracy"] <= 1
    losses = [folder.subfolder(f"strength_{i}").subfolder("search").records("metrics")[0] for i in range(2)]
    assert losses[0]["train_loss"] != losses[1]["train_loss"]  # the decay was another one


def test_the_strengths_of_r_darts_are_weight_decays_or_drop_path_with_cutout():
    method = build("r_darts")
    decays = [regularised(CONFIG.search, method, s)[0].weight_optimizer.weight_decay for s in (3e-4, 81e-4)]
    assert method.options["strengths"] == (3e-4, 9e-4, 27e-4, 81e-4) and decays == [3e-4, 81e-4]
    dropping = build("r_darts", ("by=dp",))
    assert dropping.options["strengths"] == (0.0, 0.2, 0.4, 0.6)
    for strength, cutout in ((0.0, 0.0), (0.6, 1.0)):
        settings, one = regularised(CONFIG.search, dropping, strength)
        last = Clock(jnp.float32(49), 50)
        assert settings == CONFIG.search and one.driver is None
        assert float(one.edge_values["drop_path"](last)) == pytest.approx(strength)
        assert float(one.cutout_probability(last)) == pytest.approx(cutout)


@pytest.mark.slow
def test_drnas_prunes_and_widens_and_goes_on(tmp_path):
    options = ("parts=2,1", "keep=3", "frozen=1")
    (genotype, state), folder = run(tmp_path, "drnas_progressive", *options, epochs=4)
    stages = [folder.subfolder(f"stage_{i}") for i in range(2)]
    assert [[r["epoch"] for r in stage.records("metrics")] for stage in stages] == [[1, 2], [3, 4]]
    alphas = [np.asarray(r["alphas"]["cell"]) for stage in stages for r in stage.records("genotypes")]
    assert [a.shape for a in alphas] == [(6, 5), (6, 5), (6, 3), (6, 3)]
    kept = np.sort(np.argsort(-alphas[1], axis=1, kind="stable")[:, :3], axis=1)
    np.testing.assert_array_equal(np.take_along_axis(alphas[1], kept, axis=1), alphas[2])  # frozen in epoch 3
    assert not np.array_equal(alphas[2], alphas[3])
    assert int(state.step) == 4 * 2 and parse(genotype.to_text()) == genotype
    (again, same), _ = run(tmp_path, "drnas_progressive", *options, epochs=4, resume=True)
    assert again == genotype and np.array_equal(same.weights, state.weights)


def test_pruned_candidates_leave_the_network_of_the_others_as_it_was():
    config, space = CONFIG, OneCellSpace()
    data = load(config.data).for_search(config.data)
    old = make_search(config, space, data)
    state = old.init(jax.random.key(3))
    weights = np.random.default_rng(0).uniform(size=(6, 5))
    small = narrowed(space, {"cell": weights}, 3)
    new = make_search(config, small, data)
    moved = transplanted(old, state, new, new.init(jax.random.key(4)))
    columns = np.array([[ops.index(op) for op in kept] for ops, kept in zip(space.cell, small.cell, strict=True)])
    p = np.random.default_rng(1).uniform(size=(6, 3)).astype(np.float32)
    whole = np.zeros((6, 5), np.float32)
    np.put_along_axis(whole, columns, p, axis=1)
    batch, _ = old.draw(state, old.arrays)
    expected = old.network_loss(state.weights, {"cell": jnp.asarray(whole)}, batch)[0]
    np.testing.assert_allclose(new.network_loss(moved.weights, {"cell": jnp.asarray(p)}, batch)[0], expected, rtol=1e-5)
    assert moved.weights.size < state.weights.size
    np.testing.assert_array_equal(
        moved.alphas["cell"], np.take_along_axis(np.asarray(state.alphas["cell"]), columns, 1)
    )


def test_a_wider_op_on_repeated_channels_gives_its_output_repeated():
    from jdarts.networks.fast.ops import candidate

    old, new = (candidate("sep_conv_3x3", search=True, channels=c, edges=2, affine=False) for c in (6, 9))
    x = jax.random.normal(jax.random.key(0), (4, 5, 5, 6))
    variables = old.init(jax.random.key(1), x, True)
    chosen = sources(6, 9)
    assert list(chosen[:6]) == list(range(6)) and chosen.max() < 6
    wide = x[..., chosen]
    shapes = jax.eval_shape(lambda x: new.init(jax.random.key(1), x, True), wide)
    grown = jax.tree.map(lambda value, leaf: widened(value, leaf.shape), dict(variables), dict(shapes))
    before = old.apply(variables, x, True, mutable=["batch_stats"])[0]
    after = new.apply(grown, wide, True, mutable=["batch_stats"])[0]
    expected = before.reshape(*before.shape[:3], -1, 6)[..., chosen].reshape(after.shape)
    np.testing.assert_allclose(after, expected, atol=1e-4)


@pytest.mark.slow
def test_stac_nas_opens_the_winning_group_of_each_edge(tmp_path):
    space = define_space("two_edges", nodes=1, normal=DARTS_OPS)
    (genotype, _), folder = run(tmp_path, "stac_nas", "cells=1,2", epochs=1, space=space)
    first, second = (folder.subfolder(f"stage_{i}").records("genotypes")[-1]["alphas"] for i in range(2))
    assert {np.shape(a) for a in first.values()} == {(2, 5)} and {np.shape(a) for a in second.values()} == {(2, 3)}
    groups = list(STACNAS_GROUPS.values())
    for cell_type, cell in genotype.cells.items():
        for op, source in cell.nodes[0]:
            group = groups[int(np.argmax(np.asarray(first[cell_type])[source, :4]))]
            inside = np.asarray(second[cell_type])[source].copy()
            inside[group.index("none")] = -np.inf
            assert op == group[int(np.argmax(inside))]
