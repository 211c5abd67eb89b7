"""Epoch order and random batches, against sequential numpy and exact frequencies."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdarts.data import batch_indices, epoch_permutation, random_batch, steps_per_epoch
from jdarts.data.batching import draw_swaps, partial_shuffle
from jdarts.errors import UserError

jit_draw_swaps = jax.jit(draw_swaps, static_argnums=(1, 2))
jit_partial_shuffle = jax.jit(partial_shuffle)


def sequential_shuffle(swaps) -> list[int]:
    """The textbook Fisher-Yates shuffle, one swap after the other."""
    places = list(range(max(max(swaps), len(swaps)) + 1))
    for i, j in enumerate(swaps):
        places[i], places[j] = places[j], places[i]
    return places[: len(swaps)]


def test_an_epoch_uses_every_image_at_most_once():
    permutation = epoch_permutation(jax.random.key(0), 103)
    assert sorted(np.asarray(permutation)) == list(range(103))
    assert steps_per_epoch(103, 10) == 10
    rows = jnp.concatenate([batch_indices(permutation, step, 10) for step in range(10)])
    np.testing.assert_array_equal(rows, permutation[:100])


def test_step_counts_on_into_the_next_epoch_and_may_be_traced():
    permutation = epoch_permutation(jax.random.key(0), 103)
    traced = jax.jit(batch_indices, static_argnums=2)
    for step in (0, 9, 10, 27):
        np.testing.assert_array_equal(traced(permutation, step, 10), batch_indices(permutation, step % 10, 10))


def test_epochs_differ_by_key():
    first, again, other = (np.asarray(epoch_permutation(jax.random.key(k), 50)) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31 - 1), st.sampled_from([(1, 1), (5, 5), (9, 4), (70, 64), (25_000, 64)]))
def test_partial_shuffle_equals_the_sequential_one(seed, sizes):
    n, batch = sizes
    swaps = np.asarray(jit_draw_swaps(jax.random.key(seed), n, batch))
    assert (swaps >= np.arange(batch)).all() and (swaps < n).all()
    assert np.asarray(jit_partial_shuffle(swaps)).tolist() == sequential_shuffle(swaps)


def test_partial_shuffle_over_every_possible_draw_gives_every_order_once():
    draws = np.array(list(itertools.product(range(5), range(1, 5), range(2, 5))), np.int32)
    batches = np.asarray(jax.vmap(partial_shuffle)(jnp.asarray(draws)))
    assert {tuple(b) for b in batches.tolist()} == set(itertools.permutations(range(5), 3))
    assert len(batches) == math.perm(5, 3)


@pytest.mark.parametrize("n,batch", [(1, 1), (100, 64), (25_000, 64), (5_000, 1_024)])
def test_random_batch_has_no_repeats(n, batch):
    draw = jax.jit(random_batch, static_argnums=(1, 2))
    for seed in range(5):
        rows = np.asarray(draw(jax.random.key(seed), n, batch))
        assert rows.dtype == np.int32 and rows.shape == (batch,)
        assert len(set(rows.tolist())) == batch and rows.min() >= 0 and rows.max() < n


def test_random_batch_is_the_same_without_jit():
    compiled = jax.jit(random_batch, static_argnums=(1, 2))(jax.random.key(4), 1000, 16)
    np.testing.assert_array_equal(compiled, random_batch(jax.random.key(4), 1000, 16))


def test_random_batch_is_uniform_over_ordered_pairs():
    keys = jax.random.split(jax.random.key(7), 12_000)
    rows = np.asarray(jax.jit(jax.vmap(lambda key: random_batch(key, 5, 2)))(keys))
    counts = np.bincount(rows[:, 0] * 5 + rows[:, 1], minlength=25).reshape(5, 5)
    assert np.trace(counts) == 0
    off_diagonal = counts[~np.eye(5, dtype=bool)]
    assert ((off_diagonal - 600) ** 2 / 600).sum() < 52  # chi-squared, 19 degrees of freedom: 99.99 % is 50.8


def test_random_batch_reaches_the_whole_range():
    keys = jax.random.split(jax.random.key(1), 200)
    rows = np.asarray(jax.jit(jax.vmap(lambda key: random_batch(key, 25_000, 64)))(keys)).ravel()
    counts = np.histogram(rows, bins=10, range=(0, 25_000))[0]
    assert np.abs(counts - 1280).max() < 5 * np.sqrt(1280)


@pytest.mark.parametrize("n,batch", [(10, 11), (10, 0), (0, 1)])
def test_impossible_batch_sizes_are_refused(n, batch):
    with pytest.raises(UserError, match=f"batch size is {batch} with {n} images"):
        random_batch(jax.random.key(0), n, batch)
    with pytest.raises(UserError, match=f"batch size is {batch} with {n} images"):
        batch_indices(jnp.arange(n), 0, batch)
