"""The controllers of the ENAS release: an independent forward pass, enumeration of all tuples, penalty, samples."""

import dataclasses
import itertools
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jdarts.controllers import (
    AttentionSettings,
    MacroController,
    MicroController,
    RecurrentController,
    batch_bonus,
    batch_entropy,
    batch_log_probability,
    mean_penalty,
    reinforce_loss,
    samples,
)
from jdarts.errors import UserError
from jdarts.genotypes.enas import MACRO_OPS, MICRO_OPS
from jdarts.spaces import enas_lm_rnn, enas_macro, enas_micro, enas_rnn

SMALL = AttentionSettings(hidden=4, layers=2, temperature=0.5, tanh=2.5, scale=1.0)
SHALLOW = dataclasses.replace(SMALL, layers=1)
TINY = {  # few enough tuples for an enumeration
    "macro": MacroController(3, 2, SHALLOW, skip_weight=0.0),
    "micro": MicroController(1, 3, SHALLOW, op_tanh_reduce=1.5),
    "enas_rnn": RecurrentController(3, 2, SHALLOW, first=True),
    "enas_lm": RecurrentController(3, 2, SHALLOW),
}
LARGER = {
    "macro": MacroController(5, 6, SMALL),
    "micro": MicroController(4, 5, SMALL),
    "enas_rnn": RecurrentController(5, 4, SMALL, first=True),
    "enas_lm": RecurrentController(5, 4, SMALL),
}
NAMES = pytest.mark.parametrize("name", TINY)


@cache
def tuples(name):
    return jnp.array(list(itertools.product(*map(range, TINY[name].options))), jnp.int32)


def parameters(controller):
    """Parameters away from their symmetric start, in the precision of the test."""
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.zeros(()).dtype), controller.init(jax.random.key(1)))
    flat, back = ravel_pytree(params)
    return back(flat + np.random.default_rng(2).normal(size=flat.shape).astype(flat.dtype))


class Oracle:
    """The controllers in NumPy, one decision after another, from the specification (C.4.2, addendum §2.1)."""

    def __init__(self, controller, params):
        self.settings = controller.settings
        self.p = {name: np.asarray(value) for name, value in params.items()}
        self.state = [(np.zeros(self.settings.hidden), np.zeros(self.settings.hidden))] * self.settings.layers
        self.logs: list[np.ndarray] = []

    def lstm(self, x):
        sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
        size, state = self.settings.hidden, []
        for layer, (c, h) in enumerate(self.state):
            gates = self.p[f"lstm_{layer}"].T @ np.concatenate([x, h])
            i, f, o, g = (gates[k * size : (k + 1) * size] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            x = sigmoid(o) * np.tanh(c)
            state.append((c, x))
        self.state = state
        return x

    def attend(self, anchor_key, h):
        return self.p["attention"] @ np.tanh(anchor_key + self.p["queries"].T @ h)

    def decide(self, logits, choice):
        weights = np.exp(logits)
        self.logs.append(np.log(weights / weights.sum()))
        return choice

    def bound(self, logits, c):
        return c * np.tanh(np.asarray(logits) / self.settings.temperature)


def macro_logs(controller, params, choices):
    """The log-probabilities of all options, one array a decision, and the q of all skips, layer by layer."""
    net, rest, x = Oracle(controller, params), iter(choices), params["start"]
    anchors, keys, all_q = [], [], []
    for layer in range(controller.network_layers):
        op = net.decide(net.bound(net.lstm(x) @ net.p["softmax"], net.settings.tanh), next(rest))
        h, x, count = net.lstm(net.p["embeddings"][op]), np.zeros(net.settings.hidden), 0
        own = [net.bound(net.attend(key, h), net.settings.tanh) for key in keys]
        for anchor, q in zip(anchors, own, strict=True):
            if net.decide([-q, q], next(rest)):
                x, count = x + anchor, count + 1
        x = x / (1 + count) if layer else params["start"]
        anchors.append(h)
        keys.append(net.p["keys"].T @ h)
        all_q.append(own)
    return net.logs, all_q


def micro_logs(controller, params, choices):
    net, rest = Oracle(controller, params), iter(choices)
    for cell in ("normal", "reduce"):
        anchors, keys = [], []
        for _ in range(2):
            keys.append(net.p["keys"].T @ net.lstm(params["start"]))
            anchors.append(np.zeros(net.settings.hidden))
        for _ in range(controller.nodes):
            x = params["start"]
            for _ in range(2):
                h = net.lstm(x)
                logits = net.bound([net.attend(key, h) for key in keys], net.settings.tanh)
                x = anchors[net.decide(logits, next(rest))]
            for _ in range(2):
                logits = net.lstm(x) @ net.p["softmax"] + net.p["bias"]
                logits = net.bound(logits, net.settings.tanh / controller.op_tanh_reduce)
                if cell == "normal":
                    logits = logits + np.array([0.25, 0.25] + [-0.25] * (controller.ops - 2))
                x = net.p["embeddings"][net.decide(logits, next(rest))]
            anchors.append(net.lstm(x))
            keys.append(net.p["keys"].T @ anchors[-1])
    return net.logs, None


def recurrent_logs(controller, params, choices):
    """In enas_lm node 0 is the zero state and the embeddings are the output layer (addendum §2.6)."""
    net, rest, size = Oracle(controller, params), iter(choices), controller.settings.hidden
    anchors, keys, x = [np.zeros(size)], [np.zeros(size)], net.p["start"]
    output = net.p["softmax"] if controller.first else net.p["embeddings"].T
    for node in range(0 if controller.first else 1, controller.nodes + 1):
        h = net.lstm(x)
        if node == 0:
            anchors, keys = [h], [net.p["keys"].T @ h]
        else:
            distances = node - np.arange(node)
            logits = net.bound([net.attend(key, h) for key in keys], net.settings.tanh) - distances**2 / 6
            source = net.decide(logits, next(rest)) if node > 1 else 0
            x = anchors[source] / (0.1 + distances[source])
            anchors.append(h)
            keys.append(net.p["keys"].T @ h)
        x = net.p["embeddings"][net.decide(net.bound(net.lstm(x) @ output, net.settings.tanh), next(rest))]
    return net.logs, None


ORACLES = {"macro": macro_logs, "micro": micro_logs, "enas_rnn": recurrent_logs, "enas_lm": recurrent_logs}


@NAMES
def test_log_probabilities_are_those_of_an_independent_forward_pass(x64, name):
    controller = LARGER[name]
    params = parameters(controller)
    all_logs, log_of = jax.jit(controller.all_logs), jax.jit(controller.log_probabilities)
    for seed in range(3):
        choices = np.random.default_rng(seed).integers(np.array(controller.options))
        expected, _ = ORACLES[name](controller, params, choices)
        found = np.asarray(all_logs(params, choices))
        for row, logs in zip(found, expected, strict=True):
            np.testing.assert_allclose(row[: len(logs)], logs, atol=1e-12)
            assert np.all(np.exp(row[len(logs) :]) == 0)
        chosen = [logs[choice] for logs, choice in zip(expected, choices, strict=True)]
        np.testing.assert_allclose(log_of(params, choices), chosen, atol=1e-12)


@NAMES
def test_samples_invert_the_cumulative_probabilities(x64, name):
    """Bit by bit: the sample is the one whose every choice is where its uniform number falls."""
    controller = LARGER[name]
    params, sample = parameters(controller), jax.jit(controller.sample)
    for seed in range(5):
        uniforms = np.random.default_rng(seed).random(len(controller.options))
        choices = np.asarray(sample(params, uniforms))
        logs, _ = ORACLES[name](controller, params, choices)
        assert list(choices) == [
            np.searchsorted(np.cumsum(np.exp(row)), u) for row, u in zip(logs, uniforms, strict=True)
        ]


@partial(jax.jit, static_argnums=0)
def enumerated(controller, params, all_tuples):
    return batch_log_probability(controller, params, all_tuples)


@NAMES
def test_the_expected_gradient_is_that_of_the_expected_reward(x64, name):
    """REINFORCE, Σ p R ∇log p over all architectures, against automatic differentiation of Σ p R."""
    controller, choices = TINY[name], tuples(name)
    params, rewards = parameters(controller), np.cos(np.asarray(choices) @ np.arange(1, 1 + choices.shape[1]))
    probabilities = np.exp(enumerated(controller, params, choices))
    np.testing.assert_allclose(probabilities.sum(), 1)
    assert probabilities.std() > 1e-4

    @jax.jit
    def expected(p):
        return jax.grad(lambda p: jnp.exp(enumerated(controller, p, choices)) @ rewards)(p)

    @jax.jit
    def estimate(p, advantages):
        weights = len(choices) * probabilities  # the loss is a mean, not an expectation
        return jax.grad(lambda p: -reinforce_loss(controller, p, choices, weights * advantages))(p)

    exact = ravel_pytree(expected(params))[0]
    assert jnp.abs(exact).max() > 1e-3
    for baseline in (0.0, 0.7):
        np.testing.assert_allclose(ravel_pytree(estimate(params, rewards - baseline))[0], exact, atol=1e-12)


@NAMES
def test_the_expected_sum_of_entropies_is_the_entropy(x64, name):
    controller, choices = TINY[name], tuples(name)
    params = parameters(controller)
    logs = enumerated(controller, params, choices)
    entropies = jax.jit(batch_entropy, static_argnums=0)(controller, params, choices)
    np.testing.assert_allclose(jnp.exp(logs) @ entropies, -jnp.exp(logs) @ logs, atol=1e-12)
    bonuses = jax.jit(batch_bonus, static_argnums=0)(controller, params, choices)
    if name == "micro":
        np.testing.assert_array_equal(bonuses, entropies)
    else:
        each = np.asarray(jax.jit(jax.vmap(partial(controller.log_probabilities, params)))(choices))
        np.testing.assert_allclose(bonuses, np.sum(-each * np.exp(each), axis=1), atol=1e-12)


@pytest.mark.parametrize("release", [False, True], ids=["paper", "release"])
def test_the_penalty_is_the_divergence_from_the_target(x64, release):
    controller = dataclasses.replace(LARGER["macro"], skip_target=0.3, skip_weight=0.5, release_penalty=release)
    params = parameters(controller)
    choices = np.random.default_rng(5).integers(np.array(controller.options), size=(2, len(controller.options)))
    layers = []
    for row in choices:
        logs, all_q = macro_logs(controller, params, row)
        sampled = iter(each for each in logs if len(each) == 2)
        for own in all_q[1:]:
            divergence = 0.0
            for q in own:
                p = np.exp(next(sampled)[1])
                p = 1 / (1 + np.exp(-q)) if release else p
                divergence += p * np.log(p / 0.3) + (1 - p) * np.log((1 - p) / 0.7)
            layers.append(divergence)
    found = jax.jit(mean_penalty, static_argnums=0)(controller, params, jnp.asarray(choices))
    np.testing.assert_allclose(found, 0.5 * np.mean(layers), rtol=1e-12)


def test_the_penalty_alone_brings_the_skips_to_the_target():
    """Plain gradient descent on the penalty: the share of sampled skips goes from 1/2 to the target."""
    controller = MacroController(4, 2, AttentionSettings(hidden=8), skip_target=0.2, skip_weight=1.0)
    params = controller.init(jax.random.key(0))

    @jax.jit
    def step(params, key):
        drawn = samples(controller, params, key, 8)
        slopes = jax.grad(partial(mean_penalty, controller))(params, drawn)
        return jax.tree.map(lambda p, g: p - 0.3 * g, params, slopes)

    for number in range(200):
        params = step(params, jax.random.key(number))
    drawn = np.asarray(samples(controller, params, jax.random.key(999), 2_000))
    skips = [i for i, n in enumerate(d.name for d in skip_decisions(4)) if "skip" in n]
    assert abs(drawn[:, skips].mean() - 0.2) < 4 * np.sqrt(0.16 / (2_000 * len(skips))) + 0.01


def skip_decisions(layers):
    return dataclasses.replace(enas_macro, layers=layers).decisions


@pytest.mark.parametrize(
    ("controller", "space", "count"),
    [
        (MacroController(12, len(MACRO_OPS)), enas_macro, 41_856),
        (MicroController(5, len(MICRO_OPS)), enas_micro, 41_733),
        (RecurrentController(11, 4, AttentionSettings(hidden=100), first=True), enas_rnn, 101_000),
        (RecurrentController(8, 4, AttentionSettings(hidden=64)), enas_lm_rnn, 41_344),
    ],
    ids=["macro", "micro", "enas_rnn", "enas_lm"],
)
def test_the_released_controllers(controller, space, count):
    """Numbers of parameters (addendum §2.7), and the order of their decisions."""
    params = jax.eval_shape(controller.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    assert controller.options == tuple(decision.options for decision in space.decisions)


def test_an_untrained_micro_controller_prefers_convolutions():
    """c = 1.1/2.5; tanh(10) ≈ 1 for the first two ops, ≈ 0 for the others; ±0.25 in the normal cell."""
    controller = MicroController(5, len(MICRO_OPS))
    params = controller.init(jax.random.key(0))
    assert jnp.abs(params["lstm_0"]).max() <= 0.1
    choices = samples(controller, params, jax.random.key(1), 1)[0]
    logs = np.exp(jax.jit(controller.all_logs)(params, choices))
    for node, odds in ((0, 0.44 + 0.5), (5, 0.44)):
        convolution, other = logs[4 * node + 2][[0, 4]]
        np.testing.assert_allclose(np.log(convolution / other), odds, atol=0.02)
    entropy = -np.sum(logs * np.log(np.maximum(logs, 1e-30)))
    assert 50 < entropy <= 2 * (2 * np.log(720) + 10 * np.log(5)), "at most ln of the number of tuples"


@pytest.mark.parametrize("first", [True, False])
def test_an_untrained_recurrent_controller_prefers_near_nodes(first):
    """The attention is almost the same for all nodes, so that P(j) of node i is in proportion to exp(−(i − j)²/6)."""
    controller = RecurrentController(5, 4, AttentionSettings(8, temperature=5.0, tanh=2.5, scale=0.01), first)
    params = controller.init(jax.random.key(0))
    choices = samples(controller, params, jax.random.key(1), 1)[0]
    logs = np.exp(jax.jit(controller.all_logs)(params, choices))
    rows = logs[first + 1 :: 2]
    assert len(rows) == 4
    for node, row in enumerate(rows, start=2):
        near = np.exp(-((node - np.arange(node)) ** 2) / 6)
        np.testing.assert_allclose(row[:node], near / near.sum(), atol=1e-3)
        np.testing.assert_array_equal(row[node:], 0)
    np.testing.assert_allclose(logs[first::2, :4], 0.25, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AttentionSettings(hidden=0), "hidden of the controller is 0"),
        (lambda: AttentionSettings(tanh=0.0), "tanh of the controller is 0.0"),
        (lambda: MacroController(3, 2, skip_target=1.0), "skip_target is 1.0"),
    ],
)
def test_wrong_settings(make, words):
    with pytest.raises(UserError, match=words):
        make()
