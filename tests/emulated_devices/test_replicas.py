"""Replicas: shared and separate draws, and refusals."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from support.device_problems import (
    CONFIG,
    METHOD,
    config_with,
    gumbel,
    largest_difference,
    member,
    placed,
    prepared,
    run,
)

from jdarts import kernels
from jdarts.config import DevicesConfig
from jdarts.devices.placement import check_replicas, gather_rows, place, split_members
from jdarts.devices.replicas import averaging_gradients, pmean
from jdarts.errors import ReplicasDiffer, UserError
from jdarts.runs.checkpoint import Checkpoints
from jdarts.runs.loop import _layout

FIRST = config_with(hypergradient="first_order")


@pytest.fixture(scope="module")
def eight():
    """`(search, init, step)` and the state after 20 steps."""
    placement = placed(FIRST, backend="shard_map")
    search, init, step = prepared(FIRST, placement)
    state = init(split_members(np.int32(0), placement), {})
    for _ in range(20):
        state = step(state)
    return placement, search, init, step, state


def test_twenty_steps_leave_all_replicas_equal_bit_for_bit(eight):
    state = eight[-1]
    check_replicas(state)
    for leaf in jax.tree.leaves(state):
        leaf = jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        copies = {np.asarray(shard.data).tobytes() for shard in leaf.addressable_shards}
        assert len(leaf.addressable_shards) == 8 and len(copies) == 1


def test_replicas_draw_the_rows_of_one_device(eight):
    placement, search, _, _, state = eight
    one, _, _ = prepared(FIRST, placed(FIRST, backend="jit"))
    state = jax.device_get(state)

    def draw(state, arrays):
        train, val = search.draw(state, arrays)
        return [(batch["images"], batch["labels"], batch["relax_key"][None]) for batch in (train, val)]

    many = jax.jit(jax.shard_map(draw, mesh=placement.mesh, in_specs=P(), out_specs=P("data")))(state, search.arrays)
    train, val = jax.jit(one.draw)(state, one.arrays)
    for (images, labels, keys), batch in zip(many, (train, val), strict=True):
        np.testing.assert_allclose(images, batch["images"], rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(labels, batch["labels"])
        assert len({jax.random.key_data(key).tobytes() for key in keys}) == 1, "alphas are sampled equally everywhere"
        shifts = {image.tobytes() for image in np.asarray(images)}
        assert len(shifts) == len(images), "images are augmented one by one"


def drifting(alphas, key, clock, space):
    """Sample alphas with a different key on each replica, which is wrong."""
    try:
        replica = jax.lax.axis_index("data")
    except NameError:  # shapes are evaluated outside the axis
        replica = 0
    return gumbel(alphas, jax.random.fold_in(key, replica), clock, space)


WRONG = dataclasses.replace(METHOD, relax=drifting)


def test_a_step_that_drifts_is_refused_by_its_types():
    with pytest.raises(UserError, match="op weights differ between the replicas of axis 'data'"):
        run(FIRST, steps=1, method=WRONG, backend="shard_map")


def test_a_step_that_drifts_unchecked_is_caught():
    # `pmap` checks no types. It averages op weights, so a replica's own draw must enter the alphas to do harm.
    state = run(FIRST, steps=1, method=dataclasses.replace(METHOD, post_update=_noisy_update), backend="pmap")
    assert state.step.is_fully_replicated, "the arrays claim to be equal"
    with pytest.raises(ReplicasDiffer, match=r"alphas.* differs between devices 0 and 1"):
        check_replicas(state)


def _noisy_update(old, new, key, clock, space):
    del old
    own = drifting(new, key, clock, space)
    return jax.tree.map(lambda a, b: a + 1e-3 * b, new, own)


def test_a_checkpoint_goes_on_with_other_devices(eight, tmp_path):
    _, _, _, step, state = eight
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(20, state)
    other = placed(FIRST, backend="jit")
    _, init, one_step = prepared(FIRST, other)
    like = jax.eval_shape(init, jax.ShapeDtypeStruct((), np.int32), {})
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore_latest(like).state
    assert largest_difference(state, restored) == 0
    assert largest_difference(one_step(restored), step(state)) < 1e-9


def test_a_stacked_checkpoint_goes_from_eight_devices_to_one_and_to_two_by_two(tmp_path):
    seeds = (3, 4)

    def build(**devices):
        placement = placed(FIRST, seeds, **devices)
        _, init, step = prepared(FIRST, placement)
        return init(split_members(np.array(seeds, np.int32), placement), {}), step

    state, step = build(backend="shard_map", seed=2, data=4)
    state = step(state)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
    after = step(jax.tree.map(lambda x: x, state))
    for devices in ({"backend": "jit"}, {"backend": "shard_map", "seed": 2, "data": 2}):
        like, other_step = build(**devices)
        with Checkpoints(tmp_path) as checkpoints:
            restored = checkpoints.restore_latest(_layout(like)).state
        assert len(restored.step.sharding.device_set) == len(like.step.sharding.device_set)
        assert largest_difference(other_step(restored), after) < 1e-9
    assert largest_difference(member(after, 0), member(after, 1)) > 1e-2


@pytest.mark.parametrize(
    ("devices", "batch", "members", "message"),
    [
        ({"data": 16}, 16, 0, "16 replicas, but there are 8 devices"),
        ({}, 12, 0, "batch_size is 12, which 8 data replicas cannot share equally; use a multiple of 8"),
        ({"data": 4, "seed": 2}, 16, 3, "seed is 2, which cannot share 3"),
        ({"backend": "pmap", "seed": 2}, 16, 2, "'pmap' with devices.seed 2"),
        ({"backend": "jit", "data": 2}, 16, 0, "'jit', which runs on one device"),
    ],
)
def test_impossible_placements_are_one_line(devices, batch, members, message):
    with pytest.raises(UserError) as caught:
        place(DevicesConfig(**devices), batch_size=batch, members=members)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_unequal_shares_of_a_streamed_batch_are_refused():
    placement = placed(CONFIG, backend="shard_map")
    with pytest.raises(UserError, match="loaded 1 × 12 rows of labels; a batch of 16"):
        gather_rows({"labels": np.zeros((1, 12), np.int32)}, placement, batch_size=16)


def _network(kernels_of_seed, images, impl: str, pool):
    """Both strides, both dilations, a pooling in between: `[N, 16, 18, 2]` → one number an image."""
    first, second = kernels_of_seed
    x = jnp.tanh(pool(kernels.depthwise(images, first, dilation=2, impl=impl), impl=impl))
    return jnp.sum(jnp.sin(kernels.depthwise(x, second, stride=2, impl=impl)), (1, 2, 3))


def _products(kernels_of_seed, images, directions, axis: str | None, **how):
    """Loss, its gradients by kernels and images, and the product of the Hessian by the kernels with `directions`."""

    def loss(kernels_of_seed, images):
        kernels_of_seed = averaging_gradients(kernels_of_seed, axis)
        return pmean(jnp.mean(_network(kernels_of_seed, images, **how)), axis)

    grad = jax.grad(loss)
    product = jax.jvp(lambda k: grad(k, images), (kernels_of_seed,), (directions,))[1]
    of_images = jax.grad(loss, 1)(kernels_of_seed, images)
    return (loss(kernels_of_seed, images), grad(kernels_of_seed, images), product), of_images


@pytest.mark.parametrize("pool", ["max_pool", "avg_pool"])
def test_shifted_kernels_on_a_mesh_of_seeds_and_data_are_the_plain_convolutions(pool):
    """Four seeds, two a device by vmap, over two groups of four devices that share eight images of 16 × 18 pixels."""
    assert kernels.resolve("auto") == "shift"
    random = np.random.default_rng(0)
    images = random.standard_normal((8, 16, 18, 2))
    weights, directions = [
        (random.standard_normal((4, 5, 5, 2)), random.standard_normal((4, 3, 3, 2))) for _ in range(2)
    ]
    mesh = placed(FIRST, (0, 1, 2, 3), backend="shard_map", seed=2, data=4).mesh
    how = {"impl": "auto", "pool": getattr(kernels, pool)}

    def of_seeds(weights, images, directions):
        images = jax.lax.pcast(images, "seed", to="varying")  # otherwise their gradient is summed over groups of seeds
        return jax.vmap(lambda w, d: _products(w, images, d, "data", **how))(weights, directions)

    together = jax.jit(
        jax.shard_map(
            of_seeds,
            mesh=mesh,
            in_specs=(P("seed"), P("data"), P("seed")),
            out_specs=(P("seed"), P("seed", "data")),
        )
    )(weights, images, directions)

    plain = {"impl": "conv", "pool": kernels.avg_pool if pool == "avg_pool" else _largest}
    alone = jax.jit(lambda w, d: _products(w, images, d, None, **plain))
    for seed in range(4):
        expected = alone(*jax.tree.map(lambda a, s=seed: a[s], (weights, directions)))
        jax.tree.map(
            lambda a, b, s=seed: np.testing.assert_allclose(a[s], b, rtol=1e-9, atol=1e-11), together, expected
        )


def _largest(x, impl):
    """3 × 3 max pooling by gathering; XLA's window maximum has no second derivative."""
    del impl
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    return jnp.max(jnp.stack([padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]), axis=0)
