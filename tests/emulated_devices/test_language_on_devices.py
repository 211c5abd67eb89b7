"""Searches and trainings on text: devices share the columns of the text; two seeds run as one program."""

from dataclasses import replace
from functools import cache

import jax
import numpy as np
import pytest
from support.tiny_text import CONFIG, SPACE, TRAIN_CONFIG, text

from jdarts.config import DevicesConfig
from jdarts.devices.placement import place
from jdarts.genotypes import parse
from jdarts.search.members import Member
from jdarts.search.placed import place_search
from jdarts.train.language import evaluate, language_model, make_language_training, recurrent_cell
from jdarts.train.placing import place_training

STEPS = 4
CELL = "Genotype(recurrent=[('sigmoid', 0), ('relu', 1)], concat=range(1, 3))"


@cache
def run(seeds: tuple[int, ...] = (), batch: int = 8, **devices):
    config = replace(CONFIG, search=replace(CONFIG.search, batch_size=batch))
    placement = place(DevicesConfig(**devices), batch_size=batch, microbatches=1, members=len(seeds))
    members = [Member(seed) for seed in seeds]
    placed = place_search(config, SPACE, text(300, 150), placement, members)  # pyright: ignore[reportArgumentType]
    state = placed.init()
    for _ in range(STEPS):
        state, _ = placed.step(state)
    return jax.device_get((state.weights, state.alphas, state.carried, state.batch_stats))


def difference(a, b) -> float:
    return max(float(np.max(np.abs(x - y))) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("backend", ["shard_map", "pmap"])
def test_eight_devices_equal_one(backend):
    one, many = run(backend="jit", data=1), run(backend=backend, data=8)
    assert difference(one, many) < 1e-9
    assert np.abs(one[2]["train"]["hidden"]).max() > 1e-3


def test_two_seeds_as_one_program():
    one = run(backend="jit", data=1)
    both = run((0, 1), backend="jit", data=1, members="vmap")
    first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], both) for i in (0, 1))
    assert difference(one, first) < 1e-9 < difference(first, second)


def train(**devices):
    """The losses of the steps and the last state; averaging begins, and the weights are evaluated."""
    settings = replace(TRAIN_CONFIG.language_train, nonmono=1, activation=0.3, slowness=0.2)
    config = replace(TRAIN_CONFIG, language_train=settings, devices=DevicesConfig(**devices))
    data, cell = text(300, 150), recurrent_cell(parse(CELL), "text")
    model = language_model(settings, cell, len(data.vocabulary))
    training = make_language_training(config, model, data, place_training(config, "language_train"))
    state, losses = training.init(jax.random.key(0)), []
    for loss in (1.0, 3.0, 2.0, 2.0):
        for _ in range(3):
            state, metrics = training.step(state, training.text)
            losses.append(metrics["train_loss"])
        state = training.end_epoch(state, loss)
    losses.append(evaluate(training, state.average, data.valid, 2))
    state = replace(state, key=jax.random.key_data(state.key))
    return jax.device_get((state, losses))


@pytest.mark.parametrize("backend", ["shard_map", "pmap"])
def test_training_on_eight_devices_equals_that_on_one(backend):
    (one, losses), (many, others) = train(backend="jit"), train(backend=backend)
    assert difference((one, losses), (many, others)) < 1e-9
    assert int(one.averaged_steps) == 3 and np.abs(one.hidden).max() > 1e-3
