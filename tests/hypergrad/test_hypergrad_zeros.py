"""0 · ∞ in an optimiser's derivative: dead coordinates contribute nothing, and true infinities are reported."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.dead_pixels import after, loss, problem
from support.hypergrad_problems import error

from jdarts import hypergrad
from jdarts.errors import UserError
from jdarts.hypergrad.singular import pull_back

pytestmark = pytest.mark.usefixtures("x64")

ADAPTIVE = {
    "adam": lambda: optax.adam(0.01),
    "rms": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.rmsprop(0.01, momentum=0.9)),
}
BUILDERS = {
    "one step": hypergrad.unrolled,
    "one step, forward": partial(hypergrad.unrolled, mode=hypergrad.Forward()),
    "two steps": partial(hypergrad.unrolled, steps=2),
    "two steps, sqrt": partial(hypergrad.unrolled, steps=2, mode=hypergrad.Reverse("sqrt")),
    "two steps, forward": partial(hypergrad.unrolled, steps=2, mode=hypergrad.Forward()),
    "finite difference": partial(hypergrad.finite_difference, epsilon=1e-3),
    "neumann": partial(hypergrad.neumann, terms=2),
}


@cache
def compiled(name, chain):
    optimizer = ADAPTIVE[chain]()
    return optimizer, jax.jit(BUILDERS[name](loss, loss, optimizer))


def hypergradient(name, chain, *, black, real_steps):
    steps = 2 if name.startswith("two") else 1
    optimizer, estimator = compiled(name, chain)
    w, alphas, train_batch, val_batch = problem(black=black, steps=steps)
    w, state = after(optimizer, w, alphas, problem(black=black)[2], real_steps)
    return estimator(w, alphas, state, train_batch, val_batch)[0]


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize(("chain", "real_steps"), [("adam", 0), ("adam", 50), ("rms", 0)])
def test_black_pixels_count_for_nothing(name, chain, real_steps):
    with_black = hypergradient(name, chain, black=True, real_steps=real_steps)
    oracle = name.removesuffix(", forward").removesuffix(", sqrt")
    assert error(with_black, hypergradient(oracle, chain, black=False, real_steps=real_steps)) < 1e-8


def root(rate):
    """An optimiser whose step has an infinite slope at a zero gradient."""

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda g: -rate * jnp.sqrt(jnp.abs(g)), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def bent(w, alphas, batch):
    """The gradient by `w["used"]` is `alphas[0] / 2`; `w["dead"]` has none, whatever the alphas."""
    value = jnp.sum(w["used"]) * alphas[0] / 2 + jnp.sum(w["dead"]) * batch[0]
    return value + alphas[1] * jnp.sum(w["live"] ** 2), None


def straight(w, alphas, batch):
    del batch
    return sum(jnp.sum(leaf) for leaf in w.values()) + alphas[1], None


BENT = {"used": jnp.ones(2), "dead": jnp.ones(3), "live": jnp.ones(1)}


def bent_arguments(optimizer, used):
    w = {**jax.tree.map(lambda leaf: leaf.astype(float), BENT), "used": jnp.ones(2 * used)}
    return w, jnp.array([0.0, 1.0]), optimizer.init(w), jnp.zeros(1), jnp.zeros(1)


ESTIMATORS = {
    "reverse": hypergrad.unrolled,
    "forward": partial(hypergrad.unrolled, mode=hypergrad.Forward()),
    "difference": hypergrad.finite_difference,
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_infinite_slope_is_an_error_that_names_leaf_and_transformation(name):
    optimizer = optax.chain(optax.clip_by_global_norm(9.0), root(0.1))
    estimator = ESTIMATORS[name](bent, straight, optimizer)
    arguments = bent_arguments(optimizer, True)
    with pytest.raises(UserError, match=r"derivative of root is infinite .* for w\['used'\], at 2 of 2 elements where"):
        estimator(*arguments)
    grads = jax.jit(estimator)(*arguments)[0]
    assert not np.isfinite(grads[0]), "under jit, the result is NaN or infinite"
    np.testing.assert_allclose(grads[1], 1 - 0.1 * 2 * 0.5 / np.sqrt(2), err_msg="d√2a/da; this alpha is not concerned")
    assert "root" in str(hypergrad.explain_non_finite(bent, straight, optimizer, arguments))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_infinite_slope_of_weights_without_influence_counts_for_nothing(name):
    optimizer = root(0.1)
    grads, _ = ESTIMATORS[name](bent, straight, optimizer)(*bent_arguments(optimizer, False))
    np.testing.assert_allclose(grads, [0, 1 - 0.1 * 2 * 0.5 / np.sqrt(2)], atol=1e-9)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_zero_gradient_with_influence_has_the_true_slope_of_adam(name):
    optimizer = optax.adam(0.1, eps=1e-3)
    grads, _ = ESTIMATORS[name](bent, straight, optimizer)(*bent_arguments(optimizer, True))
    slope = -0.1 / 1e-3 / 2 * 2  # of g / (|g| + ε) at 0, times ∂g/∂α of two weights
    np.testing.assert_allclose(grads[0], slope, rtol=1e-6)


def test_nothing_is_to_explain_where_all_is_finite_and_losses_are_named():
    optimizer = optax.adam(0.1)
    arguments = bent_arguments(optimizer, True)
    assert hypergrad.explain_non_finite(bent, straight, optimizer, arguments) is None
    broken = lambda w, alphas, batch: (straight(w, alphas, batch)[0] * jnp.nan, None)  # noqa: E731
    assert "validation loss" in str(hypergrad.explain_non_finite(bent, broken, optimizer, arguments))
    assert np.isnan(hypergrad.unrolled(bent, broken, optimizer)(*arguments)[0]).all(), "not the optimiser's fault"


def test_steps_without_poles_are_differentiated_as_jax_does():
    """No guard, no probe: the search's own chain costs nothing more."""
    chain = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(optax.cosine_decay_schedule(0.1, 9), momentum=0.9))
    w = jnp.arange(4.0)
    state = chain.init(w)

    def step(g):
        return optax.apply_updates(w, chain.update(g, state, w)[0])

    def count(function):
        return jax.jit(function).lower(w, w).as_text().count("stablehlo.select")

    assert count(lambda g, v: pull_back(step, (g,), v).adjoints) == count(lambda g, v: jax.vjp(step, g)[1](v))
    assert not pull_back(step, (w,), w).singular
    clipped = optax.chain(optax.clip_by_global_norm(1.0), chain)
    assert not pull_back(lambda g: clipped.update(g, clipped.init(w), w)[0], (w,), w).singular
    assert pull_back(lambda g: optax.adam(0.1).update(g, optax.adam(0.1).init(w))[0], (w,), w).singular
