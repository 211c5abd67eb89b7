"""The batches of a search step, drawn alone: which rows, with which keys, on how many replicas, and ahead of time."""

import dataclasses
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.config import DataConfig
from jdarts.data import Augmentation, batch_indices, epoch_permutation, load, random_batch
from jdarts.devices.replicas import Share
from jdarts.methods import darts
from jdarts.schedules import clock_at
from jdarts.search.batches import batches_for
from jdarts.search.state import SearchState

SETTINGS = DataConfig(source="synthetic:6x6x2:4:40", crop_padding=1, flip=True, search_cutout=2)
DATA = load(SETTINGS).for_search(SETTINGS)
SIZE, PER_EPOCH = 4, 5
ARRAYS = {
    f"{name}_{what}": jnp.asarray(getattr(getattr(DATA, name), what))
    for name in ("train", "val")
    for what in ("images", "labels")
}
NUMBERED = {**ARRAYS, "train_labels": jnp.arange(20), "val_labels": jnp.arange(20) + 100}
"""Labels that tell which image they belong to."""
METHODS = {
    "darts": darts(),
    "train": dataclasses.replace(darts(), alpha_data="train"),
    "random cutout": dataclasses.replace(darts(), cutout_probability=lambda clock: jnp.float32(0.5)),
}


def batches(method="darts", share: Share | None = None):
    clock = partial(clock_at, steps_per_epoch=PER_EPOCH, epochs=2)
    options: Any = {"size": SIZE, "steps_per_epoch": PER_EPOCH, "clock": clock}
    return batches_for(SETTINGS, DATA, METHODS[method], share or Share(), **options)


@cache
def drawer(method="darts"):
    """`draw` of one replica, compiled once for all tests."""
    return jax.jit(batches(method).draw)


def state_at(step: int) -> SearchState:
    known = {
        "step": jnp.int32(step),
        "batch_stats": jnp.zeros(3),
        "carried": {"train": (), "val": ()},
        "key": jax.random.key(7),
    }
    unread: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(SearchState))
    return SearchState(**unread | known)


def keys_at(step: int):
    order_key, step_key = jax.random.split(jax.random.key(7))
    return order_key, jax.random.split(jax.random.fold_in(step_key, step), 5)


@pytest.mark.parametrize("step", [0, 3, 6])
def test_rows_images_and_keys_are_those_of_the_step(step):
    train, alpha = drawer()(state_at(step), NUMBERED)
    order_key, keys = keys_at(step)
    order = epoch_permutation(jax.random.fold_in(order_key, step // PER_EPOCH), 20)
    rows = np.asarray(batch_indices(order, step, SIZE))
    np.testing.assert_array_equal(train["labels"], rows)
    np.testing.assert_array_equal(alpha["labels"], 100 + random_batch(keys[0], 20, SIZE))
    options = {"mean": DATA.mean, "std": DATA.std, "crop_padding": 1, "flip": True, "cutout": 2}
    direct = jax.jit(Augmentation(**options))(keys[1], ARRAYS["train_images"][rows])
    np.testing.assert_array_equal(train["images"], direct)
    for batch, key in ((train, keys[2]), (alpha, keys[4])):
        assert batch["key"] == key and batch["relax_key"] == jax.random.fold_in(key, 0)
        assert int(batch["step"]) == step


def test_a_method_may_take_the_alphas_batch_from_the_training_images():
    train, alpha = drawer("train")(state_at(1), NUMBERED)
    assert (np.asarray(alpha["labels"]) < 20).all() and not np.array_equal(train["labels"], alpha["labels"])


@pytest.mark.parametrize("method", ["darts", "random cutout"])
def test_two_replicas_draw_the_halves_of_one_batch(method):
    whole = drawer(method)(state_at(2), ARRAYS)
    shared = batches(method, Share("data"))
    halves = jax.jit(jax.vmap(lambda _: shared.draw(state_at(2), ARRAYS), axis_name="data"))(jnp.arange(2))
    for one, parts in zip(whole, halves, strict=True):
        for name in ("images", "labels"):
            np.testing.assert_array_equal(np.concatenate(list(parts[name])), one[name])
        assert (parts["key"] == one["key"]).all(), "noise differs between replicas by their rows, not by the key"


def test_random_cutout_masks_some_images_of_both_batches():
    masked = np.zeros(2)
    for step in range(4):
        for i, batch in enumerate(drawer("random cutout")(state_at(step), ARRAYS)):
            masked[i] += sum(bool((np.abs(image).max(-1) == 0).any()) for image in np.asarray(batch["images"]))
    assert (masked > 0).all() and (masked < 4 * SIZE).all(), masked


def test_looking_ahead_gives_what_the_next_steps_draw():
    ahead = jax.jit(partial(batches().look_ahead, steps=3))(state_at(3), NUMBERED)  # the third is of the next epoch
    for i in range(3):
        drawn = drawer()(state_at(3 + i), NUMBERED)[0]
        assert drawn.pop("carried") == ()
        for name, value in drawn.items():
            assert jnp.array_equal(ahead[name][i], value), (i, name)
