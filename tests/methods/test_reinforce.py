"""ProxylessNAS by REINFORCE: the estimate by exhaustive enumeration, the baseline, the reward, a step, mistakes."""

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.chains import S5

from jdarts import DataConfig, Experiment, SearchConfig, SpaceConfig, latency, load_data, make_search
from jdarts.errors import UserError
from jdarts.methods import build
from jdarts.methods.paths import path_of
from jdarts.methods.proxyless_nas import LatencyReward
from jdarts.methods.rewards import RewardUpdate, no_baseline, reward_gradient

ALPHAS = {"first": np.array([[0.3, -0.5, 0.1]]), "inner": np.array([[0.2, 0.4, -0.1, -0.3], [0.0, 1.0, -1.0, 0.5]])}


def every_path(alphas):
    """All paths `{matrix: [paths, rows, ops]}` and their probabilities."""
    rows = [(name, row) for name, a in alphas.items() for row in range(len(a))]
    p = {name: np.exp(a) / np.exp(a).sum(-1, keepdims=True) for name, a in alphas.items()}
    choices = list(product(*(range(alphas[name].shape[1]) for name, _ in rows)))
    paths = {name: np.zeros((len(choices), *a.shape)) for name, a in alphas.items()}
    weights = np.ones(len(choices))
    for n, each in enumerate(choices):
        for (name, row), k in zip(rows, each, strict=True):
            paths[name][n, row, k] = 1
            weights[n] *= p[name][row, k]
    return paths, weights


@pytest.mark.parametrize("samples", [1, 2])
def test_the_estimate_is_the_gradient_of_the_mean_reward(samples):
    """Over all tuples of paths in float64, with a baseline of 0.99 times their mean and 0.01 times an older number.

    The mean of the tuple holds a share 0.99/m of each path's own reward, by which the estimate is too short.
    """
    small = {"first": ALPHAS["first"], "inner": ALPHAS["inner"][:1]}
    with jax.enable_x64(True):
        paths, p = every_path(small)
        rewards = np.random.default_rng(0).random(len(p))

        def mean_reward(alphas):
            logs = sum(jnp.einsum("nlo,lo->n", paths[name], jax.nn.log_softmax(alphas[name])) for name in small)
            return jnp.sum(jnp.exp(logs) * rewards)

        exact = jax.grad(mean_reward)({name: jnp.asarray(a) for name, a in small.items()})
        step = RewardUpdate(samples, lambda accuracy, path, space: accuracy)
        older = {"value": jnp.float64(0.7), "updates": jnp.int32(3)}

        @jax.jit
        def estimate(numbers):
            own = jnp.asarray(rewards)[numbers]
            baseline = step.moved(older, own)["value"]
            chosen = {name: jnp.asarray(each)[numbers] for name, each in paths.items()}
            return reward_gradient({name: jnp.asarray(a) for name, a in small.items()}, chosen, own - baseline)

        tuples = np.array(list(product(range(len(p)), repeat=samples)))
        found = jax.vmap(estimate)(tuples)
        law = p[tuples].prod(-1)
        assert law.sum() == pytest.approx(1)
        for name, g in exact.items():
            mean = np.einsum("t,tlo->lo", law, np.asarray(found[name]))
            np.testing.assert_allclose(-mean, (1 - 0.99 / samples) * np.asarray(g), rtol=1e-9, atol=1e-12)


def test_paths_are_drawn_from_the_softmax():
    draw = RewardUpdate(20_000, lambda accuracy, path, space: accuracy).draw
    alphas = {name: jnp.asarray(a, jnp.float32) for name, a in ALPHAS.items()}
    drawn = draw(S5, alphas, jax.random.key(0))
    for name, a in ALPHAS.items():
        p = np.exp(a) / np.exp(a).sum(-1, keepdims=True)
        np.testing.assert_allclose(np.mean(drawn[name], 0), p, atol=4 * 0.5 / np.sqrt(20_000))
        np.testing.assert_array_equal(np.sum(drawn[name], -1), 1)


def test_the_baseline_follows_the_means():
    step, baseline, by_hand = RewardUpdate(2, lambda accuracy, path, space: accuracy), no_baseline(), None
    for rewards in ([0.2, 0.4], [0.6, 0.8], [0.1, 0.0]):
        baseline = step.moved(baseline, jnp.array(rewards))
        mean = np.mean(rewards)
        by_hand = mean if by_hand is None else by_hand + 0.99 * (mean - by_hand)
        assert float(baseline["value"]) == pytest.approx(by_hand, rel=1e-6)
    assert int(baseline["updates"]) == 3


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    keys = latency.keys_of(S5, classes=3, image_size=8)
    path = tmp_path_factory.mktemp("latency") / "table.yaml"
    latency.write_table(latency.LatencyTable({key: float(i) for i, key in enumerate(keys, start=2)}), path)
    return str(path)


def test_the_reward_of_a_network(table):
    """accuracy · (T / LAT)^0.1 with the latency of the network by the table itself."""
    reward = LatencyReward(latency_table=table, latency_reference=30.0, size=8, classes=3)
    found = latency.read_table(table)
    for seed in range(4):
        network = S5.random_genotype(seed)
        milliseconds = found.costs(S5, classes=3, image_size=8).of(S5.encode(network))
        expected = 0.6 * (30 / milliseconds) ** 0.1
        assert float(reward(jnp.float32(0.6), S5.one_hot(network), S5)) == pytest.approx(expected, rel=1e-5)
    path = S5.one_hot(S5.random_genotype(0))
    assert float(LatencyReward()(jnp.float32(0.6), path, S5)) == pytest.approx(0.6)


def searching(*options):
    settings: Any = {"method": "proxyless_nas_reinforce", "method_options": options, "epochs": 3, "batch_size": 8}
    config = Experiment(
        data=DataConfig(source="synthetic:8x8x3:3:48", stratify=True),
        space=SpaceConfig(name="mobile_s5"),
        search=SearchConfig(**settings),
    )
    return make_search(config, S5, load_data(config.data).for_search(config.data))


def test_a_step_climbs_the_reward_of_its_paths(table):
    """Before the warm-up ends nothing moves; behind it the alphas, their baseline, and not the running averages."""
    options = ("samples=3", "warm_up=1", "alpha_every=3", f"latency_table={table}", "latency_reference=30")
    made = searching(*options, "size=8", "classes=3")
    step, states = jax.jit(made.step), [jax.jit(made.init)(jax.random.key(0))]
    for _ in range(9):
        states.append(step(states[-1], made.arrays)[0])
    counts = [int(each.hypergradient_memory["updates"]) for each in states]
    assert counts == [0] * 9 + [1], "epoch 0 warms up, epoch 1 is left out, epoch 2 moves behind its third step"
    (before, state), first = states[-2:], states[0].alphas
    jax.tree.map(np.testing.assert_array_equal, first, before.alphas)
    _, val = made.draw(before, made.arrays)
    val = {**val, "batch_stats": state.batch_stats}
    reinforce = made.method.reinforce
    assert reinforce is not None
    paths = reinforce.draw(S5, first, val["relax_key"])
    loss = jax.jit(made.network_loss)
    accuracies = [loss(state.weights, path_of(paths, k), val)[1]["accuracy"] for k in range(3)]
    rewards = [float(reinforce.reward(a, path_of(paths, k), S5)) for k, a in enumerate(accuracies)]
    assert float(state.hypergradient_memory["value"]) == pytest.approx(np.mean(rewards), rel=1e-5)
    for name, a in first.items():
        p = np.exp(np.asarray(a, np.float64))
        p /= p.sum(-1, keepdims=True)
        grads = -np.mean([(r - np.mean(rewards)) * (np.asarray(paths[name][k]) - p) for k, r in enumerate(rewards)], 0)
        grads += 1e-3 * np.asarray(a)  # the weight decay of the alphas
        expected = -3e-4 * grads / (np.abs(grads) + 1e-8)  # the first step of Adam
        found = np.asarray(state.alphas[name], np.float64) - np.asarray(a)
        clear = np.abs(grads) > 1e-4
        np.testing.assert_allclose(found[clear], expected[clear], rtol=2e-2)
        assert clear.any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("latency_table=none.yaml",), "cannot read none.yaml"),
        (("latency_exponent=0.2",), "option latency_exponent"),
        (("samples=0",), "samples"),
    ],
)
def test_mistakes(options, words):
    with pytest.raises(UserError, match=words):
        searching(*options)


def test_the_variant_is_found():
    found = build("proxyless_nas_reinforce")
    assert found.published[0].result.startswith("ImageNet top-1 accuracy 74.6 % at 78 ms") and found.alpha_every == 16
