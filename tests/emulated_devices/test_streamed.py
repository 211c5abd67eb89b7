"""Streamed images on eight devices give the search of one device, and resume in the middle of an epoch."""

import dataclasses

import jax
import pytest
from PIL import Image
from support.device_problems import FIRST_ORDER, TINY, largest_difference

from jdarts.config import DataConfig, DevicesConfig, SpaceConfig
from jdarts.data.streaming import open_streams
from jdarts.devices.placement import place
from jdarts.errors import UserError
from jdarts.search.placed import place_search
from jdarts.spaces import PerCellSpace, Space

pytestmark = pytest.mark.usefixtures("float64_searches")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for label in range(4):
        folder = root / "train" / f"class_{label}"
        folder.mkdir(parents=True)
        for i in range(16):
            pixels = bytes((37 * label + 11 * i * p) % 256 for p in range(12 * 12 * 3))
            Image.frombytes("RGB", (12, 12), pixels).save(folder / f"{i:02}.png")
    data = DataConfig(
        source="stream:folder", path=str(root), image_size=8, crop_padding=0, read_threads=2, val_fraction=0.25
    )
    search = dataclasses.replace(FIRST_ORDER.search, microbatches=2)
    return dataclasses.replace(FIRST_ORDER, data=data, search=search)


def build(config, space: Space = TINY, **devices):
    placement = place(DevicesConfig(**devices), batch_size=16, microbatches=2)
    return place_search(config, space, open_streams(config.data), placement)


def test_eight_devices_equal_one_and_resume_inside_an_epoch(config):
    one, many = build(config, backend="jit"), build(config, backend="shard_map")
    assert one.steps_per_epoch == 2
    state, other = one.init(), many.init()
    for step in range(5):
        if step == 3:
            middle = jax.device_get(other)
        state, _ = one.step(state)
        other, _ = many.step(other)
    assert largest_difference(state, other) < 1e-9
    resumed = build(config, backend="jit")
    going = jax.device_put(middle)
    for _ in range(2):
        going, _ = resumed.step(going)
    assert largest_difference(state, going) < 1e-9


def test_alphas_of_each_cell(config):
    config = dataclasses.replace(config, space=SpaceConfig(channels=2, cells=3, shared=False))
    space = PerCellSpace(TINY, 3)
    one, many = build(config, space, backend="jit"), build(config, space, backend="shard_map")
    state, other = one.init(), many.init()
    for _ in range(2):
        state, _ = one.step(state)
        other, _ = many.step(other)
    assert sorted(other.alphas) == ["cell_0", "cell_1", "cell_2"]
    assert largest_difference(state, other) < 1e-9


def test_looking_ahead_is_refused(config):
    search = dataclasses.replace(config.search, hypergradient="unrolled", unroll_steps=2)
    with pytest.raises(UserError, match="takes 2 training batches a step, but streamed images come one"):
        build(dataclasses.replace(config, search=search), backend="jit")
