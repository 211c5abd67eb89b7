"""A detector's steps and its detections on several devices equal those on one, in float64."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from support.device_problems import largest_difference
from support.mobile import mobile
from support.rectangles import write_rectangles

from jdarts.config import DataConfig, DevicesConfig, Experiment, SGDConfig, TrainConfig
from jdarts.train import PlacedTraining, place_training
from jdarts.train.tasks import TASKS

GENOTYPE = mobile("fairnas: conv_k3_c4_s2 mb_k3_c4_s2 mb_k3_c4_s2 mb_k3_c4_s2 mb_k3_c4_s2")
SETTINGS = TrainConfig(
    task="detection",
    epochs=2,
    batch_size=8,
    auxiliary_weight=0.0,
    drop_path=0.0,
    cutout=0,
    optimizer=SGDConfig(learning_rate=0.02, learning_rate_min=0.0, gradient_clip=5.0),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """`(devices, settings) -> (state after two steps, detections in the test images)`."""
    path = str(write_rectangles(tmp_path_factory.mktemp("coco") / "data", train=8, val=5))
    source = DataConfig(source="coco", path=path, image_size=32, crop_padding=0, flip=True, read_threads=2)
    data = TASKS["detection"].load(source).for_training()

    def two_steps(**changes: Any):
        devices = DevicesConfig(**{name: changes.pop(name) for name in ("backend", "data") if name in changes})
        config = Experiment(data=source, train=dataclasses.replace(SETTINGS, **changes), devices=devices)
        training = PlacedTraining(config, GENOTYPE, data, place_training(config))
        state = training.init()
        for _ in range(2):
            state, _ = training.step(state)
        return state, training.totals(state, data.test, 8)

    return two_steps


@pytest.fixture(scope="module")
def alone(run):
    return run(backend="jit")


@pytest.mark.parametrize("backend", ["shard_map", pytest.param("pmap", marks=pytest.mark.slow)])
def test_eight_devices_equal_one(run, alone, backend):
    state, found = run(backend=backend)
    assert len(state.step.sharding.device_set) == 8
    assert largest_difference(alone[0], state) < 1e-8
    assert found.keys() == alone[1].keys() and found["boxes"].shape == (5, 100, 4)
    for name, rows in found.items():
        np.testing.assert_allclose(rows, alone[1][name], atol=1e-4)
