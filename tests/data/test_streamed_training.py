"""Streamed images of a training: its splits, and the batches of an evaluation."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from jdarts.config import DataConfig
from jdarts.data import load
from jdarts.data.dataset import TestImages
from jdarts.data.evaluation import evaluation_batches
from jdarts.data.streamed_training import open_streamed_dataset
from jdarts.data.streaming import BatchShare
from jdarts.errors import DataNote, UserError

CONFIG = DataConfig(source="stream:folder", image_size=8)
GREY = {"train": 0, "val": 100, "test": 200}


@pytest.fixture
def folder(tmp_path):
    """Three classes; the grey value is that of the split, and grows by 16 a class and by 1 an image."""
    for split, count in (("train", 10), ("val", 4), ("test", 3)):
        for label in range(3):
            place = tmp_path / split / f"class_{label}"
            place.mkdir(parents=True)
            for i in range(count):
                grey = GREY[split] + 16 * label + i
                Image.new("RGB", (8, 10), (grey, grey, grey)).save(place / f"{i:02}.png")
    return tmp_path


def test_the_splits_are_those_of_the_folder_in_memory(folder):
    streamed = open_streamed_dataset(dataclasses.replace(CONFIG, path=str(folder)))
    held = load(dataclasses.replace(CONFIG, source="folder", path=str(folder))).for_training()
    split = streamed.for_training()
    assert split.val is not None and held.val is not None
    assert split.image_shape == held.image_shape == (8, 8, 3)
    assert streamed.class_names == held.class_names == ("class_0", "class_1", "class_2")
    assert (len(split.train), len(split.val), len(split.test)) == (30, 12, 9)
    for one, other in ((split.val, held.val), (split.test, held.test)):
        batches = list(evaluation_batches(one, BatchShare(batch_size=4), size=8, threads=2))
        images = np.concatenate([batch["images"][batch["counted"]] for batch in batches])
        labels = np.concatenate([batch["labels"][batch["counted"]] for batch in batches])
        np.testing.assert_array_equal(images, other.images)
        np.testing.assert_array_equal(labels, other.labels)


def test_images_are_held_out_by_class_and_limited(folder):
    config = dataclasses.replace(CONFIG, path=str(folder), limit=15)
    data = open_streamed_dataset(config).for_training(0.4)
    assert data.val is not None
    labels = data.train.source.labels()
    assert np.bincount(labels[data.train.rows]).tolist() == [3, 3, 3]
    assert np.bincount(labels[data.val.rows]).tolist() == [2, 2, 2]
    assert not set(data.train.rows) & set(data.val.rows)


def test_without_a_test_folder_the_validation_images_are_the_test(folder):
    (folder / "test").rename(folder / "elsewhere")
    with pytest.warns(DataNote, match="the images of val/ are the test images"):
        data = open_streamed_dataset(dataclasses.replace(CONFIG, path=str(folder))).for_training()
    assert data.val is None and len(data.test) == 12
    (folder / "val").rename(folder / "nowhere")
    with pytest.warns(DataNote), pytest.raises(UserError, match="has no labelled test images"):
        open_streamed_dataset(dataclasses.replace(CONFIG, path=str(folder)))


def test_array_records_have_a_test_split(tmp_path):
    pytest.importorskip("array_record")
    from jdarts.data import from_arrays
    from jdarts.data.tfds_export import write_tfds

    images = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 9, 9, 3), np.uint8)
    pair = images, np.arange(12) % 3
    write_tfds("tiny", from_arrays("tiny", pair, (images[:5], pair[1][:5])), tmp_path)
    config = DataConfig(source="stream:tfds:tiny", path=str(tmp_path), image_size=9)
    data = open_streamed_dataset(config).for_training()
    assert (len(data.train), data.val, len(data.test)) == (12, None, 5)
    assert "split test" in data.test.source.where(0)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("count", [1, 8, 13])
def test_every_image_counts_once(count, processes):
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    split = TestImages(images, np.arange(count, dtype=np.int32))
    shares = [
        list(evaluation_batches(split, BatchShare(batch_size=8, process=i, processes=processes)))
        for i in range(processes)
    ]
    assert {len(batches) for batches in shares} == {-(-count // 8)}
    batches = [batch for batches in shares for batch in batches]
    assert all(batch["images"].shape == (1, 8 // processes, 2, 2, 1) for batch in batches)
    counted = np.concatenate([batch["labels"][batch["counted"]] for batch in batches])
    assert sorted(counted) == list(range(count))
