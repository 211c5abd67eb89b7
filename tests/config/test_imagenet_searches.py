"""The configurations for searches on ImageNet: a share of each class, exactly; steps; a traced step."""

import dataclasses
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jdarts import spaces
from jdarts.config.files import load_config
from jdarts.data.streaming import open_streams
from jdarts.methods import configured
from jdarts.pipeline import open_stream_search, place_search
from jdarts.search import make_search

CONFIGS = Path(__file__).parents[2] / "configs"
CLASSES = {"ant": 40, "bee": 80, "cow": 120}
SHARES = {"imagenet_pc_darts": (0.1, 0.025), "imagenet_p_darts": (0.1, 0.025), "imagenet_single_darts": (0.5, 0.025)}
SMALL = ("--data.image_size", "64", "--search.batch_size", "2", "--space.channels", "4", "--space.cells", "3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes of unequal size."""
    root, rng = tmp_path_factory.mktemp("imagenet"), np.random.default_rng(0)
    for name, count in CLASSES.items():
        (root / "train" / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).save(root / "train" / name / f"{i}.png")
    return str(root)


def streamed(name, folder, *more):
    config = load_config(CONFIGS / f"{name}.py", (*SMALL, "--data.path", folder, *more))
    return config, open_streams(config.data)


def rows_of(part):
    """The numbers of the images of a split in its source."""
    return np.asarray(part.rows).tolist()


@pytest.mark.parametrize("name", SHARES)
def test_a_share_of_each_class(name, folder):
    """Whole images of each class, the same for one seed, others for another; no image in both splits."""
    _, data = streamed(name, folder)
    train, val = (rows_of(part) for part in (data.train, data.val))
    labels = data.train.source.labels()
    for rows, share in zip((train, val), SHARES[name], strict=True):
        assert Counter(labels[rows].tolist()) == {k: share * count for k, count in enumerate(CLASSES.values())}
    assert not set(train) & set(val)
    assert sorted(rows_of(streamed(name, folder)[1].train)) == sorted(train)
    other = rows_of(streamed(name, folder, "--data.shuffle", "1")[1].train)
    assert len(other) == len(train) and set(other) != set(train)


@pytest.mark.parametrize(
    ("name", "steps"), [("imagenet_pc_darts", 125), ("imagenet_p_darts", 1334), ("imagenet_single_darts", 1779)]
)
def test_the_steps_of_an_epoch_on_imagenet(name, steps):
    config = load_config(CONFIGS / f"{name}.py")
    assert int(1_281_167 * config.data.train_fraction) // config.search.batch_size == steps


@pytest.mark.parametrize("name", SHARES)
def test_its_search_is_not_refused(name, folder):
    """The checks before a run, on one device and on several."""
    config, _ = streamed(name, folder)
    open_stream_search(config)
    several = dataclasses.replace(config.devices, backend="shard_map")
    assert place_search(dataclasses.replace(config, devices=several), ()).backend == "shard_map"


@pytest.mark.parametrize("name", ["imagenet_pc_darts", "imagenet_single_darts"])
def test_a_step_is_traced(name, folder):
    """Alphas and weights keep their shapes; P-DARTS has stages of its own."""
    config, data = streamed(name, folder)
    made = make_search(config, spaces.configured(config.space), data, method=configured(config.search))
    state = jax.eval_shape(made.init, jax.random.key(0))
    assert state.alphas["normal"].shape == (14, 8)
    assert made.steps_per_epoch == len(data.train) // 2
