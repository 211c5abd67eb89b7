"""Training on eight devices equals that on one, in float64; so do its test, its resumption and streamed images."""

import dataclasses
import json
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image
from support.device_problems import largest_difference, leaves
from support.mobile import mobile

from jdarts.config import DataConfig, DevicesConfig, Experiment, SGDConfig, TrainConfig
from jdarts.data import load
from jdarts.data.dataset import TestImages
from jdarts.data.streamed_training import open_streamed_dataset
from jdarts.errors import UserError
from jdarts.genotypes import parse
from jdarts.runs.checkpoint import Checkpoints
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.train import PlacedTraining, evaluate, place_training, run_training

CELL = "[('noise', 0), ('dil_conv_3x3', 1), ('skip_connect', 0), ('max_pool_3x3', 2)]"
GENOTYPES = {
    "cells": parse(f"Genotype(normal={CELL}, normal_concat=[2, 3], reduce={CELL}, reduce_concat=[2, 3])"),
    "mobile": mobile("fairnas: conv_k3_c4_s2 mb_k3_e2_c4 conv_k1_c6 dropout_0.3"),
}
CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x3:4:48", crop_padding=1, flip=True, read_threads=2),
    train=TrainConfig(
        epochs=2,
        batch_size=16,
        channels=2,
        cells=1,
        auxiliary_weight=0.0,
        drop_path=0.4,
        cutout=2,
        label_smoothing=0.1,
        optimizer=SGDConfig(learning_rate=0.1, learning_rate_min=0.0, weight_decay=1e-2, gradient_clip=0.5),
    ),
)
RECIPE = {
    "color_jitter": 0.4,
    "hue_jitter": 0.2,
    "mixup": 0.4,
    "cutmix": 1.0,
    "average": 0.9,
    "decay_norms": False,
    "schedule": "cosine_by_step",
    "warmup_epochs": 1,
}
STEPS = 5  # of 3 an epoch; drop-path acts from the second epoch on
_one: dict[Any, Any] = {}


def built(network: str, devices: dict[str, Any], **train: Any) -> PlacedTraining:
    config = dataclasses.replace(
        CONFIG, train=dataclasses.replace(CONFIG.train, **train), devices=DevicesConfig(**devices)
    )
    return PlacedTraining(config, GENOTYPES[network], load(config.data).for_training(), place_training(config))


def moved(training: PlacedTraining, steps: int = STEPS):
    state = training.init()
    for _ in range(steps):
        state, _ = training.step(state)
    return state


def on_one_device(network: str, **train: Any):
    key = (network, *train.items())
    if key not in _one:
        _one[key] = moved(built(network, {"backend": "jit"}, **train))
    return _one[key]


@pytest.mark.parametrize(
    ("network", "backend", "train"),
    [
        ("cells", "shard_map", {}),
        ("cells", "pmap", {}),
        ("cells", "shard_map", {"microbatches": 2}),
        ("mobile", "shard_map", {}),
        ("mobile", "shard_map", RECIPE),
    ],
)
def test_eight_devices_equal_one(network, backend, train):
    state = moved(built(network, {"backend": backend, "check_replicas_every": 2}, **train))
    assert len(state.step.sharding.device_set) == 8
    one = on_one_device(network, **train)
    assert largest_difference(one, state) < 1e-9
    start, now = leaves(built(network, {"backend": "jit"}, **train).init()), leaves(one)
    assert all(np.abs(now[name] - start[name]).max() > 0 for name in now if ".weights" in name), "all weights move"


def test_recomputed_activations_change_nothing():
    """In a shard_map, whose types check that the recomputed part is the same on all replicas."""
    state = moved(built("cells", {"backend": "shard_map"}, remat=True))
    assert largest_difference(on_one_device("cells"), state) < 1e-9


@pytest.mark.parametrize("devices", [{"backend": "shard_map"}, {"backend": "pmap"}, {"backend": "jit"}])
def test_every_test_image_counts_once(devices):
    """21 images: five rows pad the second batch, and some devices have padding only."""
    training, source = built("mobile", devices), load(CONFIG.data).train
    images, state = TestImages(source.images[:21], source.labels[:21]), training.init()
    pure = built("mobile", {"backend": "jit"}).pure
    logits = np.asarray(jax.jit(pure.logits)(jax.device_get(state), images.images))
    chosen = logits[np.arange(21), images.labels]
    losses = np.log(np.exp(logits).sum(1)) - chosen
    figures = evaluate(training, state, images, 16)
    assert figures["accuracy"] == np.mean(logits.argmax(1) == images.labels)
    np.testing.assert_allclose(figures["loss"], losses.mean(), rtol=1e-12)


class Stopping(SilentReporter):
    """Ends the run in its second epoch, as a crash does."""

    def step(self, step, metrics=None):
        if step == 5:
            raise RuntimeError("stopped")


@pytest.fixture(scope="module")
def streamed(tmp_path_factory) -> Experiment:
    root = tmp_path_factory.mktemp("images")
    for split, count in (("train", 12), ("test", 5)):
        for label in range(4):
            folder = root / split / f"class_{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = bytes((37 * label + 11 * i * p) % 256 for p in range(12 * 12 * 3))
                Image.frombytes("RGB", (12, 12), pixels).save(folder / f"{i:02}.png")
    data = dataclasses.replace(
        CONFIG.data, source="stream:folder", path=str(root), image_size=8, crop_padding=0, val_fraction=0.25
    )
    return dataclasses.replace(CONFIG, data=data, train=dataclasses.replace(CONFIG.train, microbatches=2))


def finished(config: Experiment, folder: RunFolder, devices: dict[str, Any], **options: Any) -> dict[str, np.ndarray]:
    """The floating arrays of the last state of a run."""
    config = dataclasses.replace(config, devices=DevicesConfig(**devices))
    data = open_streamed_dataset(config.data)
    run_training(config, GENOTYPES["mobile"], data, folder, **{"reporter": SilentReporter(), **options})
    with Checkpoints(folder.checkpoints_dir, read_only=True) as checkpoints:
        like = PlacedTraining(config, GENOTYPES["mobile"], data.for_training(), place_training(config)).init()
        restored = checkpoints.restore_latest(like)
    assert restored is not None and restored.step == 6
    return leaves(restored.state)


def test_streamed_training_stops_on_eight_devices_and_goes_on_with_one(streamed, tmp_path):
    whole, parts = (RunFolder.create(tmp_path / name, streamed) for name in ("whole", "parts"))
    one = finished(streamed, whole, {"backend": "jit"})
    with pytest.raises(RuntimeError, match="stopped"):
        finished(streamed, parts, {"backend": "shard_map"}, reporter=Stopping())
    other = finished(streamed, parts, {"backend": "jit"}, resume=True)
    assert max(np.abs(one[name] - other[name]).max() for name in one) < 1e-9
    results = [json.loads((folder.path / "result.json").read_text()) for folder in (whole, parts)]
    assert results[0]["test_accuracy"] == results[1]["test_accuracy"] and 20 * results[0]["test_accuracy"] % 1 == 0
    assert abs(results[0]["test_loss"] - results[1]["test_loss"]) < 1e-9


def test_a_batch_that_devices_cannot_share_is_one_line():
    with pytest.raises(UserError, match=r"train\.batch_size is 12, which 8 data replicas cannot share equally"):
        built("cells", {"backend": "shard_map"}, batch_size=12)
