"""One-shot methods from end to end on a small chain: evolution, limits, resume; other methods on the same chain."""

import dataclasses
import json

import jax
import numpy as np
import optuna
import pytest
from support.chains import S5
from support.chains import SPOS as SHUFFLE

from jdarts import methods
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.derivation import Generations, dominant_ops, evolve, free_edges, free_shares
from jdarts.errors import UserError
from jdarts.estimation import Inherited
from jdarts.genotypes.macro import MacroNetwork
from jdarts.methods import configured
from jdarts.networks.mobile.size import count_mobile
from jdarts.runs.checkpoint import Checkpoints
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.search import SearchRun, make_search, run_search
from jdarts.strategies.genetic import GeneticSearch

LIMIT = 7_000
CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x3:3:48", stratify=True),
    space=SpaceConfig(name="mobile_s5"),
    search=SearchConfig(
        method="spos",
        method_options=("generations=3", "population=4", "parents=2", "recalibration=1", f"most_macs={LIMIT}"),
        epochs=2,
        batch_size=8,
        checkpoint_every_steps=1,
        keep_checkpoints=20,
    ),
)


def run(path, *, resume=False, reporter=None, config=CONFIG):
    folder = RunFolder.open(path, config) if resume else RunFolder.create(path, config)
    return SearchRun(
        config, S5, load(config.data), folder, configured(config.search), resume, reporter or SilentReporter()
    )


def macs(choices):
    return count_mobile(S5.decode(choices), classes=3, image_size=8).macs


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("one_shot") / "run"
    genotype, state = run_search(run(path))
    return path, genotype, state


def test_the_result_keeps_the_limit(finished):
    """About half of the networks do; the record of the result says that candidates were compared."""
    path, genotype, _ = finished
    everything = [macs(choices) for choices in np.ndindex(3, 4, 4)]
    assert 0.2 < np.mean(np.array(everything) <= LIMIT) < 0.8
    assert macs(S5.encode(genotype)) <= LIMIT
    last = [json.loads(line) for line in (path / "genotypes.jsonl").read_text().splitlines()][-1]
    assert last["genotype"] == genotype.to_text()


def test_resuming_is_exact(finished, tmp_path):
    """From the middle of the first epoch: the same weights, momenta, running averages and network."""
    path, genotype, state = finished
    short = run(tmp_path / "run")
    RunFolder(path)
    with Checkpoints(path / "checkpoints", read_only=True) as saved:
        found = saved.restore_latest(jax.eval_shape(lambda: state), up_to=2)
    assert found is not None and found.step == 2
    with Checkpoints(short.folder.checkpoints_dir) as saved:
        saved.save(2, found.state)
    again, resumed = run_search(dataclasses.replace(short, resume=True))
    assert again == genotype
    for a, b in zip(jax.tree.leaves(resumed), jax.tree.leaves(state), strict=True):
        if jax.numpy.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


def test_evolution_is_that_of_the_strategy():
    """The same candidates as `GeneticSearch` proposes through Optuna, given the same scores."""

    def score(choices):
        return float(sum((k + 1) * (choice + 0.5) ** 0.5 for k, choice in enumerate(choices)))

    def legal(choices):
        return macs(choices) <= LIMIT

    settings = Generations(population=6, parents=3, mutation=0.3)
    mine = list(evolve(S5, score, settings, generations=3, seed=7, legal=legal))
    study = optuna.create_study(
        direction="maximize",
        sampler=GeneticSearch(S5, seed=7, population=6, parents=3, mutation=0.3, legal=legal),
    )
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    names = [(decision.name, decision.options) for decision in S5.decisions]
    study.optimize(lambda t: score([t.suggest_categorical(n, range(o)) for n, o in names]), n_trials=18)
    theirs = [(trial.value, tuple(trial.params[name] for name, _ in names)) for trial in study.trials]
    assert mine == theirs
    assert len({choices for _, choices in mine}) == 18 and all(macs(choices) <= LIMIT for _, choices in mine)


def test_evolution_ends_where_a_space_ends():
    found = list(evolve(S5, lambda choices: 0.0, Generations(population=30), generations=3, seed=0))
    assert 45 <= len(found) <= 48 == S5.size and len({choices for _, choices in found}) == len(found)
    with pytest.raises(UserError, match="none of 1000 random architectures is legal"):
        list(evolve(S5, lambda c: 0.0, Generations(), generations=1, seed=0, legal=lambda c: False))
    with pytest.raises(UserError, match="candidate 0 scored nan"):
        list(evolve(S5, lambda c: float("nan"), Generations(), generations=1, seed=0))


def test_inherited_scores_of_a_supernet_of_layers(finished):
    """The estimator runs the path of an architecture; unequal paths get unequal statistics."""
    _, genotype, state = finished
    search = make_search(CONFIG, S5, load(CONFIG.data).for_search(CONFIG.data))
    estimator = Inherited(CONFIG, search, state)
    score = estimator(genotype, {"recalibration": 1}).values
    size = count_mobile(genotype, classes=3, image_size=8)
    assert (score["parameters"], score["macs"]) == (size.parameters, size.macs)
    assert score["accuracy"] in [pytest.approx(100 * k / 24) for k in range(25)]
    with pytest.raises(UserError, match="does not belong to space mobile_s5"):
        estimator.check(SHUFFLE.random_genotype(0), {})


OPTIONS = {"snas": ("resource=flops", "size=8"), "darts": ("order=second",), "snas_size": ()}


@pytest.mark.parametrize(
    "name",
    ["darts", "darts_minus", "fair_darts", "gdas", "snas", "single_darts", "sdarts_adv", "beta_darts", "rsps", "setn"],
)
def test_other_methods_search_a_chain(name):
    """A step is traced, the alphas move in shape, and the derivation gives networks of the space."""
    settings = dataclasses.replace(CONFIG.search, method=name, method_options=OPTIONS.get(name, ()))
    config = dataclasses.replace(CONFIG, search=settings)
    search = make_search(config, S5, load(config.data).for_search(config.data))
    state = jax.eval_shape(search.init, jax.random.key(0))
    after, _ = jax.eval_shape(search.step, state, search.arrays)
    assert {k: a.shape for k, a in after.alphas.items()} == {"first": (1, 3), "inner": (2, 4)}
    alphas = {"first": np.array([[0.0, 3, 0]], np.float32), "inner": np.float32([[0, 0, 0, 4], [5, 0, 0, 0]])}
    if methods.build(name).compares:
        found = search.method.genotype(S5, alphas, lambda p: float(p["inner"][0, 2]), jax.random.key(0))
        assert S5.encode(found)[1] == 2
    else:
        assert S5.encode(search.method.genotype(S5, alphas)) == (1, 3, 0)


def test_dominant_ops_are_counted_over_layers():
    """FairDARTS: at most two ops a layer, by σ(α) > 0.75."""
    p = {"first": [[0.9, 0.8, 0.76]], "inner": [[0.1, 0.2, 0.3, 0.99], [0.75, 0.7, 0.1, 0.1]]}
    names = S5.tables["inner"][0]
    assert names == ("mb_k3_e3", "mb_k5_e3", "mb_k3_e6", "skip_connect")
    assert dominant_ops(S5, p) == dict(zip(names, (1, 1, 0, 1), strict=True))
    assert dominant_ops(S5, p, 0.6) == dict(zip(names, (2, 2, 0, 1), strict=True))


def test_skips_of_chains():
    """The strided identity of NAS-Bench-Macro is a convolution."""
    assert free_edges(MacroNetwork("00000000")) == {"skip_connections": 5}
    assert free_shares([MacroNetwork("00000000"), MacroNetwork("11111111")]) == {"skip_share": 0.25}
    assert MacroNetwork("01210000").cells["normal"].nodes[1:4] == (
        (("conv_1x1", 1),),
        (("mb_k3_e3", 2),),
        (("mb_k5_e6", 3),),
    )
