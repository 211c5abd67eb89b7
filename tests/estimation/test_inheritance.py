"""Inherited weights: the path of an architecture in float64 against a network that has no other path, recalibration
against NumPy, one compilation for all architectures, the command line, mistakes.
"""

import dataclasses
import json
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util
from scipy import stats
from support.one_cell import NARROW_CELL
from support.real_data import REAL_DATA

from jdarts import cli, spaces
from jdarts.analysis import correlate_estimators
from jdarts.benchmarks import load_table
from jdarts.commands import process
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig, TrainConfig
from jdarts.config.files import to_json
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.estimation import Inherited, inherited, nasbench201_lookup
from jdarts.ops import plain
from jdarts.pipeline import run_search_only
from jdarts.runs.reporter import SilentReporter
from jdarts.search import Search, make_search
from jdarts.search.images import ImageObjective
from jdarts.spaces.cell_space import CellSpace
from jdarts.spaces.decisions import uniform

CONFIG = Experiment(
    name="toy",
    data=DataConfig(source="synthetic:8x8x1:4:72", crop_padding=0, flip=False),
    space=SpaceConfig(name="nasbench201", channels=4, cells=1),
    search=SearchConfig(epochs=1, batch_size=8, hypergradient="first_order"),
    train=TrainConfig(batch_size=8, channels=4, cells=1, epochs=1, auxiliary_weight=0.0, cutout=0, drop_path=0.0),
)
NARROW = spaces.NASBench201Space("narrow", NARROW_CELL)
OWN = spaces.define_space("one_node", nodes=1, normal=("none", "skip_connect", "max_pool_3x3", "sep_conv_3x3"))


def searched(space, cells) -> tuple[Experiment, Search, Any]:
    """A search in float64 with random weights, running averages and alphas."""
    config = dataclasses.replace(
        CONFIG,
        space=SpaceConfig(name=space.name, channels=4, cells=cells),
        search=dataclasses.replace(CONFIG.search, batch_size=12),
    )
    search = make_search(config, space, load(config.data).for_search(config.data))
    state: Any = jax.jit(search.init)(jax.random.key(3))
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda x: x.astype(float) if jnp.issubdtype(x.dtype, jnp.floating) else x, state)
    return config, search, state.replace(batch_stats=state.batch_stats + rng.uniform(0, 0.5, state.batch_stats.shape))


def alone(space, tree, op_weights):
    """`(space, arrays)` in which every edge has only the op of its largest weight, or `none`."""
    chosen = {
        cell: tuple((ops[int(np.argmax(p))] if np.any(p) else "none",) for ops, p in zip(table, weights, strict=True))
        for (cell, table), weights in ((item, np.asarray(op_weights[item[0]])) for item in space.tables.items())
    }
    if isinstance(space, CellSpace):
        small = CellSpace("alone", chosen["normal"], chosen["reduce"], edges=space.edges)
        kind = lambda cell: "reduce" if cell in ("cell_1", "cell_2") else "normal"  # noqa: E731  of three cells
    else:
        small, kind = spaces.NASBench201Space("alone", chosen["cell"]), lambda cell: "cell"
    arrays: dict[Any, Any] = {}
    leaves: Any = traverse_util.flatten_dict(tree)
    for path, array in leaves.items():
        if path[0].startswith("cell_") and path[1].startswith("from_"):
            source, op = int(path[1].split("_")[1]), path[1].split("_", 2)[2]
            table, ones = space.tables[kind(path[0])], chosen[kind(path[0])]
            rows = [r for r, (s, _) in enumerate(space.edges) if s == source and op in table[r]]
            kept = [place for place, row in enumerate(rows) if ones[row] == (op,)]
            if not kept:
                continue
            array = array[np.array(kept)] if len(array) == len(rows) else array  # pools share one batch norm
        arrays[path] = array
    return small, traverse_util.unflatten_dict(arrays)


def recorded(network, *args):
    """The mean and the unbiased variance of the inputs of every batch norm, by NumPy, `{path: array [edges, C]}`."""
    found = {}

    def watch(run, args, kwargs, context):
        if isinstance(context.module, plain.BatchNorm) and context.method_name == "__call__":
            x = np.asarray(args[0])
            x = x if x.ndim == 5 else x[None]
            found[(*context.module.path, "mean")] = x.mean((1, 2, 3))
            found[(*context.module.path, "var")] = x.var((1, 2, 3), ddof=1)
        return run(*args, **kwargs)

    with nn.intercept_methods(watch):
        network.apply(*args, mutable=["batch_stats"], rngs={"noise": jax.random.key(0)})
    return found


@pytest.mark.parametrize(("space", "cells", "seed"), [(NARROW, 1, 5), (OWN, 3, 9)], ids=["nasbench201", "own"])
def test_the_path_and_its_statistics(x64, space, cells, seed):
    config, search, state = searched(space, cells)
    estimator = Inherited(config, search, state)
    architecture = space.decode(uniform(space, np.random.default_rng(seed)))
    ops = {op for cell in architecture.cells.values() for node in cell.nodes for op, _ in node}
    assert len(ops) > 2, "the path has several ops"
    images = (search.data.train.images / 255.0 - search.data.mean) / search.data.std
    order = np.random.default_rng(0).permutation(len(images))[:24].reshape(2, 12)

    vector = estimator.statistics(architecture, 2)
    trees = search.variables(state.replace(batch_stats=vector))
    p = estimator.op_weights(architecture)
    whole = search.network.clone(form="plain")
    moments = [recorded(whole, trees, p, jnp.asarray(images[rows]), True) for rows in order]
    stored: Any = traverse_util.flatten_dict(trees["batch_stats"])
    assert set(stored) == set(moments[0]) and len(stored) > 5
    for path, value in stored.items():
        wanted = np.mean([moment[path] for moment in moments], axis=0)
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-11, err_msg=str(path))

    small, params = alone(space, trees["params"], p)
    _, stats = alone(space, trees["batch_stats"], p)
    network = small.supernet(channels=4, cells=cells, classes=4).clone(form="plain")
    ones = {cell: np.ones(shape) for cell, shape in small.alpha_shapes.items()}
    wanted: Any = network.apply({"params": params, "batch_stats": stats}, ones, jnp.asarray(images[:12]), False)
    batch = {"images": jnp.asarray(images[:12]), "batch_stats": vector, "step": state.step}
    assert isinstance(search.objective, ImageObjective)
    logits, _ = jax.jit(search.objective.candidate, static_argnums=3)(state.weights, p, batch, False)
    np.testing.assert_allclose(logits, wanted, rtol=1e-9, atol=1e-11)

    right, val = [], (search.data.val.images / 255.0 - search.data.mean) / search.data.std
    for first in range(0, len(val) // 12 * 12, 12):
        rows = slice(first, first + 12)
        out: Any = network.apply({"params": params, "batch_stats": stats}, ones, jnp.asarray(val[rows]), False)
        right += (np.argmax(out, -1) == search.data.val.labels[rows]).tolist()
    assert estimator(architecture, {"recalibration": 2})["accuracy"] == pytest.approx(100 * np.mean(right))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished search in NAS-Bench-201."""
    folder = tmp_path_factory.mktemp("runs") / "supernet"
    run_search_only(CONFIG, (), folder, resume=False, reporter=SilentReporter())
    return folder


@pytest.fixture(scope="module")
def estimator(run):
    return inherited(run)


def test_all_architectures_share_one_compilation(estimator):
    rng = np.random.default_rng(1)
    architectures = [spaces.nasbench201.decode(uniform(spaces.nasbench201, rng)) for _ in range(5)]
    budget = {"recalibration": 2, "images": 24}
    estimator(architectures[0], budget)
    estimator.many(architectures[:1], budget, at_once=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jdarts.staging.compile", None)
        alone = [estimator(architecture, budget) for architecture in architectures]
        together = estimator.many(architectures, budget, at_once=3)
        same = estimator(spaces.nasbench201.encode(architectures[0]), budget)
    assert [score["accuracy"] for score in together] == [score["accuracy"] for score in alone]
    assert same["accuracy"] == alone[0]["accuracy"] and 0 < same["seconds"] <= same.cost < 2
    assert len({score["accuracy"] for score in alone}) > 1
    assert [score["macs"] for score in together] == [score["macs"] for score in alone]


def test_without_recalibration_the_running_averages_stay(estimator):
    search, state = estimator._search, estimator._state
    genotype = spaces.nasbench201.decode((3, 1, 3, 1, 1, 2))
    np.testing.assert_array_equal(estimator.statistics(genotype, 0), state.batch_stats)
    val = search.data.val
    wanted = search.compiled_score(state, estimator.op_weights(genotype), val.images[:8], val.labels[:8])
    assert estimator(genotype, {"recalibration": 0, "images": 8})["accuracy"] == pytest.approx(100 * float(wanted))
    assert not np.allclose(estimator.statistics(genotype, 1), state.batch_stats)


def test_the_rank_correlation_with_the_table(estimator):
    if not (REAL_DATA / "nasbench201.csv.gz").exists():
        pytest.skip("the NAS-Bench-201 table is not in ../shared/data")
    table = nasbench201_lookup(load_table(REAL_DATA / "nasbench201.csv.gz"))
    budget = {"recalibration": 1}
    found = correlate_estimators(spaces.nasbench201, (estimator, budget), (table, {}), architectures=20)
    assert found.kendall == pytest.approx(stats.kendalltau(found.first, found.second)[0])
    assert found.spearman == pytest.approx(stats.spearmanr(found.first, found.second)[0])
    assert found.second[3] == table(spaces.nasbench201.decode(found.choices[3]), {})["accuracy"]
    assert "inherited" in found.figure(("inherited", "table")).axes[0].get_xlabel()


def test_a_search_on_the_command_line(run, estimator, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(process, "enable_compilation_cache", lambda warn: None)
    (tmp_path / "config.json").write_text(to_json(CONFIG))
    command = ["search", str(tmp_path / "config.json"), "--strategy", "regularized_evolution", "--trials", "6"]
    command += ["--strategy-options", "population=3,sample=2", "--estimator", "inherited", "--supernet", str(run)]
    command += ["--budget", "recalibration=2", "--run-dir", str(tmp_path / "found")]
    assert cli.main(command) == 0
    trials = [json.loads(line) for line in (tmp_path / "found/trials.jsonl").read_text().splitlines()]
    assert len(trials) == 6
    choices = tuple(trials[-1]["params"][d.name] for d in spaces.nasbench201.decisions)
    assert trials[-1]["objectives"]["accuracy"] == estimator(choices, {"recalibration": 2})["accuracy"]

    start = [*command[:6], "--run-dir", str(tmp_path / "other")]
    for options, message in (
        (["--estimator", "inherited"], "needs the weights of a finished search: --supernet RUN"),
        (["--supernet", str(run)], f"the supernet {run} has no meaning for estimator train; use estimator inherited"),
        (["--estimator", "inherited", "--supernet", str(run), "--pruner", "median"], "needs intermediate scores"),
        (["--estimator", "inherited", "--supernet", str(run), "--space.cells", "2"], "give --space.cells 1, or train"),
    ):
        assert cli.main([*start, *options]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"epochs": 1}, "unknown budget 'epochs'"),
        ({"recalibration": 5}, "budget recalibration is 5; use a whole number of 0 to 4"),
        ({"images": 7}, "budget images is 7; use a whole number of 8 to 36"),
    ],
)
def test_wrong_budgets(estimator, budget, message):
    with pytest.raises(UserError, match=message):
        estimator.check((0,) * 6, budget)


def test_architectures_of_another_space(estimator):
    for wrong in (spaces.darts_cnn.random_genotype(0), spaces.nasbench_macro.decode((0,) * 8), (9,) * 6):
        with pytest.raises(UserError):
            estimator.check(wrong, {})
    with pytest.raises(UserError, match="at_once is 0"):
        estimator.many([], {}, at_once=0)


def test_runs_that_cannot_be_inherited_from(run, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        inherited(tmp_path / "nothing")
    for place, message in (
        ("genotype.txt", "is not finished; finish it with --resume"),
        ("search/checkpoints", "no checkpoint"),
    ):
        copy = tmp_path / place.replace("/", "_")
        shutil.copytree(run, copy)
        shutil.rmtree(copy / place) if (copy / place).is_dir() else (copy / place).unlink()
        with pytest.raises(UserError, match=message):
            inherited(copy)
    for space, message in (
        (
            SpaceConfig(name="darts_cnn", channels=4, cells=1),
            r"space.name nasbench201, the configuration has darts_cnn",
        ),
        (SpaceConfig(name="nasbench201", channels=4, cells=5), r"space.cells 1, the configuration has 5"),
    ):
        with pytest.raises(UserError, match=message):
            inherited(run, dataclasses.replace(CONFIG, space=space))
