"""The losses of a search in float64, against Flax's `apply`, optax's cross-entropy and running averages written out."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jdarts import spaces
from jdarts.methods import darts
from jdarts.schedules import clock_at
from jdarts.search.images import ImageObjective
from jdarts.search.vectors import vector_network

SPACE = spaces.define_space(
    "one_node",
    nodes=1,
    normal={(0, 2): ("skip_connect", "none"), (1, 2): ("sep_conv_3x3", "max_pool_3x3")},
    reduce={(0, 2): ("avg_pool_3x3", "none"), (1, 2): ("skip_connect", "dil_conv_3x3")},
)
CLOCK = partial(clock_at, steps_per_epoch=2, epochs=4)
DROPPING = dataclasses.replace(darts(), edge_values={"drop_path": lambda clock: clock.epoch / 4})


@pytest.fixture(autouse=True, scope="module")
def x64():
    with jax.enable_x64(True):
        yield


def objective(method=None) -> ImageObjective:
    method = method or darts()
    network = SPACE.supernet(channels=2, cells=1, classes=3, edge=method.edge)
    p = {name: jnp.full(shape, 0.5) for name, shape in SPACE.alpha_shapes.items()}
    values = {name: jnp.zeros(()) for name in method.edge_values}
    return ImageObjective(vector_network(network, p, jnp.zeros((2, 6, 6, 2)), True, values), method, SPACE, CLOCK)


def problem(made: ImageObjective, step=0):
    """Weights, alphas and a batch; running averages as some steps would leave them."""
    rng = np.random.default_rng(0)
    running = made.supernet.initial_statistics().astype(jnp.float64)
    w = made.supernet.initial_weights(jax.random.key(0)).astype(jnp.float64)
    alphas = {name: jnp.asarray(rng.normal(size=shape)) for name, shape in SPACE.alpha_shapes.items()}
    batch = {
        "images": jnp.asarray(rng.normal(size=(8, 6, 6, 2))),
        "labels": jnp.asarray(rng.integers(0, 3, 8)),
        "key": jax.random.key(1),
        "relax_key": jax.random.key(2),
        "batch_stats": running + rng.uniform(0, 0.5, running.shape),
        "step": jnp.int32(step),
    }
    return w, alphas, batch


def directly(made: ImageObjective, w, p, batch, train, values):
    """Logits and moved running averages as Flax computes them, from trees."""
    supernet = made.supernet
    rngs = {"noise": batch["key"], "drop_path": jax.random.fold_in(batch["key"], 1)}
    logits, changed = supernet.network.apply(
        supernet.tree(w, batch["batch_stats"]),
        p,
        batch["images"],
        train,
        values,
        mutable=["batch_stats"],
        rngs=rngs,
    )
    stats = supernet.vectors({"params": supernet.tree(w, batch["batch_stats"])["params"], **changed})[1]
    return logits, stats


@pytest.mark.parametrize(("method", "step"), [(darts(), 0), (DROPPING, 4)], ids=["darts", "drop-path"])
def test_the_loss_is_the_cross_entropy_of_the_network(method, step):
    made = objective(method)
    w, alphas, batch = problem(made, step)
    p = {name: jax.nn.softmax(a) for name, a in alphas.items()}
    values = {"drop_path": jnp.float64(0.5)} if method is DROPPING else {}  # step 4 is in the third of four epochs
    logits, stats = jax.jit(partial(directly, made, train=True, values=values))(w, p, batch)
    loss, aux = jax.jit(made.loss)(w, alphas, batch)
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"]).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    assert float(aux["accuracy"]) == np.mean(np.argmax(logits, -1) == batch["labels"])
    np.testing.assert_allclose(aux["batch_stats"], stats, rtol=1e-12)
    assert np.abs(stats - batch["batch_stats"]).max() > 1e-2


def test_evaluation_normalises_by_the_running_averages_and_leaves_them():
    made = objective()
    w, alphas, batch = problem(made)
    p = {name: jax.nn.softmax(a) for name, a in alphas.items()}
    logits, _ = jax.jit(partial(directly, made, train=False, values={}))(w, p, batch)
    loss, aux = jax.jit(partial(made.network_loss, train=False))(w, p, batch)
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"]).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_array_equal(aux["batch_stats"], batch["batch_stats"])
    correct = np.argmax(logits, -1) == batch["labels"]
    assert float(jax.jit(made.score)(w, p, batch)) == np.mean(correct)


def test_a_candidate_is_scored_without_drop_path():
    plain, dropping = objective(), objective(DROPPING)
    w, alphas, batch = problem(plain, step=6)
    p = {name: jax.nn.softmax(a) for name, a in alphas.items()}
    scores = [float(jax.jit(partial(one.score, train=True))(w, p, batch)) for one in (plain, dropping)]
    assert scores[0] == scores[1]


def test_op_weights_of_the_weight_step_carry_no_gradient_to_the_alphas():
    method = dataclasses.replace(
        darts(), relax_weights=lambda alphas, key, clock, space: {n: jax.nn.softmax(3 * a) for n, a in alphas.items()}
    )
    made = objective(method)
    w, alphas, batch = problem(made)
    (value, _), (by_w, by_alphas) = jax.jit(jax.value_and_grad(made.weight_loss, argnums=(0, 1), has_aux=True))(
        w, alphas, batch
    )
    p = {name: jax.nn.softmax(3 * a) for name, a in alphas.items()}
    (expected, _), wanted = jax.jit(jax.value_and_grad(made.network_loss, has_aux=True))(w, p, batch)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(by_w, wanted, rtol=1e-10, atol=1e-14)
    assert all(not np.any(g) for g in by_alphas.values())


def test_bfloat16_computes_the_network_coarsely_and_the_loss_in_the_type_of_the_weights():
    made = objective()
    w, alphas, batch = problem(made)
    coarse = dataclasses.replace(made, bfloat16=True)
    (exact, _), (rounded, aux) = jax.jit(made.loss)(w, alphas, batch), jax.jit(coarse.loss)(w, alphas, batch)
    assert rounded.dtype == aux["batch_stats"].dtype == w.dtype
    assert 1e-6 < abs(float(rounded - exact)) < 0.1


def test_vectors_and_trees_are_inverse():
    supernet = objective().supernet
    w = jnp.arange(supernet.params.size, dtype=jnp.float64)
    running = -jnp.arange(supernet.stats.size, dtype=jnp.float64)
    for vector, back in zip((w, running), supernet.vectors(supernet.tree(w, running)), strict=True):
        np.testing.assert_array_equal(vector, back)
