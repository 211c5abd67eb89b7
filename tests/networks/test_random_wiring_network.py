"""Networks of random wirings: published sizes, two counts, a forward pass in NumPy, removals, and a training."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jdarts
from jdarts import spaces
from jdarts.analysis.damage import DamageTest, RemovedPart, damage, damage_figure, whole
from jdarts.cli import main
from jdarts.config import DataConfig, Experiment, SpaceConfig, TrainConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.estimation import FromScratch
from jdarts.genotypes import RandomlyWired
from jdarts.genotypes.random_wiring import sinks
from jdarts.networks.of_genotype import check_network, count_network, derived_network
from jdarts.networks.wired.size import count_wired
from jdarts.ops.initializers import init_network
from jdarts.ops.network_size import module_sizes
from jdarts.train.trained import TrainedNetwork

TINY = RandomlyWired("ws", (4, 0.75), 6, 1)


@pytest.mark.parametrize(
    ("channels", "regime", "parameters", "macs"),
    [
        (78, "small", (5.6, 0.1), (583, 6.2)),
        (109, "regular", (31.9, 0.66), (4000, 90)),
        (154, "regular", (61.5, 1.32), (7900, 180)),
    ],
)
def test_sizes_are_those_of_the_paper(channels, regime, parameters, macs):
    """WS(4, 0.75), 50 networks; published: mean ± standard deviation of five."""
    counts = [count_wired(RandomlyWired(seed=seed, regime=regime), channels=channels) for seed in range(50)]
    for ours, (mean, std) in (
        ([count.parameters / 1e6 for count in counts], parameters),
        ([count.macs / 1e6 for count in counts], macs),
    ):
        assert abs(np.mean(ours) - mean) < std and np.std(ours) < 1.2 * std


@pytest.mark.parametrize("operation", ["separable", "conv", "max_pool", "avg_pool"])
@pytest.mark.parametrize("regime", ["small", "regular"])
def test_the_count_is_that_of_the_program(operation, regime):
    wired = RandomlyWired("ba", (3,), 8, 2, operation, regime)
    for stem, size in (("cifar", 33), ("imagenet", 70)):
        network = derived_network(wired, channels=6, cells=1, classes=5, stem=stem)
        sizes = module_sizes(network, (size, size, 3))
        count = count_network(wired, channels=6, cells=1, classes=5, image_size=size, stem=stem)
        assert {m.name: (m.parameters, m.macs) for m in count.modules} == sizes


def numpy_logits(wired: RandomlyWired, params, x: np.ndarray) -> np.ndarray:
    """The forward pass in loops over pixels and nodes, in evaluation mode with fresh running averages."""

    def padded(x, fill=0.0):
        return np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=fill)

    def patches(x, stride, fill=0.0):
        p, (h, w) = padded(x, fill), x.shape[1:3]
        return [[p[:, i : i + 3, j : j + 3] for j in range(0, w, stride)] for i in range(0, h, stride)]

    def mapped(x, stride, function, fill=0.0):
        return np.stack([np.stack([function(p) for p in row], 1) for row in patches(x, stride, fill)], 1)

    def normed(x, p):
        return x / np.sqrt(1 + 1e-5) * p["scale"] + p["bias"]

    def convolved(x, p, stride):
        return normed(mapped(x, stride, lambda w: np.einsum("nijc,ijcd->nd", w, p["kernel"])), p["norm"])

    def node(x, p, stride):
        x = np.maximum(x, 0)
        if wired.operation == "conv":
            return convolved(x, p, stride)
        if wired.operation == "separable":
            y = mapped(x, stride, lambda w: np.einsum("nijc,ijc->nc", w, p["depthwise"]))
        elif wired.operation == "max_pool":
            y = mapped(x, stride, lambda w: w.max((1, 2)), -np.inf)
        else:
            y = mapped(x, stride, lambda w: np.nanmean(w, (1, 2)), np.nan)
        return normed(y @ p["pointwise"], p["norm"])

    x = convolved(x, params["conv1"], 1)
    if wired.regime == "small":
        x = convolved(np.maximum(x, 0), params["conv2"], 1)
    for number, graph in enumerate(wired.stages):
        stage, outputs = params[f"stage_{number}"], []
        for i, sources in enumerate(graph):
            value = x
            if len(sources) == 1:
                value = outputs[sources[0]]
            elif sources:
                factors = 1 / (1 + np.exp(-np.asarray(stage[f"weights_{i}"])))
                value = sum(factor * outputs[source] for factor, source in zip(factors, sources, strict=True))
            outputs.append(node(value, stage[f"node_{i}"], 1 if sources else 2))
        x = np.mean([outputs[i] for i in sinks(graph)], axis=0)
    head = np.maximum(x, 0) @ params["head"]["kernel"][0, 0]
    x = normed(head, params["head"]["norm"]).mean((1, 2))
    return x @ params["classifier"]["kernel"] + params["classifier"]["bias"]


@pytest.mark.parametrize(
    ("operation", "regime"),
    [("separable", "small"), ("conv", "regular"), ("max_pool", "small"), ("avg_pool", "small")],
)
def test_the_forward_pass_is_that_of_the_paper(x64, operation, regime):
    wired = RandomlyWired("er", (0.5,), 8, 3, operation, regime)
    network = derived_network(wired, channels=4, cells=1, classes=3)
    images = np.random.default_rng(0).normal(size=(2, 7, 6, 3))
    variables = init_network(network, jax.random.key(0), images, True)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda a: rng.normal(size=a.shape), variables["params"])
    ours, auxiliary = network.apply({**variables, "params": params}, images, False)
    assert auxiliary is None
    np.testing.assert_allclose(ours, numpy_logits(wired, params, images), rtol=1e-9, atol=1e-9)


def trained(variables, network) -> TrainedNetwork:
    sizes = {"channels": 4, "cells": 1, "classes": 3, "width_multiplier": 1.0, "stem": "cifar"}
    return TrainedNetwork(TINY, sizes, (8, 8, 3), (0.5,) * 3, (0.25,) * 3, tuple("abc"), variables)


@pytest.fixture(scope="module")
def tiny():
    network = derived_network(TINY, channels=4, cells=1, classes=3)
    return network, init_network(network, jax.random.key(0), jnp.zeros((2, 8, 8, 3)), True)


def test_a_removed_node_sends_nothing(tiny):
    """The same logits as if its outgoing edges were removed one by one and it left the mean of the output."""
    network, variables = tiny
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    apply = jax.jit(lambda kept: network.apply(variables, images, False, None, kept)[0])
    intact = apply(whole(TINY))
    np.testing.assert_allclose(intact, network.apply(variables, images, False)[0], rtol=1e-5)
    graph, stage = TINY.stages[1], 1
    edges = [(source, target) for target, sources in enumerate(graph) for source in sources]
    inner = next(node for node in range(len(graph)) if node not in sinks(graph))
    one, other = whole(TINY), whole(TINY)
    one[stage]["nodes"][inner] = 0
    other[stage]["edges"][[source == inner for source, _ in edges]] = 0
    np.testing.assert_allclose(apply(one), apply(other), rtol=1e-5)
    assert not np.allclose(apply(one), intact)


def test_the_damage_test_covers_every_part(tiny):
    network, variables = tiny
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    labels = np.arange(6) % 3
    found = damage(trained(variables, network), images, labels, batch=3)
    logits = trained(variables, network).logits(images)
    assert found.whole == pytest.approx(100 * np.mean(np.argmax(logits, -1) == labels))
    edges = [r for r in found.removed if r.part == "edge"]
    assert len(edges) == sum(len(sources) for graph in TINY.stages for sources in graph)
    assert all(r.degree == len(TINY.stages[r.stage][r.name[1]]) for r in edges)
    nodes = {(r.stage, r.name[0]) for r in found.removed if r.part == "node"}
    alone = {(s, sinks(g)[0]) for s, g in enumerate(TINY.stages) if len(sinks(g)) == 1}
    assert nodes == {(s, n) for s in range(3) for n in range(6)} - alone
    assert len(damage_figure(found).axes) == 2


def test_mean_losses_by_degree():
    removed = [
        RemovedPart("node", 0, (i,), degree, 100 - loss) for i, (degree, loss) in enumerate([(1, 2), (1, 4), (3, 9)])
    ]
    assert DamageTest(100.0, tuple(removed)).loss("node") == {1: 3.0, 3: 9.0}


def test_a_network_of_the_space_is_trained():
    config = Experiment(
        data=DataConfig(source="digits", limit=48, crop_padding=0, flip=False),
        space=SpaceConfig(name="random_wiring"),
        train=TrainConfig(epochs=1, batch_size=8, channels=2, auxiliary_weight=0.0, drop_path=0.0, cutout=0),
    )
    estimator = FromScratch.of(config)
    wired = RandomlyWired("ba", (1,), 4)
    score = estimator(wired, {})
    assert 0 <= score["accuracy"] <= 100
    assert score["parameters"] == count_network(wired, channels=2, cells=20, classes=10, image_size=8).parameters
    with pytest.raises(UserError, match="budget cells has no effect"):
        estimator.check(wired, {"cells": 3})
    with pytest.raises(UserError, match="no auxiliary head"):
        check_network(wired, channels=4, cells=1, image_size=8, auxiliary=True)


def test_the_damage_of_a_training_is_a_command(tmp_path, capsys):
    (tmp_path / "small.py").write_text("""from jdarts.config import *
config = Experiment(
    data=DataConfig(source="digits", limit=64, crop_padding=0, flip=False),
    train=TrainConfig(epochs=1, batch_size=16, channels=2, auxiliary_weight=0.0, drop_path=0.0, cutout=0),
)
""")
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "small.py"), "--genotype", TINY.to_text(), "--run-dir", str(run)]) == 0
    capsys.readouterr()
    assert main(["analyze", str(run), "--damage"]) == 0
    assert capsys.readouterr().out.strip() == str(run / "analysis/damage.json")
    found = json.loads((run / "analysis/damage.json").read_text())
    test = load(DataConfig(source="digits", limit=64)).test
    assert test is not None
    right = np.argmax(jdarts.load(run).logits(test.images[:256]), -1) == test.labels[:256]
    assert found["whole"] == pytest.approx(100 * np.mean(right))
    losses = [found["whole"] - each["accuracy"] for each in found["removed"] if each["part"] == "edge"]
    degrees = [each["degree"] for each in found["removed"] if each["part"] == "edge"]
    for degree, loss in found["loss"]["edge"].items():
        assert loss == pytest.approx(
            np.mean([lost for lost, d in zip(losses, degrees, strict=True) if d == int(degree)])
        )
    assert (run / "analysis/damage.png").stat().st_size > 1000
    assert main(["analyze", str(run), "--damage", "--gap"]) == 2 and "give it alone" in capsys.readouterr().err
    assert main(["analyze", str(run)]) == 2 and "which has no alphas" in capsys.readouterr().err


def test_the_space():
    space = spaces.random_wiring
    assert space.size == 29_000 and space.decode((0, 5)).to_text().startswith("random_wiring: er(0.2) nodes=32 seed=5")
    with pytest.raises(UserError, match="does not belong to space random_wiring"):
        space.encode(RandomlyWired(seed=1_000))
