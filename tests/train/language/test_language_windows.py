"""Lengths and positions of the windows of text."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.data.text import columns
from jdarts.train.language.windows import Windows, draw_length, mean_length, window

DRAWS = 40_000


@pytest.mark.parametrize("bptt", [35, 9])
def test_lengths_are_distributed_as_numpy_draws_them(bptt):
    rng = np.random.default_rng(0)
    base = np.where(rng.random(10 * DRAWS) < 0.95, bptt, bptt / 2)
    wanted = np.minimum(np.maximum(5, rng.normal(base, 5).astype(int)), bptt + 20)
    drawn = np.asarray(jax.vmap(lambda key: draw_length(key, bptt))(jax.random.split(jax.random.key(1), DRAWS)))
    share = np.bincount(wanted, minlength=bptt + 21) / len(wanted)
    found = np.bincount(drawn, minlength=bptt + 21) / DRAWS
    assert found.shape == share.shape
    assert np.all(np.abs(found - share) < 5 * np.sqrt(share / DRAWS) + 5 / DRAWS)
    assert mean_length(bptt) == pytest.approx(wanted.mean(), abs=0.05)


def test_the_windows_of_an_epoch_follow_each_other_and_start_anew_behind_the_last_word():
    windows = Windows(bptt=10, words=41)
    text = np.arange(3 * 41 + 2)
    padded = windows.padded(text, 3)
    np.testing.assert_array_equal(padded[:41, 1], np.arange(41, 82))
    start, read = jnp.int32(0), []
    for key in jax.random.split(jax.random.key(2), 50):
        length = windows.length(key, start)
        size = windows.sizes[int(jnp.searchsorted(jnp.asarray(windows.sizes), length))]
        tokens, targets = window(padded, start, size)
        np.testing.assert_array_equal(targets[: int(length)], tokens[: int(length)] + 1)
        read += np.asarray(tokens[: int(length), 0]).tolist()
        start = windows.after(start, length)
        if start == 0:
            break
    assert read == list(range(40)), "every word but the last is read once, and the last is only a target"


def test_windows_are_computed_at_few_sizes_that_hold_every_length():
    assert Windows(bptt=35, words=14_000).sizes == (30, 35, 40, 45, 55)
    assert Windows(bptt=6, words=9).sizes == (1, 6, 8)
    assert Windows(bptt=35, words=14_525).steps_per_epoch == math.ceil(14_524 / (0.95 * 34.5 + 0.05 * 17))


def test_columns_read_down_and_drop_the_remainder():
    np.testing.assert_array_equal(columns(np.arange(8), 3), [[0, 2, 4], [1, 3, 5]])
