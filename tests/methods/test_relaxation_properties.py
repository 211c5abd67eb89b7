"""Relaxations and regularisers in float64: rows, gauge, gradients, against formulas written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdarts import methods, relaxation, spaces
from jdarts.methods.beta_darts import mean_logsumexp
from jdarts.methods.drnas import divergence
from jdarts.methods.drop_nas import adjust, draw_mask
from jdarts.methods.fair_darts import zero_one
from jdarts.methods.smooth_darts import project, uniform
from jdarts.schedules import Clock

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(7)


def alphas(seed: int = 0, scale: float = 1.5):
    rng = np.random.default_rng(seed)
    return {"normal": jnp.asarray(scale * rng.normal(size=(5, 4))), "reduce": jnp.asarray(rng.normal(size=(5, 4)))}


RELAXATIONS = {
    "softmax": lambda a: relaxation.softmax(a),
    "masked": lambda a: relaxation.masked_softmax(a, {c: jnp.ones_like(x).at[:, 1].set(0) for c, x in a.items()}),
    "gumbel": lambda a: relaxation.gumbel_softmax(a, KEY, 0.7),
    "gumbel hard": lambda a: relaxation.gumbel_softmax(a, KEY, 0.7, straight_through=True),
    "dirichlet": lambda a: relaxation.dirichlet(a, KEY),
    "one-hot": lambda a: relaxation.uniform_one_hot(a, KEY),
}


@pytest.mark.parametrize("name", RELAXATIONS)
def test_rows_are_distributions(name):
    for p in RELAXATIONS[name](alphas()).values():
        np.testing.assert_allclose(np.sum(p, -1), 1, rtol=1e-12)
        assert np.all(np.asarray(p) >= 0)
        if name in ("gumbel hard", "one-hot"):
            assert set(np.unique(np.round(np.asarray(p), 12))) == {0.0, 1.0}


@settings(max_examples=25, deadline=None)
@given(shift=st.lists(st.floats(-30, 30), min_size=5, max_size=5))
def test_a_shift_of_a_row_changes_nothing(shift):
    with jax.enable_x64(True):
        moved = {c: a + jnp.asarray(shift)[:, None] for c, a in alphas().items()}
        for name in ("softmax", "masked", "gumbel"):
            for c, p in RELAXATIONS[name](alphas()).items():
                np.testing.assert_allclose(RELAXATIONS[name](moved)[c], p, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "masked", "gumbel", "sigmoid"])
def test_gradients_equal_central_differences(name):
    relax = RELAXATIONS.get(name, relaxation.sigmoid)
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(5, 4)))

    def objective(a):
        return jnp.sum(weights * relax({"normal": a})["normal"] ** 2)

    a = alphas()["normal"]
    direction = jnp.asarray(np.random.default_rng(4).normal(size=a.shape))
    slope = jnp.vdot(jax.grad(objective)(a), direction)
    numeric = (objective(a + 1e-6 * direction) - objective(a - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(slope, numeric, rtol=1e-6)


def test_straight_through_has_the_value_of_the_choice_and_the_gradient_of_the_soft_row():
    weights = jnp.arange(20.0).reshape(5, 4)

    def total(straight_through):
        return jax.grad(
            lambda a: jnp.sum(
                weights * relaxation.gumbel_softmax({"n": a}, KEY, 0.7, straight_through=straight_through)["n"]
            )
        )(alphas()["normal"])

    np.testing.assert_allclose(total(True), total(False), rtol=1e-12)
    soft = relaxation.gumbel_softmax({"n": alphas()["normal"]}, KEY, 0.7)["n"]
    hard = relaxation.gumbel_softmax({"n": alphas()["normal"]}, KEY, 0.7, straight_through=True)["n"]
    assert np.array_equal(np.argmax(soft, -1), np.argmax(hard, -1))


def test_gumbel_choices_follow_the_softmax():
    a = {"n": jnp.asarray([[0.0, 1.0, 2.0]])}
    choices = jax.vmap(lambda k: jnp.argmax(relaxation.gumbel_softmax(a, k, 3.0)["n"][0]))(jax.random.split(KEY, 4000))
    shares = np.bincount(np.asarray(choices), minlength=3) / 4000
    np.testing.assert_allclose(shares, np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum(), atol=0.03)


def test_dirichlet_has_the_mean_of_its_concentration():
    a = {"n": jnp.asarray([[0.0, 1.0, -1.0]])}
    mean = np.mean(jax.vmap(lambda k: relaxation.dirichlet(a, k)["n"][0])(jax.random.split(KEY, 4000)), axis=0)
    concentration = np.where(np.array([0, 1, -1]) > 0, [0, 1, -1], np.expm1([0, 1, -1])) + 1
    np.testing.assert_allclose(mean, concentration / concentration.sum(), atol=0.02)


def test_node_softmax_sums_to_one_at_every_node():
    targets = [t for _, t in spaces.darts_cnn.edges]
    values = jnp.asarray(np.random.default_rng(0).normal(size=14))
    q = np.asarray(relaxation.node_softmax(values, targets))
    for target in set(targets):
        rows = [i for i, t in enumerate(targets) if t == target]
        np.testing.assert_allclose(q[rows], np.exp(values)[rows] / np.exp(values)[rows].sum(), rtol=1e-12)


def test_zero_one_loss_of_fair_darts():
    a = alphas()
    p = 1 / (1 + np.exp(-np.concatenate([np.ravel(x) for x in a.values()])))
    np.testing.assert_allclose(zero_one(a), -np.mean((p - 0.5) ** 2), rtol=1e-12)
    np.testing.assert_allclose(zero_one(a, "absolute"), -np.mean(np.abs(p - 0.5)), rtol=1e-12)


def test_regulariser_of_beta_darts_and_its_gradient():
    a = alphas()
    rows = np.concatenate([np.asarray(x) for x in a.values()])
    np.testing.assert_allclose(mean_logsumexp(a), np.mean(np.log(np.exp(rows).sum(-1))), rtol=1e-12)
    method = methods.beta_darts(weight=50.0)
    grads = jax.grad(lambda x: method.regularizer(x, KEY, Clock(jnp.asarray(30.0), 100), None))(a)
    softmax = np.exp(rows[:5]) / np.exp(rows[:5]).sum(-1, keepdims=True)
    np.testing.assert_allclose(grads["normal"], 15.0 * softmax / 10, rtol=1e-12)


def test_divergence_of_drnas_by_sampling():
    a = {"n": jnp.asarray([[0.3, 1.0, -0.5], [0.0, 0.0, 0.0]])}
    c = np.where(np.asarray(a["n"]) > 0, np.asarray(a["n"]), np.expm1(np.asarray(a["n"]))) + 1
    rng = np.random.default_rng(0)
    estimates = []
    from math import lgamma

    for row in c:
        x = rng.dirichlet(row, size=200_000)
        log_p = lgamma(row.sum()) - sum(map(lgamma, row)) + np.sum((row - 1) * np.log(x), -1)
        estimates.append(np.mean(log_p) - lgamma(3))
    np.testing.assert_allclose(divergence(a), np.mean(estimates), atol=5e-3)
    assert abs(estimates[1]) < 1e-9  # Dirichlet(1) is the prior itself


def test_drop_nas_keeps_one_of_each_group_and_its_mass():
    space = spaces.darts_cnn
    a = space.init_alphas(KEY, 1.0)
    seen = []
    for seed in range(40):
        keep = draw_mask(a, jax.random.key(seed), space, 0.3)
        for cell_type, k in keep.items():
            groups = np.array([["conv" in op for op in ops] for ops in space.tables[cell_type]])
            assert np.all((np.asarray(k) * groups).sum(-1) >= 1) and np.all((np.asarray(k) * ~groups).sum(-1) >= 1)
            seen.append(1 - np.asarray(k).mean())
    # each op is dropped with 0.3^(1/4) = 0.74, less the groups that are drawn again
    assert 0.55 < np.mean(seen) < 0.74
    new = jax.tree.map(lambda x: x + 0.1 * jnp.sin(7 * x), a)
    keep = draw_mask(a, KEY, space, 0.3)
    for cell_type, b in adjust(a, new, keep).items():
        k, old = np.asarray(keep[cell_type]), np.asarray(a[cell_type])
        np.testing.assert_allclose((np.exp(b) * k).sum(-1), (np.exp(old) * k).sum(-1), rtol=1e-9)
        assert np.array_equal(np.asarray(b)[k == 0], old[k == 0])


def test_projection_of_sdarts_gives_distributions_near_the_original():
    p = relaxation.softmax(alphas())
    q = project(uniform(p, KEY, 0.3))
    for c in p:
        np.testing.assert_allclose(np.sum(q[c], -1), 1, rtol=1e-12)
        assert np.all((np.asarray(q[c]) >= 0) & (np.asarray(q[c]) <= 1))


def test_projection_of_sdarts_by_hand():
    """Row by row as the authors' `clip` does it; a row below zero keeps the largest entry of the perturbed row."""
    q = jnp.asarray([[0.5, 1.5, -0.2], [-0.1, -0.3, -0.05], [-0.2, -0.1, -0.1], [0.0, -0.4, -0.1], [0.3, 0.1, 0.1]])
    expected = [[1 / 3, 2 / 3, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [0.6, 0.2, 0.2]]
    np.testing.assert_allclose(project({"normal": q})["normal"], expected, rtol=1e-6)


@pytest.mark.parametrize("resource", ["parameters", "flops", "memory"])
def test_resource_cost_of_snas_is_the_expectation_over_all_cells(resource):
    """ln Σ p·c with costs written out by hand: sep_conv_3x3 and skip_connect on S2, five cells, 8 × 8 images."""
    space, key = spaces.robust_s2, jax.random.key(0)
    options = ("channels=4", "cells=5", "size=8", "estimate=expectation")
    method = methods.build("snas", (f"resource={resource}", *options))
    alphas = {
        c: jax.random.normal(k, (14, 2), jnp.float64)
        for c, k in zip(("normal", "reduce"), jax.random.split(key), strict=True)
    }
    total = 0.0
    # reduction cells are 5 // 3 = 1 and 10 // 3 = 3; channels double there, and the image halves
    for cell, c, side in (("normal", 4, 8), ("reduce", 8, 8), ("normal", 8, 4), ("reduce", 16, 4), ("normal", 16, 2)):
        p = np.exp(alphas[cell]) / np.exp(alphas[cell]).sum(-1, keepdims=True)
        for row, (source, _) in enumerate(space.edges):
            strided = cell == "reduce" and source < 2
            out = side // 2 if cell == "reduce" else side
            read = 2 * out if strided else out
            weights = c * c if strided else 0
            skip = {"parameters": weights + 2 * c * strided, "flops": weights * out**2}
            sep = {"parameters": 2 * (9 * c + c * c + 2 * c), "flops": 2 * (9 * c + c * c) * out**2}
            for cost in (skip, sep):
                cost["memory"] = c * (read**2 + out**2) + cost["parameters"]
            total += p[row, 0] * skip[resource] + p[row, 1] * sep[resource]
    penalty = method.regularizer(alphas, key, None, space)
    np.testing.assert_allclose(penalty, 1.5e-3 * np.log(total), rtol=1e-12)


def test_sampled_resource_cost_of_snas_is_that_of_the_step_and_pulls_at_the_alphas():
    space, clock, key = spaces.robust_s2, Clock(jnp.float32(0), 10), jax.random.key(5)
    options = ("resource=parameters", "resource_weight=1.0", "channels=4", "cells=1", "size=8")
    method = methods.build("snas", options)
    alphas = space.init_alphas(jax.random.key(0))
    z = method.op_weights(space, alphas, key, clock)["reduce"]  # the only cell is a reduction cell, of 8 channels
    skip = np.array([64 + 16 if source < 2 else 0 for source, _ in space.edges])
    expected = np.log(np.sum(z[:, 0] * skip + z[:, 1] * 2 * (72 + 64 + 16)))
    np.testing.assert_allclose(method.penalty(space, alphas, key, clock), expected, rtol=1e-5)
    gradient = jax.grad(lambda a: method.penalty(space, a, key, clock))(alphas)["reduce"]
    assert np.all(gradient[:, 1] > 0) and np.all(gradient[:, 0] < 0)  # convolutions down, skips up
