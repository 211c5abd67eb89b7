"""GOLD-NAS: shares, the resource loss, pruning and its weight against plain Python; a search that is cut."""

import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import methods, spaces
from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.genotypes import Cell, StackedGenotype, parse
from jdarts.methods.gold_nas import PRUNED, Pruning, next_weight, pruned, resource_loss, shares
from jdarts.methods.resources import op_costs
from jdarts.networks.counting import count_darts_cnn
from jdarts.report.page import render
from jdarts.report.records import read_run
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.search import SearchRun, run_search
from jdarts.spaces.per_cell import PerCellSpace

TINY = spaces.define_space("gold_tiny", nodes=2, normal=("none", "skip_norm", "max_pool_3x3"))
SPACE = PerCellSpace(TINY, 3)
CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x1:3:16", crop_padding=1, train_fraction=1.0, val_fraction=0.0),
    space=SpaceConfig(name="gold_tiny.py", channels=4, cells=3, shared=False),
    search=SearchConfig(
        method="gold_nas",
        method_options=("lambda0=0.05", "c0=3", "stable_rounds=1", "stop_share=0"),
        epochs=8,
        batch_size=8,
        weight_optimizer=SGDConfig(0.05, 0.05),
        alpha_optimizer=AdamConfig(1.0, weight_decay=0.0, kind="sgd", momentum=0.9),
    ),
)


def alphas_of(space, seed=0, scale=2.0):
    return {name: np.array(a) for name, a in space.init_alphas(jax.random.key(seed), scale).items()}


def by_hand(space, alphas):
    """ρ of every op as `{(cell, row, column): ρ}`, and the number of nodes' ops, in Python floats."""
    found = {}
    for name, a in alphas.items():
        sigma = [[1 / (1 + math.exp(-x)) if x > -100 else 0.0 for x in row] for row in a.tolist()]
        for row, (_, target) in enumerate(space.edges):
            rows = [r for r, (_, t) in enumerate(space.edges) if t == target]
            total = sum(sum(sigma[r]) for r in rows)
            for column, value in enumerate(sigma[row]):
                found[name, row, column] = value / total, rows
    return found


def test_shares_add_up_to_one_at_every_node():
    p = np.random.default_rng(0).uniform(size=(14, 2))
    rho = np.asarray(shares(p, [target for _, target in spaces.gold_nas.edges]))
    for node in range(2, 6):
        rows = [row for row, (_, target) in enumerate(spaces.gold_nas.edges) if target == node]
        assert rho[rows].sum() == pytest.approx(1)
        np.testing.assert_allclose(rho[rows], p[rows] / p[rows].sum(), rtol=1e-6)


@pytest.mark.parametrize("mu", [0.0, 3.0])
def test_the_resource_loss_is_the_sum_of_the_paper_and_spares_pruned_ops(mu):
    space = PerCellSpace(spaces.robust_s2, 3)
    costs = op_costs(space, "flops", channels=4, cells=3, size=16)
    alphas = alphas_of(space)
    alphas["cell_1"][3:5, 0] = PRUNED
    settings = Pruning(mu=mu, eta_min=0.03)
    rho = by_hand(space, alphas)
    expected = 0.0
    for (name, row, column), (share, rows) in rho.items():
        n = sum(rho[name, r, k][0] > settings.eta_min for r in rows for k in range(2))
        if share > settings.eta_min:
            expected += math.log(1 + n * share) * (1 + mu * costs[name][row, column] / 1e6)
    assert float(resource_loss(space, alphas, costs, settings)) == pytest.approx(expected, rel=1e-5)
    gradient = jax.grad(lambda a: resource_loss(space, a, costs, settings))(jax.tree.map(jnp.asarray, alphas))
    assert not np.any(np.asarray(gradient["cell_1"])[3:5, 0]) and np.any(np.asarray(gradient["cell_1"]))


def plain_round(space, alphas, settings):
    """The rule of the pruning, one op after the other."""
    alphas, gone = {name: a.copy() for name, a in alphas.items()}, 0
    for _ in range(settings.n0):
        for place, (share, _) in by_hand(space, alphas).items():
            if 0 < share <= settings.eta_min:
                alphas[place[0]][place[1:]] = PRUNED
                gone += 1
        left = {place: share for place, (share, _) in by_hand(space, alphas).items() if share > 0}
        weakest = min(left, key=lambda place: left[place])
        if left[weakest] <= settings.eta_max:
            alphas[weakest[0]][weakest[1:]] = PRUNED
            gone += 1
    return alphas, gone


@pytest.mark.parametrize("settings", [Pruning(), Pruning(n0=2, eta_max=0.08), Pruning(eta_min=0.0, eta_max=0.0)])
def test_a_round_prunes_what_is_weak_and_the_weakest(settings):
    space = PerCellSpace(spaces.robust_s2, 3)
    alphas = alphas_of(space, scale=2.5)
    found, count = pruned(space, alphas, settings)
    expected, gone = plain_round(space, alphas, settings)
    assert count == gone and (count > 0) == (settings.eta_max > 0)
    for name in alphas:
        np.testing.assert_array_equal(found[name], expected[name])
    for _ in range(30):
        found, count = pruned(space, found, Pruning(eta_min=0.0, eta_max=0.99))
    genotype = methods.build("gold_nas").genotype(space, {name: jnp.asarray(a) for name, a in found.items()})
    assert all(cell.present == (2, 3, 4, 5) for cell in genotype.stack), "a node never loses its last op"


def test_the_weight_follows_the_pruning():
    settings = Pruning(lambda0=1e-5, c0=2.0, n0=4)
    weight, increment, seen = 0.0, settings.lambda0, []
    for count in (0, 3, 0, 4, 9, 1):
        weight, increment = next_weight(weight, increment, count, settings)
        seen.append((weight, increment))
    expected = [(2e-5, 2e-5), (6e-5, 4e-5), (14e-5, 8e-5), (7e-5, 1e-5), (3.5e-5, 1e-5), (5.5e-5, 2e-5)]
    np.testing.assert_allclose(seen, expected, rtol=1e-9)


def test_the_whole_network_is_its_fixed_layers_and_all_ops():
    """DIFF: the code's constant for the fixed layers is 166.0 M; its ops have the same numbers as here."""
    space = PerCellSpace(spaces.gold_nas, 14)
    every = tuple(
        tuple((op, source) for source in rows for op in spaces.gold_nas.normal[0])
        for rows in spaces.gold_nas.entering.values()
    )
    whole = StackedGenotype((Cell(every, (2, 3, 4, 5)),) * 14)
    ops = sum(cost.sum() for cost in op_costs(space, "flops", channels=36, cells=14, size=32).values())
    fixed = count_darts_cnn(whole, channels=36, cells=14, classes=10).macs - ops
    stem, classifier = 27 * 108 * 32**2, 4 * 144 * 10
    cells, inputs, width, side, halved = 0, [108, 108], 36, 32, False
    for i in range(14):
        width, before = width * (2 if i in (4, 9) else 1), side
        cells += sum(inputs) * width * before**2
        inputs, side = [inputs[1], 4 * width], side // (2 if i in (4, 9) else 1)
        halved = i in (4, 9)
    assert fixed == stem + cells + classifier == 163_571_328 and not halved
    sep, reduced = 2 * (36**2 + 9 * 36) * 32**2, 8 * 72**2 * 16**2  # the code's flops_computation
    costs = op_costs(space, "flops", channels=36, cells=14, size=32)
    assert costs["cell_0"][0].tolist() == [0, sep] and costs["cell_4"][0].tolist()[0] * 8 == reduced


class PulledPlug(SilentReporter):
    """Ends the program in the sixth epoch."""

    def step(self, step, metrics=None):
        if step == 11:
            raise ConnectionError("no power")


def search(path, *, resume=False, reporter=None):
    folder = RunFolder.open(path, CONFIG) if resume else RunFolder.create(path, CONFIG)
    asked = SearchRun(
        CONFIG,
        SPACE,
        load(CONFIG.data),
        folder.subfolder("search"),
        methods.configured(CONFIG.search),
        resume,
        reporter or SilentReporter(),
    )
    return run_search(asked), folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return search(tmp_path_factory.mktemp("gold") / "whole")


def test_a_search_prunes_and_never_takes_back(whole):
    (genotype, state), folder = whole
    own = folder.subfolder("search")
    records, genotypes = own.records("metrics"), own.records("genotypes")
    assert genotype == parse(genotypes[-1]["genotype"]) and sum(r["pruned_ops"] for r in records) > 3
    gone = [{name: np.array(a) < -5e3 for name, a in record["alphas"].items()} for record in genotypes]
    for earlier, later in itertools.pairwise(gone):
        assert all(np.all(later[name][pruned_]) for name, pruned_ in earlier.items())
    assert all(a["macs"] >= b["macs"] and a["parameters"] >= b["parameters"] for a, b in itertools.pairwise(records))
    weight, increment = 0.0, 0.05
    for record in records:
        assert record["resource_weight"] == pytest.approx(weight, rel=1e-5)
        weight, increment = next_weight(weight, increment, record["pruned_ops"], Pruning(lambda0=0.05, c0=3))
    assert all(np.all(np.asarray(state.alphas[name])[:, 0] == PRUNED) for name in state.alphas), "none is no op"
    front = json.loads((own.path / "front.json").read_text())
    assert front[-1]["genotype"] == genotype.to_text()
    for point in front:
        count = count_darts_cnn(parse(point["genotype"]), channels=4, cells=3, classes=3, image_size=8)
        assert (count.parameters, count.macs) == (point["parameters"], point["macs"])


def test_a_search_that_was_cut_goes_on_bit_for_bit(whole, tmp_path):
    (genotype, state), folder = whole
    with pytest.raises(ConnectionError):
        search(tmp_path / "cut", reporter=PulledPlug())
    (again, same), cut = search(tmp_path / "cut", resume=True)
    assert again == genotype
    for name in ("weights", "alphas", "alpha_opt_state"):
        for a, b in zip(jax.tree.leaves(getattr(state, name)), jax.tree.leaves(getattr(same, name)), strict=True):
            np.testing.assert_array_equal(a, b)
    timeless = lambda rows: [
        {k: v for k, v in row.items() if "seconds" not in k and k != "peak_memory"} for row in rows
    ]  # noqa: E731
    for name in ("metrics", "genotypes"):
        records = [timeless(each.subfolder("search").records(name)) for each in (folder, cut)]
        assert records[0] == records[1]


def test_the_report_shows_the_networks_of_the_search(whole):
    _, folder = whole
    page = render([read_run(folder.path)])
    front = json.loads((folder.path / "search" / "front.json").read_text())
    for title in ("Networks of many sizes", "Weight of the resource loss", "Skip connections by cell"):
        assert title in page
    assert all(f"{point['parameters']:,}" in page and f"{point['macs']:,}" in page for point in front)


def test_it_stops_below_the_share_and_refuses_other_spaces():
    method = methods.build("gold_nas", ("stop_share=0.4",))
    assert method.stop([{"epoch": 3, "ops_share": 0.41}], SPACE) is None
    assert method.stop([{"epoch": 4, "ops_share": 0.39}], SPACE) == 4
    for space in (spaces.nasbench201, spaces.spos, PerCellSpace(spaces.nasbench201, 3)):
        with pytest.raises(UserError, match="keeps any number of ops on an edge"):
            method.check(space)
    with pytest.raises(UserError, match=r"c0 is 1\.0; it must be above 1"):
        methods.build("gold_nas", ("c0=1",))
    with pytest.raises(UserError, match="eta_min must not be larger"):
        methods.build("gold_nas", ("eta_min=0.2",))
    with pytest.raises(UserError, match=r"eta_min is 0\.04, but 30 ops enter a node.*less than 0\.0333"):
        methods.build("gold_nas", ("eta_min=0.04",)).check(
            spaces.define_space("six", nodes=14, normal=("skip_norm", "none"))
        )
