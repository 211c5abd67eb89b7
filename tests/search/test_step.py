"""Algorithm 1 on a toy problem in float64, against loops written out with `jax.grad` of the whole objective.

No network and no images: `Toy` stands in for the objective and the batches of a search.
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jdarts import hypergrad
from jdarts.config import AdamConfig, SearchConfig, SGDConfig
from jdarts.errors import UserError
from jdarts.methods import Method, darts
from jdarts.optimizers import weight_sgd
from jdarts.schedules import clock_at
from jdarts.search.checks import check_conventions
from jdarts.search.search import search_step
from jdarts.search.state import METRICS, SearchState

SGD = SGDConfig(learning_rate=0.2, learning_rate_min=0.2, weight_decay=1e-2, gradient_clip=0.5)
ADAM = AdamConfig(learning_rate=0.1, weight_decay=1e-2)
PER_EPOCH, STEPS = 2, 3
MIX = np.random.default_rng(0).normal(size=(4, 3, 5))  # [features, ops, weights]


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def mixed(w, p, batch):
    """A loss with curvature in weights and op weights, and mixed derivatives between them."""
    return jnp.mean((jnp.einsum("fow,w,o->f", MIX, jnp.tanh(w), p) - batch["target"]) ** 2)


def aux_of(value, batch):
    return {"loss": value, "accuracy": -value, "batch_stats": batch["batch_stats"] + 1, "carried": ()}


@dataclass(frozen=True, eq=False)
class Toy:
    """Objective, batches and task in one: batch t is a random target."""

    method: Method
    steps_per_epoch: int = PER_EPOCH
    space: Any = None
    one_at_a_time: str = ""
    weight_optimizer = staticmethod(weight_sgd)

    def enter(self, state, batch):
        return state

    def clock(self, step):
        return clock_at(step, self.steps_per_epoch, 2)

    def loss(self, w, alphas, batch):
        value = mixed(w, jax.nn.softmax(alphas["a"]), batch)
        return value, aux_of(value, batch)

    def weight_loss(self, w, alphas, batch):
        p = jax.lax.stop_gradient(jax.nn.softmax(2 * alphas["a"]))
        value = mixed(w, p, batch)
        return value, aux_of(value, batch)

    def draw(self, state, arrays):
        def batch(split, t):
            key = jax.random.key(2 * t + split)
            return {"target": arrays[split, t], "relax_key": key, "batch_stats": state.batch_stats, "step": t}

        return batch(0, state.step), batch(1, state.step)

    def look_ahead(self, state, arrays, steps):
        drawn = [self.draw(state.replace(step=state.step + i), arrays)[0] for i in range(steps)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn)


def targets():
    return jnp.asarray(np.random.default_rng(1).normal(size=(2, STEPS + 2, 4)))


def torch_sgd(w, grad, momentum):
    """PyTorch's `clip_grad_norm_` and SGD, written out: `(w, momentum)`."""
    grad = grad * jnp.minimum(1.0, SGD.gradient_clip / (jnp.sqrt(jnp.sum(grad**2)) + 1e-6))
    momentum = SGD.momentum * momentum + grad + SGD.weight_decay * w
    return w - SGD.learning_rate * momentum, momentum


def adam():
    return optax.chain(optax.add_decayed_weights(ADAM.weight_decay), optax.adam(ADAM.learning_rate, ADAM.b1, ADAM.b2))


def start(step) -> SearchState:
    w, alphas = jnp.linspace(-1, 1, 5), {"a": jnp.array([0.3, -0.2, 0.1])}
    return SearchState(
        step=jnp.int32(0),
        weights=w,
        batch_stats=jnp.zeros(()),
        alphas=alphas,
        weight_opt_state=step.weight_optimizer.init(w),
        alpha_opt_state=step.update_alphas.optimizer.init(alphas),
        carried={"train": (), "val": ()},
        hypergradient_memory=step.initial_memory(w, alphas),
        key=jax.random.key(0),
        sums=dict.fromkeys(METRICS, jnp.zeros(())),
    )


def searched(method: Method, **settings):
    """The states before the first step and after each, and the metrics of each."""
    toy: Any = Toy(method)
    step = search_step(SearchConfig(epochs=2, weight_optimizer=SGD, alpha_optimizer=ADAM, **settings), toy, toy, toy)
    states, metrics, run = [jax.jit(partial(start, step))()], [], jax.jit(step.step)
    for _ in range(STEPS):
        state, seen = run(states[-1], targets())
        states.append(state)
        metrics.append(seen)
    return states, metrics


def by_hand(method: Method, hypergradient: str, virtual: int = 1):
    """`[(w, alphas)]` after each step: the algorithm as prose, every gradient by `jax.grad` of a whole function."""
    return jax.jit(partial(_by_hand, method, hypergradient, virtual))(targets())


def _by_hand(method, hypergradient, virtual, data):
    toy, a_opt = Toy(method), adam()
    w, alphas = jnp.linspace(-1, 1, 5), {"a": jnp.array([0.3, -0.2, 0.1])}
    momentum, moments, passed = jnp.zeros(5), a_opt.init(alphas), []

    def train(w, alphas, t):
        return toy.loss(w, alphas, {"target": data[0, t], "batch_stats": 0.0})[0]

    def weights(w, alphas, momentum, t, loss=train):
        return torch_sgd(w, jax.grad(loss)(w, alphas, t), momentum)

    def upper(alphas, w, momentum, t):
        if hypergradient == "single_level":
            return train(w, alphas, t)
        for i in range(virtual if hypergradient in ("unrolled", "look_back") else 0):
            w, momentum = weights(w, alphas, momentum, t + i)
        return toy.loss(w, alphas, {"target": data[1, t], "batch_stats": 0.0})[0]

    def moved_alphas(alphas, moments, w, momentum, t):
        if method.alphas_fixed or t // PER_EPOCH < (method.alpha_start or 0):
            return alphas, moments
        grads = jax.grad(upper)(alphas, w, momentum, t)
        if method.regularizer is not None:  # the derivative of 0.3 Σ a⁴, written out
            grads = {"a": grads["a"] + 1.2 * alphas["a"] ** 3}
        updates: Any
        updates, moments = a_opt.update(grads, moments, alphas)
        return {"a": alphas["a"] + updates["a"]}, moments

    def own(w, alphas, t):
        return toy.weight_loss(w, alphas, {"target": data[0, t], "batch_stats": 0.0})[0]

    for t in range(STEPS):
        before = alphas
        if method.order == "weights_first":
            w, momentum = weights(w, alphas, momentum, t)
            alphas, moments = moved_alphas(alphas, moments, w, momentum, t)
        else:
            alphas, moments = moved_alphas(alphas, moments, w, momentum, t)
            together = hypergradient in ("single_level", "look_back") and not method.own_weight_step
            loss = own if method.own_weight_step else train
            w, momentum = weights(w, before if together else alphas, momentum, t, loss)
        passed.append((w, alphas))
    return passed


FIRST = replace(darts(), order="weights_first")
OWN = replace(darts(), relax_weights=lambda alphas, key, clock, space: alphas)
CASES = {
    "first order": (darts(), "first_order", 1),
    "unrolled": (darts(), "unrolled", 1),
    "two virtual steps": (darts(), "unrolled", 2),
    "look back": (darts(), "look_back", 1),
    "single level": (darts(), "single_level", 1),
    "weights first": (FIRST, "unrolled", 1),
    "weights first, two virtual steps": (FIRST, "unrolled", 2),
    "alphas fixed": (replace(darts(), alphas_fixed=True), "first_order", 1),
    "alphas from the second epoch on": (replace(darts(), alpha_start=1), "unrolled", 1),
    "own weight step": (OWN, "first_order", 1),
    "own weight step, single level": (OWN, "single_level", 1),
    "regularised": (
        replace(darts(), regularizer=lambda alphas, key, clock, space: 0.3 * jnp.sum(alphas["a"] ** 4)),
        "first_order",
        1,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_steps_equal_the_algorithm_written_out(name):
    method, hypergradient, virtual = CASES[name]
    states, _ = searched(method, hypergradient=hypergradient, unroll_steps=virtual)
    for state, (w, alphas) in zip(states[1:], by_hand(method, hypergradient, virtual), strict=True):
        np.testing.assert_allclose(state.weights, w, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(state.alphas["a"], alphas["a"], rtol=1e-10, atol=1e-13)
    assert [int(state.step) for state in states] == [0, 1, 2, 3]


def averaged_first_order(train_loss, val_loss, optimizer, *, keep: float = 0.5):
    """The first-order gradient, averaged over the steps in its memory."""
    first = hypergrad.first_order(train_loss, val_loss)

    def estimate(w, alphas, opt_state, train_batch, val_batch, memory):
        grads, aux = first(w, alphas, opt_state, train_batch, val_batch)
        mean = jax.tree.map(lambda old, new: keep * old + (1 - keep) * new, memory, grads)
        return mean, aux._replace(memory=mean)

    return hypergrad.WithMemory(lambda w, alphas: jax.tree.map(jnp.zeros_like, alphas), estimate)


def test_a_search_carries_the_memory_of_an_estimator():
    kept = replace(darts(), hypergradient=averaged_first_order, hypergradient_options={"keep": 0.25})
    states, _ = searched(kept, hypergradient=kept.hypergradient)
    toy, mean, moments = Toy(kept), {"a": jnp.zeros(3)}, adam().init({"a": jnp.zeros(3)})
    for t, (before, after) in enumerate(pairwise(states)):
        batch = {"target": targets()[1, t], "batch_stats": 0.0}
        grads = jax.grad(lambda a, w=before.weights, batch=batch: toy.loss(w, a, batch)[0])(before.alphas)
        mean = {"a": 0.25 * mean["a"] + 0.75 * grads["a"]}
        np.testing.assert_allclose(after.hypergradient_memory["a"], mean["a"], rtol=1e-12)
        updates: Any
        updates, moments = adam().update(mean, moments, before.alphas)
        np.testing.assert_allclose(after.alphas["a"], before.alphas["a"] + updates["a"], rtol=1e-12)


def test_look_back_needs_a_weight_step_of_the_same_loss():
    with pytest.raises(UserError, match="look_back, which differentiates the weight step"):
        check_conventions(SearchConfig(hypergradient="look_back"), OWN)


def test_the_choices_of_a_method_lead_elsewhere():
    """The comparison above means something: no two of its cases end in the same place."""
    ends = [float(by_hand(*case)[-1][0][0]) for case in CASES.values()]
    assert min(np.diff(np.sort(ends))) > 1e-8, ends


@pytest.mark.parametrize("method", [darts(), FIRST], ids=["alphas first", "weights first"])
def test_running_averages_are_those_of_the_weight_step(method):
    states, _ = searched(method, hypergradient="unrolled")
    assert [float(state.batch_stats) for state in states] == [0, 1, 2, 3], "one pass a step counts, of four"


def test_metrics_are_those_of_the_passes_and_their_sums_begin_anew_in_each_epoch():
    states, metrics = searched(darts(), hypergradient="first_order")
    toy, data = Toy(darts()), targets()
    for t, (before, after, seen) in enumerate(zip(states, states[1:], metrics, strict=False)):
        batches = [{"target": data[split, t], "batch_stats": 0.0} for split in (0, 1)]
        train = toy.loss(before.weights, after.alphas, batches[0])[0]
        val = toy.loss(before.weights, before.alphas, batches[1])[0]
        expected = dict(zip(METRICS, map(float, (train, -train, val, -val)), strict=True))
        assert {name: float(seen[name]) for name in METRICS} == pytest.approx(expected)
        assert bool(seen["finite"])
    for name in METRICS:
        assert float(states[2].sums[name]) == pytest.approx(float(metrics[0][name] + metrics[1][name]))
        assert float(states[3].sums[name]) == pytest.approx(float(metrics[2][name]))


def test_weights_that_overflow_are_told():
    toy: Any = Toy(darts())
    settings = SearchConfig(epochs=2, hypergradient="first_order", weight_optimizer=SGD, alpha_optimizer=ADAM)
    step = search_step(settings, toy, toy, toy)
    broken = start(step).replace(weights=jnp.full(5, jnp.nan))  # type: ignore[attr-defined]
    assert not bool(jax.jit(step.step)(broken, targets())[1]["finite"])


def test_a_hook_behind_the_update_sees_old_and_new_alphas():
    seen = {}

    def halve(old, new, key, clock, space):
        seen.update(old=old["a"].shape, clock=clock.epochs)
        return {"a": old["a"] + (new["a"] - old["a"]) / 2}

    method = replace(darts(), post_update=halve)
    plain, halved = (searched(m, hypergradient="first_order")[0][1] for m in (darts(), method))
    begin = np.array([0.3, -0.2, 0.1])
    np.testing.assert_allclose(halved.alphas["a"] - begin, (plain.alphas["a"] - begin) / 2, rtol=1e-10)
    assert seen == {"old": (3,), "clock": 2}
