"""A training of another task, with frozen parts and class weights, on eight devices equals that on one, in float64."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from support.device_problems import largest_difference, leaves
from support.digit_tables import write_table
from support.mobile import mobile

from jdarts.config import DataConfig, DevicesConfig, Experiment, SGDConfig, TrainConfig
from jdarts.train import PlacedTraining, evaluate, place_training
from jdarts.train.tasks import TASKS

GENOTYPE = mobile("fairnas: conv_k3_c4 mb_k3_e2_c4_s2 mb_k3_c6")
SETTINGS = TrainConfig(
    task="segmentation",
    start="the start of these tests is random",
    frozen=("layer_0",),
    class_weights="balanced",
    epochs=2,
    batch_size=16,
    auxiliary_weight=0.0,
    drop_path=0.3,
    cutout=2,
    optimizer=SGDConfig(learning_rate=0.1, learning_rate_min=0.0, weight_decay=1e-2, gradient_clip=0.5),
)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """`devices -> (training, its data)`."""
    path = str(write_table(tmp_path_factory.mktemp("table") / "data", "segmentation"))
    config = Experiment(data=DataConfig(source="table", path=path, crop_padding=1, flip=True), train=SETTINGS)
    data = TASKS["segmentation"].load(config.data).for_training()

    def built(**devices: Any):
        placed = dataclasses.replace(config, devices=DevicesConfig(**devices))
        return PlacedTraining(placed, GENOTYPE, data, place_training(placed)), data

    return built


def run(training: PlacedTraining):
    state = training.init()
    for _ in range(5):
        state, _ = training.step(state)
    return state


@pytest.mark.parametrize("backend", ["shard_map", "pmap"])
def test_eight_devices_equal_one(build, backend):
    one, data = build(backend="jit")
    many, _ = build(backend=backend, check_replicas_every=2)
    start, alone, together = leaves(one.init()), run(one), run(many)
    assert len(together.step.sharding.device_set) == 8
    assert largest_difference(alone, together) < 1e-9
    for name, after in leaves(alone).items():
        if ".weights" in name or ".batch_stats" in name:
            assert np.array_equal(start[name], after) == ("layer_0" in name), name
    figures = [evaluate(training, state, data.test, 16) for training, state in ((one, alone), (many, together))]
    assert figures[0] == pytest.approx(figures[1], rel=1e-9) and 0 < figures[0]["mean_iou"] < 1
