"""CDARTS: its losses against plain Python, what a step moves, and a search that is cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import methods, spaces
from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.methods.cdarts import Cyclic, ensemble, interaction, joint_loss, penalty, strength
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.search import SearchRun, make_search, run_search
from jdarts.search.cdarts_step import cdarts_step, with_genotype
from jdarts.spaces.per_cell import PerCellSpace

TINY = spaces.define_space("cdarts_tiny", nodes=1, normal=("none", "skip_connect", "dil_conv_3x3"))
CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x1:3:32", crop_padding=1),
    space=SpaceConfig(name="cdarts_tiny.py", channels=4, cells=3),
    search=SearchConfig(
        method="cdarts",
        method_options=("evaluation_cells=4", "pretrain=1"),
        epochs=3,
        batch_size=8,
        weight_optimizer=SGDConfig(0.05, 0.05),
        alpha_optimizer=AdamConfig(0.05, weight_decay=0.0),
    ),
)


def test_the_distances_are_those_of_their_definitions():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(scale=2, size=(2, 6, 4))
    apart = [abs(a - b) for a, b in zip(ours.flat, theirs.flat, strict=True)]
    smooth = np.mean([d * d / 2 if d < 1 else d - 0.5 for d in apart])
    p, q = (np.exp(each / 2) / np.exp(each / 2).sum(1, keepdims=True) for each in (ours, theirs))
    assert float(interaction(ours, theirs, "smooth_l1", 2.0)) == pytest.approx(smooth, rel=1e-5)
    assert float(interaction(ours, theirs, "kl", 2.0)) == pytest.approx((q * np.log(q / p)).sum(1).mean(), rel=1e-5)
    for kind in ("smooth_l1", "kl"):
        assert float(interaction(ours, ours, kind, 2.0)) == pytest.approx(0, abs=1e-6)


def test_the_ensemble_joins_weighted_logits_and_the_joint_loss_is_their_sum():
    logits = [np.full((2, 3), value, np.float32) for value in (1.0, 2.0, 4.0)]
    joined = np.asarray(ensemble([jnp.asarray(each) for each in logits], jnp.log(jnp.array([1.0, 2.0, 1.0]))))
    np.testing.assert_allclose(joined[:, 0], [0.25, 0.25, 1.0, 1.0, 1.0, 1.0], rtol=1e-6)
    settings = Cyclic(balance=2.0, temperature=3.0)
    assert float(joint_loss([jnp.float32(1.0), jnp.float32(3.0)], jnp.float32(0.5), settings)) == 2.0 + 2 * 9 * 0.5


def test_the_penalty_takes_the_ops_without_weights_and_fades():
    alphas = {name: jnp.tile(jnp.array([5.0, -2.0, 7.0]), (2, 1)) for name in TINY.alpha_shapes}
    assert float(penalty(TINY, alphas)) == 3 * 2 * 2 * 2.0  # groups, cells, edges, |α| of skip_connect
    small = {"cell": jnp.full((6, 5), -0.5).at[:, 0].set(-3.0)}
    assert float(penalty(spaces.nasbench201, small)) == 3.0, "the mean of none"
    settings = Cyclic(pretrain=2, penalty_ratio=0.667)
    end = 2 + 0.667 * (32 - 2)
    assert [float(strength(e, 32, settings)) for e in (0, 2)] == [1.0, 1.0]
    assert float(strength(end, 32, settings)) == pytest.approx(0, abs=1e-6) and float(strength(31, 32, settings)) == 0
    assert float(strength((2 + end) / 2, 32, settings)) == pytest.approx(0.5)


@pytest.fixture(scope="module")
def step():
    return cdarts_step(CONFIG, make_search(CONFIG, TINY, load(CONFIG.data).for_search(CONFIG.data)))


def test_a_joint_step_moves_both_networks_and_leaves_the_rest_of_the_pool(step):
    path = TINY.one_hot(TINY.random_genotype(1))
    before = jax.jit(step.init)(jax.random.key(0), path)
    after, metrics = jax.jit(step.joint)(before.replace(step=jnp.int32(2 * step.passes)), step.base.arrays)
    assert bool(metrics["finite"]) and float(metrics["interaction"]) > 0
    for name in ("search", "evaluation"):
        assert not np.array_equal(after.evaluation[name], before.evaluation[name]), f"the mixture of {name}"
    assert all(not np.array_equal(after.search.alphas[n], a) for n, a in before.search.alphas.items())
    assert not np.array_equal(after.search.weights, before.search.weights)
    trees = [step.evaluation_net.tree(s.evaluation["weights"], s.statistics)["params"] for s in (before, after)]
    network, seen = step.evaluation_net.network, {True: 0, False: 0}
    for cell, kind in (("cell_0", "normal"), ("cell_1", "reduce"), ("cell_2", "reduce"), ("cell_3", "normal")):
        for place, (source, _) in enumerate(TINY.edges):
            for column, op in enumerate(TINY.tables[kind][place]):
                old, new = (tree[cell].get(f"from_{source}_{op}") for tree in trees)
                if old is None:
                    continue
                same = all(map(np.array_equal, jax.tree.leaves(old), jax.tree.leaves(new)))
                on_path = bool(path[kind][place, column])
                assert same != on_path, (cell, source, op)
                seen[on_path] += 1
    assert network.heads and min(seen.values()) > 0
    again = with_genotype(step, after, TINY.one_hot(TINY.random_genotype(2)))
    np.testing.assert_array_equal(again.evaluation["weights"], after.evaluation["weights"])


class PulledPlug(SilentReporter):
    """Ends the program in the second epoch."""

    def step(self, step, metrics=None):
        if step == 6:
            raise ConnectionError("no power")


def search(path, *, resume=False, reporter=None):
    folder = RunFolder.open(path, CONFIG) if resume else RunFolder.create(path, CONFIG)
    method, reporter = methods.configured(CONFIG.search), reporter or SilentReporter()
    return run_search(SearchRun(CONFIG, TINY, load(CONFIG.data), folder, method, resume, reporter)), folder


def test_a_search_that_was_cut_goes_on_bit_for_bit(tmp_path):
    (genotype, state), folder = search(tmp_path / "whole")
    with pytest.raises(ConnectionError):
        search(tmp_path / "cut", reporter=PulledPlug())
    (again, same), cut = search(tmp_path / "cut", resume=True)
    assert again == genotype
    for name in ("weights", "alphas", "batch_stats"):
        for a, b in zip(jax.tree.leaves(getattr(state, name)), jax.tree.leaves(getattr(same, name)), strict=True):
            np.testing.assert_array_equal(a, b)
    records = folder.records("metrics")
    losses = [[r.get(n) for r in f.records("metrics")] for f in (folder, cut) for n in ("train_loss", "interaction")]
    assert losses[:2] == losses[2:] and losses[1][0] is None and losses[1][-1] > 0
    assert "val_loss" not in records[0] and records[-1]["evaluation_loss"] > 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match=r"cdarts needs alphas that all cells share.*space\.shared true"):
        methods.build("cdarts").check(PerCellSpace(TINY, 3))
    with pytest.raises(UserError, match="a network of cdarts has 2 cells; three groups need at least 3"):
        changed = SearchConfig(method="cdarts", method_options=("evaluation_cells=2",), epochs=2, batch_size=8)
        config = Experiment(data=CONFIG.data, space=CONFIG.space, search=changed)
        cdarts_step(config, make_search(config, TINY, load(config.data).for_search(config.data)))
