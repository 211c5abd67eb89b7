"""Latencies as values of estimates, and limits on the architectures that strategies propose."""

import numpy as np
import pytest
from optuna.trial import TrialState
from support.strategy_names import every_strategy

from jdarts import latency, spaces
from jdarts.config import DataConfig, Experiment, SpaceConfig, TrainConfig
from jdarts.errors import UserError
from jdarts.estimation import FromScratch, Score
from jdarts.estimation.costs import costs_of, with_latency, within
from jdarts.genotypes.macro import MacroNetwork
from jdarts.spaces.decisions import uniform
from jdarts.spaces.limited import LimitedSpace
from jdarts.strategies import by_name, choices_of, run_study

CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x3:2:64", crop_padding=1, flip=False),
    space=SpaceConfig(name="nasbench_macro"),
    train=TrainConfig(batch_size=8, epochs=1, auxiliary_weight=0.0, cutout=0, drop_path=0.0, width_multiplier=0.25),
)
SPACE = spaces.nasbench_macro
TABLE = latency.LatencyTable(
    {
        block.key: 0.25 * i
        for width in (0.25, 0.5)
        for option in "012"
        for i, block in enumerate(
            latency.blocks_of(MacroNetwork(option * 8).to_mobile().scaled(width), classes=2, image_size=8)
        )
        if block
    }
)


def digits(network):
    return sum(map(int, network.to_text()))


@pytest.mark.parametrize("name", every_strategy(but=["grid"]))
def test_every_strategy_stays_within_a_limit(name):
    """About 63 % of the networks have a sum of digits of at most 8."""
    space = LimitedSpace(SPACE, lambda network: digits(network) <= 8)
    settings = {"hidden": None} if name in ("reinforce", "ppo") else {"steps": 10} if name == "pnas" else {}
    study = run_study(
        space,
        by_name(name, space, seed=0, **settings),
        lambda network, budget: Score({"accuracy": float(digits(network))}),
        trials=12,
    )
    done = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert all(digits(SPACE.decode(choices_of(SPACE, trial))) <= 8 for trial in done)
    own = name not in ("tpe", "gp", "nsga2")  # samplers of Optuna, which do not know the limit
    assert len(done) == 12 if own else len(done) >= 3


def test_a_limited_space_is_the_space_otherwise():
    space = LimitedSpace(spaces.pnas_progressive, lambda architecture: False)
    assert space.decisions == spaces.pnas_progressive.decisions and space.size == spaces.pnas_progressive.size
    assert space.growth is spaces.pnas_progressive.growth
    choices = uniform(spaces.pnas_progressive, np.random.default_rng(0))
    assert space.encode(space.decode(choices)) == spaces.pnas_progressive.encode(space.decode(choices))
    assert not space.is_valid(choices)


@pytest.fixture(scope="module")
def estimator():
    return FromScratch.of(CONFIG)


def test_costs_are_those_of_the_network_that_is_trained(estimator):
    network = MacroNetwork("21200211")
    timed = with_latency(estimator, TABLE)
    assert timed.values == ("accuracy", "parameters", "macs", "seconds", "latency")
    narrow = network.to_mobile().scaled(0.25)
    place = {"classes": 2, "image_size": 8}
    blocks = [block for block in latency.blocks_of(narrow, **place) if block]
    assert costs_of(timed, network, {}) == {
        "parameters": sum(map(latency.block_parameters, blocks)),
        "macs": sum(map(latency.block_macs, blocks)),
        "latency": sum(TABLE.milliseconds[block.key] for block in blocks),
    }
    assert timed.latency(network, {"width": 0.5}) == TABLE.predict(network.to_mobile().scaled(0.5), **place)
    with pytest.raises(UserError, match="the table has no block"):
        timed.check(network, {"width": 0.75})


def test_scores_and_reports_have_the_latency(estimator, monkeypatch):
    """The training itself is tested elsewhere; here it is replaced by its scores."""

    def reporting(architecture, budget, report):
        if report is not None:
            report(1, Score({"accuracy": 10.0}))
        return Score({"accuracy": 20.0}, 3.0)

    monkeypatch.setattr(estimator, "reporting", reporting)
    timed, network, seen = with_latency(estimator, TABLE), MacroNetwork("1" * 8), []
    expected = {"latency": timed.latency(network, {})}
    assert timed(network, {}) == Score({"accuracy": 20.0, **expected}, 3.0)
    assert timed.reporting(network, {}, lambda *report: seen.append(report)).values == {"accuracy": 20.0, **expected}
    assert seen == [(1, Score({"accuracy": 10.0, **expected}))]


def test_without_a_table_the_network_is_measured_once(estimator, monkeypatch):
    measured = []
    monkeypatch.setattr(
        "jdarts.estimation.costs.measure_network", lambda network, **sizes: measured.append((network, sizes)) or 7.0
    )
    timed, network = with_latency(estimator), MacroNetwork("0" * 8)
    assert timed.latency(network, {}) == timed.latency(network, {}) == 7.0
    (found,) = measured
    assert found[0] == network
    assert (found[1]["classes"], found[1]["image_size"], found[1]["width_multiplier"]) == (2, (8, 8), 0.25)


def test_limits_compare_with_the_costs(estimator):
    network = MacroNetwork("1" * 8)
    macs = costs_of(estimator, network, {})["macs"]
    assert within(estimator, {"macs": macs}, {})(network)
    assert not within(estimator, {"macs": macs - 1, "parameters": 1e9}, {})(network)
    with pytest.raises(UserError, match="does not know the latency"):
        within(estimator, {"latency": 1.0}, {})(network)
    with pytest.raises(UserError, match="unknown limit 'flops'"):
        within(estimator, {"flops": 1.0}, {})
    with pytest.raises(UserError, match="limit macs is 0"):
        within(estimator, {"macs": 0.0}, {})


def test_a_latency_needs_networks_of_images():
    with pytest.raises(UserError, match="needs the networks of images"):
        with_latency(lambda architecture, budget: Score())
