"""jit, vmap, pieces, micro-batches and devices: every estimator gives the same gradient under all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.hypergrad_problems import CHAINS, error, mlp_loss, mlp_problem, objective

from jdarts import hypergrad, staging

OPTIMIZER = CHAINS["darts"]()
BUILDERS = {
    "first_order": hypergrad.first_order,
    "single_level": hypergrad.single_level,
    "unrolled": hypergrad.unrolled,
    "two_steps": lambda *a, **k: hypergrad.unrolled(*a, steps=2, **k),
    "two_steps_forward": lambda *a, **k: hypergrad.unrolled(*a, steps=2, mode=hypergrad.Forward(), **k),
    "finite_difference": hypergrad.finite_difference,
    "neumann": hypergrad.neumann,
    "conjugate_gradient": lambda *a, **k: hypergrad.conjugate_gradient(*a, iterations=2, damping=1.0, **k),
    "amended": hypergrad.amended,
}


def arguments(name, seed=0):
    w, alphas, make = mlp_problem(seed)
    train_batch = hypergrad.stack_batches([make(0), make(1)]) if name.startswith("two_steps") else make(0)
    return w, alphas, OPTIMIZER.init(w), train_batch, make(9)


def stack(*trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


@pytest.mark.parametrize("name", BUILDERS)
def test_jit_vmap_pieces_and_microbatches(name, x64):
    build = BUILDERS[name]
    estimator = build(mlp_loss, mlp_loss, OPTIMIZER)
    inputs = arguments(name)
    grads, aux = jax.jit(estimator)(*inputs)

    marked = staging.piece(mlp_loss)
    in_pieces = staging.compile(build(marked, marked, OPTIMIZER), *inputs)
    assert in_pieces.programs >= 2
    assert error(in_pieces(*inputs)[0], grads) < 1e-11

    split, split_aux = jax.jit(build(mlp_loss, mlp_loss, OPTIMIZER, microbatches=4))(*inputs)
    assert error(split, grads) < 1e-11
    np.testing.assert_allclose(split_aux.val_loss, aux.val_loss, rtol=1e-12)
    np.testing.assert_allclose(split_aux.val_aux["mean"], aux.val_aux["mean"], rtol=1e-11)

    seeds = [inputs, arguments(name, seed=1)]
    batched, _ = jax.jit(jax.vmap(estimator))(*stack(*seeds))
    for i, one in enumerate((grads, jax.jit(estimator)(*seeds[1])[0])):
        assert error(jax.tree.map(lambda leaf, i=i: leaf[i], batched), one) < 1e-11


def test_single_level_returns_both_gradients(x64):
    w, alphas, state, train_batch, val_batch = arguments("single_level")
    grads, aux = hypergrad.single_level(mlp_loss)(w, alphas, state, train_batch, val_batch)
    value, (by_w, by_alphas) = jax.value_and_grad(lambda w, a: mlp_loss(w, a, train_batch)[0], (0, 1))(w, alphas)
    assert error(grads, by_alphas) < 1e-14 and error(aux.weight_grads, by_w) < 1e-14
    assert aux.train_loss == aux.val_loss
    np.testing.assert_allclose(aux.train_loss, value)


def test_parts_of_a_batch_have_keys_of_their_own_and_share_statistics():
    def loss(w, alphas, batch):
        noise = jax.random.normal(batch["key"], ())
        assert batch["batch_stats"].shape == (6,) and batch["x"].shape == (2,) and batch["t"].shape == ()
        return jnp.mean(batch["x"]) * w[0] * alphas[0], {"noise": noise, "last": jnp.int32(batch["x"][0])}

    key = jax.random.key(3)
    batch = {"x": jnp.arange(6.0), "key": key, "batch_stats": jnp.ones(6), "t": jnp.float32(1)}
    (value, aux), _ = hypergrad.gradients(loss, 3)(jnp.ones(1), jnp.ones(1), batch)
    noises = [jax.random.normal(jax.random.fold_in(key, i), ()) for i in range(3)]
    np.testing.assert_allclose(value, 2.5, rtol=1e-6)
    np.testing.assert_allclose(aux["noise"], np.mean(noises), rtol=1e-5)
    assert aux["last"] == 4
    plain, _ = hypergrad.gradients(lambda w, a, b: (jnp.mean(b[0]) * w[0], None), 2)(
        jnp.ones(1), jnp.ones(1), (jnp.arange(6.0), jnp.arange(6))
    )
    np.testing.assert_allclose(plain[0], 2.5)


@settings(max_examples=5, derandomize=True, deadline=None)
@given(
    seed=st.integers(0, 1000),
    sizes=st.lists(st.integers(1, 6), min_size=3, max_size=4),
    n=st.integers(1, 5),
    chain=st.sampled_from(sorted(CHAINS)),
)
def test_any_shape_chain_and_seed_is_exact(seed, sizes, n, chain):
    with jax.enable_x64(True):
        w, alphas, make = mlp_problem(seed, n=n, sizes=sizes)
        optimizer = CHAINS[chain]()
        state = optimizer.init(w)
        grads, _ = jax.jit(hypergrad.unrolled(mlp_loss, mlp_loss, optimizer))(w, alphas, state, make(0), make(1))
        hyper = objective(mlp_loss, mlp_loss, optimizer, w, state, [make(0)], make(1))
        expected = jax.jit(jax.grad(hyper))(alphas)
        assert error(grads, expected) < 1e-11
