"""Controllers against enumeration of all tuples; REINFORCE, PPO, baselines, bandits."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from optuna.distributions import CategoricalDistribution

from jdarts.controllers import batch_entropy, batch_log_probability, controller_of, reinforce_loss, sampler, samples
from jdarts.errors import UserError
from jdarts.spaces import Decision
from jdarts.strategies import PPO, Reinforce, simulate
from jdarts.strategies.history import Evaluation, History
from jdarts.strategies.ppo import ppo_loss

DECISIONS = (Decision("a", 2, "cell/input"), Decision("b", 3, "cell/op"), Decision("c", 3, "cell/op"))
TUPLES = np.array(list(itertools.product(range(2), range(3), range(3))), np.int32)
REWARDS = np.cos(3 * np.arange(len(TUPLES)))
LSTM = controller_of(DECISIONS, hidden=4, layers=2, temperature=0.5, tanh=2.5, scale=1.0)
INDEPENDENT = controller_of(DECISIONS, hidden=None)
CONTROLLERS = pytest.mark.parametrize("controller", [LSTM, INDEPENDENT], ids=["lstm", "independent"])


def parameters(controller):
    """Parameters away from the symmetric start, in the precision of the test."""
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.zeros(()).dtype), controller.init(jax.random.key(1)))
    flat, back = ravel_pytree(params)
    return back(flat + np.random.default_rng(2).normal(size=flat.shape).astype(flat.dtype))


@partial(jax.jit, static_argnums=0)
def log_probabilities(controller, params):
    return batch_log_probability(controller, params, jnp.asarray(TUPLES))


def flat_gradient(function, params):
    return np.asarray(ravel_pytree(jax.jit(jax.grad(function))(params))[0])


@CONTROLLERS
def test_probabilities_of_all_tuples_sum_to_one(x64, controller):
    probabilities = np.exp(log_probabilities(controller, parameters(controller)))
    np.testing.assert_allclose(probabilities.sum(), 1)
    assert probabilities.std() > 0.01


@CONTROLLERS
def test_samples_have_these_probabilities(controller):
    params = parameters(controller)
    expected = np.exp(log_probabilities(controller, params))
    draws = 4_000
    uniforms = np.random.default_rng(0).random((draws, len(DECISIONS)), np.float32)
    samples = np.asarray(jax.jit(jax.vmap(controller.sample, in_axes=(None, 0)))(params, uniforms))
    counts = np.array([(samples == each).all(1).sum() for each in TUPLES])
    assert counts.sum() == draws
    chi_squared = np.sum((counts - draws * expected) ** 2 / (draws * expected))
    assert chi_squared < 17 + 4 * np.sqrt(2 * 17)
    np.testing.assert_array_equal(sampler(controller)(params, uniforms[0]), samples[0])


def test_the_lstm_reads_the_choices_before(x64):
    params = parameters(LSTM)
    logs = np.asarray(jax.jit(jax.vmap(lambda each: LSTM.log_probabilities(params, each)))(TUPLES))
    assert len(np.unique(logs[:, 0].round(12))) == 2, "the first decision depends on nothing"
    assert len(np.unique(logs[:, 2].round(12))) == len(TUPLES), "the last one on both before"
    shared = controller_of(DECISIONS).tables
    assert shared[1] == shared[2] != shared[0], "decisions of one kind and size share their output layer"
    assert logs.min() > -np.log(1 + np.exp(5.0) * 2), "the tanh bounds the logits to ±2.5"


@CONTROLLERS
def test_the_expected_gradient_is_that_of_the_expected_reward(x64, controller):
    """Over an exhaustive enumeration, whatever the baseline (addendum §3)."""
    params = parameters(controller)
    probabilities = np.exp(log_probabilities(controller, params))

    def expected_reward(p):
        return jnp.exp(log_probabilities(controller, p)) @ REWARDS

    @jax.jit
    @jax.vmap
    def estimate(each, advantage):
        gradient = jax.grad(lambda p: reinforce_loss(controller, p, each[None], advantage[None]))(params)
        return -ravel_pytree(gradient)[0]

    expected = flat_gradient(expected_reward, params)
    assert np.abs(expected).max() > 0.01
    for baseline in (0.0, 0.7):
        np.testing.assert_allclose(probabilities @ estimate(TUPLES, REWARDS - baseline), expected, atol=1e-12)
    np.testing.assert_allclose(probabilities @ estimate(TUPLES, np.ones(len(TUPLES))), 0, atol=1e-12)


@CONTROLLERS
def test_the_expected_gradient_of_the_entropy_reward_is_that_of_the_entropy(x64, controller):
    params = parameters(controller)
    logs = log_probabilities(controller, params)

    def entropy(p):
        logs = log_probabilities(controller, p)
        return -jnp.exp(logs) @ logs

    rewards = -np.asarray(logs) * len(TUPLES) * np.exp(logs)  # weights of the expectation inside the mean
    found = -flat_gradient(lambda p: reinforce_loss(controller, p, jnp.asarray(TUPLES), jnp.asarray(rewards)), params)
    np.testing.assert_allclose(found, flat_gradient(entropy, params), atol=1e-12)


@CONTROLLERS
def test_the_expected_sum_of_entropies_is_the_entropy(x64, controller):
    params = parameters(controller)
    logs = log_probabilities(controller, params)
    sums = batch_entropy(controller, params, jnp.asarray(TUPLES))
    np.testing.assert_allclose(np.exp(logs) @ sums, -np.exp(logs) @ logs, atol=1e-12)


def test_samples_of_a_key_are_independent_tuples():
    drawn = np.asarray(samples(INDEPENDENT, INDEPENDENT.init(jax.random.key(0)), jax.random.key(1), 900))
    counts = np.array([(drawn == each).all(1).sum() for each in TUPLES])
    assert counts.sum() == 900 and abs(counts - 50).max() < 5 * np.sqrt(50)


def test_ppo_is_reinforce_at_a_ratio_of_one(x64):
    params, advantages = parameters(LSTM), jnp.asarray(REWARDS)
    old = log_probabilities(LSTM, params)
    found = flat_gradient(lambda p: ppo_loss(log_probabilities(LSTM, p), old, advantages, 0.2), params)
    expected = flat_gradient(lambda p: reinforce_loss(LSTM, p, jnp.asarray(TUPLES), advantages), params)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("ratio", "advantage", "clipped"),
    [(1.3, 1.0, True), (1.1, 1.0, False), (0.7, 1.0, False), (0.7, -1.0, True), (1.3, -1.0, False)],
)
def test_ppo_clips_what_has_moved_far_enough(ratio, advantage, clipped):
    gradient = jax.grad(lambda log: ppo_loss(log, jnp.zeros(1), jnp.array([advantage]), 0.2))(
        jnp.log(jnp.array([ratio]))
    )
    assert gradient[0] == pytest.approx(0.0 if clipped else -ratio * advantage, rel=1e-5)
    assert (gradient[0] == 0) == clipped


def test_one_epoch_of_ppo_is_one_step_of_reinforce():
    space = {name: CategoricalDistribution(range(options)) for name, options in (("a", 2), ("b", 3), ("c", 3))}
    history = History()
    for number, (each, reward) in enumerate(zip(TUPLES[:4].tolist(), REWARDS, strict=False)):
        history.append(Evaluation(number, tuple(each), float(reward)))
    settings = {"batch": 4, "learning_rate": 0.1, "hidden": None}
    first, second = Reinforce(space, **settings), PPO(space, epochs=1, **settings)
    np.testing.assert_allclose(first.learned(history).params, second.learned(history).params, rtol=1e-5)
    assert np.abs(first.learned(history).params).max() > 0.05, "the step is not zero"


def test_the_baseline_is_an_average_of_rewards_that_moves_before_it_is_used():
    """The mean of x, y with weights ½·½, ½ is (x + 2y)/3; the first reward is its own baseline."""
    space = {"a": CategoricalDistribution(range(2))}
    history = History()
    strategy = Reinforce(
        space, learning_rate=0.1, baseline_decay=0.5, entropy_weight=0.0, reward=lambda score: score**3, hidden=None
    )
    history.append(Evaluation(0, (0,), 2.0))
    assert strategy.learned(history).baseline == 8.0
    assert not np.any(strategy.learned(history).params), "an advantage of 0"
    history.append(Evaluation(1, (0,), 1.0))
    learned = strategy.learned(history)
    assert learned.baseline == pytest.approx((8 + 2 * 1) / 3)
    assert learned.params[0, 0] < 0 < learned.params[0, 1], "the second reward is below the baseline"


def published_reinforce(choices, rewards, *, edges, ops, rate, momentum):
    """The loop of NAS-Bench-201's authors in float64: average moved before use, softmax by hand, Adam by hand."""
    logits, first, second, numerator, denominator = np.zeros((edges, ops)), 0.0, 0.0, 0.0, 0.0
    for step, (choice, reward) in enumerate(zip(choices, rewards, strict=True), start=1):
        numerator = momentum * numerator + (1 - momentum) * reward
        denominator = momentum * denominator + (1 - momentum)
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        gradient = (probabilities - np.eye(ops)[choice]) * (reward - numerator / denominator)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        logits = logits - rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return logits


def test_updates_are_those_of_nas_bench_201():
    """One evaluation an update, the accuracy in % as the reward."""
    rng = np.random.default_rng(3)
    choices, rewards = rng.integers(5, size=(30, 6)), rng.uniform(40, 90, 30)
    space = {f"edge_{edge}": CategoricalDistribution(range(5)) for edge in range(6)}
    made = Reinforce(space, hidden=None, learning_rate=0.5, baseline_decay=0.9, entropy_weight=0.0, batch=1)
    history = History()
    for number, (each, reward) in enumerate(zip(choices.tolist(), rewards.tolist(), strict=True)):
        history.append(Evaluation(number, tuple(each), reward))
    expected = published_reinforce(choices, rewards, edges=6, ops=5, rate=0.5, momentum=0.9)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(made.learned(history).params, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(
    "strategy",
    [
        lambda space: PPO(space, batch=8, learning_rate=0.05, hidden=None),
        lambda space: Reinforce(space, learning_rate=0.1, hidden=None),
        lambda space: Reinforce(space, learning_rate=0.01, hidden=8, batch=8),
    ],
    ids=["ppo", "reinforce", "reinforce_lstm"],
)
def test_the_best_arm_of_a_bandit_is_found(strategy):
    """One of 8 arms pays 1: P(best) > .9 after at most 500 updates (addendum §3)."""
    made = strategy({"arm": CategoricalDistribution("abcdefgh")})
    history = History()
    for evaluation in simulate(made, lambda choices: float(choices == (5,)), min(500 * made.learning.batch, 1_600)):
        history.append(evaluation)
    logs = batch_log_probability(made.controller, made.learned(history).params, jnp.arange(8)[:, None])
    assert np.exp(logs[5]) > 0.9
    assert made.entropy(history) < 0.6 < np.log(8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch is 0; use a whole number of at least 1"),
        ({"baseline_decay": 0}, "baseline_decay is 0"),
        ({"learning_rate": -1.0}, "learning_rate of the controller is -1.0"),
        ({"hidden": 0}, "hidden of the controller is 0"),
        ({"tanh": 0.0}, "tanh of the controller is 0.0"),
        ({"units": 3}, "unknown option of Reinforce 'units'"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(UserError, match=message):
        Reinforce({"a": CategoricalDistribution(range(2))}, **options)
