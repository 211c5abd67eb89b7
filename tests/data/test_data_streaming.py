"""Streaming: the order of images, its independence of processes and interruptions, class shares, decoding."""

import dataclasses
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from jdarts.config import DataConfig
from jdarts.data import load
from jdarts.data.order import class_split
from jdarts.data.streaming import (
    BatchShare,
    Stream,
    crop_resize,
    decode_rate,
    folder_sources,
    open_source,
    open_streams,
)
from jdarts.errors import DataNote, UserError

CONFIG = DataConfig(source="stream:folder", train_fraction=0.5, val_fraction=0.25, image_size=8, read_threads=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes of 16 images each; the red value of every pixel is the image's number."""
    root = tmp_path_factory.mktemp("images")
    for label in range(3):
        place = root / "train" / f"class_{label}"
        place.mkdir(parents=True)
        for i in range(16):
            number = 16 * label + i
            Image.new("RGB", (12 + i, 20), (number, 2 * number, 255 - number)).save(place / f"{i:02}.png")
    return root


@pytest.fixture(scope="module")
def data(folder):
    return open_streams(dataclasses.replace(CONFIG, path=str(folder)))


def stream(data, *, threads=2, **share):
    return Stream(data.train, BatchShare(**{"batch_size": 8, **share}), seed=5, size=8, threads=threads)


def first(batches, count):
    return [next(batches) for _ in range(count)]


def numbers(batch):
    """The images' numbers, [P, rows]."""
    return batch["images"][..., 0, 0, 0]


def test_the_validation_split_of_a_folder_trains_the_alphas(folder, tmp_path):
    """The splits of `stream:folder` are those of `folder`, image for image."""
    for split, count in (("train", 16), ("val", 4), ("test", 1)):
        for label in range(3):
            place = tmp_path / split / f"class_{label}"
            place.mkdir(parents=True)
            for i in range(count):
                grey = {"train": 0, "val": 100, "test": 200}[split] + 16 * label + i
                Image.new("RGB", (8, 8), (grey, grey, grey)).save(place / f"{i:02}.png")
    config = dataclasses.replace(CONFIG, path=str(tmp_path))
    plain = dataclasses.replace(config, source="folder", stratify=True)
    with pytest.warns(DataNote, match="the 12 images of its validation split train the alphas, 36 of the 48 training"):
        streamed = open_streams(config)
    with pytest.warns(DataNote, match="the 12 images of its validation split train the alphas, 36 of the 48 training"):
        held = load(plain).for_search(plain)
    for one, other in ((streamed.train, held.train), (streamed.val, held.val)):
        labels = one.source.labels()[one.rows]
        assert len(one) == len(other) and np.bincount(labels).tolist() == np.bincount(other.labels).tolist()
    validation = Stream(streamed.val, BatchShare(batch_size=12), seed=0, size=8, threads=0).batch(0)
    assert sorted(validation["images"][:, 0, 0, 0].tolist()) == sorted(held.val.images[:, 0, 0, 0].tolist())
    assert streamed.class_names == held.class_names == ("class_0", "class_1", "class_2")
    for options in ({"own_validation": False}, {"path": str(folder)}):
        split = open_streams(dataclasses.replace(config, **options))
        assert split.val.source is split.train.source and (len(split.train), len(split.val)) == (24, 12)
    (tmp_path / "test").rename(tmp_path / "elsewhere")
    with pytest.warns(DataNote, match="the images of val/ are the test images"):
        assert len(open_streams(config).val) == 12, "of the training images"
    (tmp_path / "elsewhere").rename(tmp_path / "test")
    for name in ("class_1", "class_2"):
        shutil.rmtree(tmp_path / "val" / name)
    for i in range(40):
        Image.new("RGB", (8, 8)).save(tmp_path / "val" / "class_0" / f"more_{i}.png")
    with pytest.raises(UserError, match=r"none of 2 classes .* --data.own_validation false"):
        open_streams(config)


def test_an_epoch_holds_every_image_once_in_an_order_of_its_own(data):
    one = stream(data)
    assert one.steps_per_epoch == 3 and len(data.train) == 24
    epochs = np.stack([numbers(batch).ravel() for batch in first(one.batches(), 6)]).reshape(2, 24)
    for epoch in epochs:
        assert sorted(epoch) == sorted(data.train.rows)
    assert list(epochs[0]) != list(epochs[1])
    labels = first(stream(data).batches(), 1)[0]["labels"]
    np.testing.assert_array_equal(labels, numbers(first(stream(data).batches(), 1)[0]) // 16)


def test_going_on_in_the_middle_of_an_epoch_is_exact(data):
    whole = first(stream(data).batches(), 5)
    rest = first(stream(data).batches(start=2), 3)
    for a, b in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(a["images"], b["images"])
        np.testing.assert_array_equal(a["labels"], b["labels"])


@pytest.mark.parametrize("microbatches", [1, 2])
def test_processes_share_the_batches_of_one(data, microbatches):
    whole = first(stream(data, microbatches=microbatches).batches(), 4)
    shares = [first(stream(data, microbatches=microbatches, process=i, processes=2).batches(), 4) for i in range(2)]
    for batch, *parts in zip(whole, *shares, strict=True):
        joined = np.concatenate([part["images"] for part in parts], axis=1)  # as `gather_rows` puts them together
        np.testing.assert_array_equal(batch["images"], joined)
        assert batch["images"].shape == (microbatches, 8 // microbatches, 8, 8, 3)


def test_one_step_by_itself_is_that_of_the_stream(data):
    for share in ({}, {"microbatches": 2, "processes": 2, "process": 1}):
        one = stream(data, **share)
        for step, batch in zip(range(5), one.batches(), strict=False):
            alone = one.batch(step)
            np.testing.assert_array_equal(alone["images"], batch["images"].reshape(-1, 8, 8, 3))
            np.testing.assert_array_equal(alone["labels"], batch["labels"].ravel())


def test_unequal_shares_are_refused(data):
    with pytest.raises(UserError, match="batch_size is 8, which 3 process"):
        stream(data, processes=3)
    with pytest.raises(UserError, match="the split has 24 images"):
        stream(data, batch_size=32)


def test_shares_of_every_class_are_disjoint_and_of_the_right_size():
    labels = np.repeat(np.arange(5), [1300, 732, 1000, 40, 999])
    train, val = class_split(labels, (0.1, 0.025))
    assert not set(train) & set(val)
    assert list(np.bincount(labels[train])) == [130, 73, 100, 4, 99]
    assert list(np.bincount(labels[val])) == [32, 18, 25, 1, 24]
    again, _ = class_split(labels, (0.1, 0.025))
    np.testing.assert_array_equal(train, again)
    with pytest.raises(UserError, match="class 0 has 1 images"):
        class_split(np.array([0, 1, 1, 1]), (0.5, 0.25))


def test_a_crop_is_a_window_of_the_image():
    image = np.arange(40 * 30, dtype=np.int64).reshape(40, 30)
    image = np.stack([image // 30 * 6, image % 30 * 8, image * 0], -1).astype(np.uint8)  # rows in red, columns in green
    centre = crop_resize(image, 30, None)
    np.testing.assert_array_equal(centre, image[5:35])
    seen = set()
    for seed in range(20):
        crop = crop_resize(image, 16, np.random.Generator(np.random.Philox(key=seed))).astype(int)
        assert crop.shape == (16, 16, 3) and crop.max() <= 6 * 39
        down, across = np.diff(crop[..., 0], axis=0), np.diff(crop[..., 1], axis=1)
        assert (down >= 0).all() and (across >= 0).all(), "neither mirrored nor turned"
        seen.add((crop[0, 0, 0], crop[-1, 0, 0], crop[0, 0, 1], crop[0, -1, 1]))
    assert len(seen) > 15


def test_two_batches_are_read_ahead_and_no_more(data, monkeypatch):
    """Otherwise batches of ImageNet's size would fill the host's memory."""
    read, load = [], Stream.load
    monkeypatch.setattr(Stream, "load", lambda self, index: (read.append(index), load(self, index))[1])
    batches = stream(data).batches()
    next(batches)
    deadline = time.monotonic() + 20
    while len(read) < 8 + 16 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    assert 8 + 16 <= len(read) <= 8 + 16 + 4, "the current batch, two ahead, and one image for each thread"


def test_decoding_speed_is_measured(data):
    assert decode_rate(stream(data), images=16) > 0


def test_array_records_give_the_images_of_the_folder(folder, tmp_path):
    pytest.importorskip("array_record")
    from jdarts.data import from_arrays
    from jdarts.data.tfds_export import write_tfds

    images = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 9, 9, 3), np.uint8)
    labels = np.arange(12) % 3
    write_tfds("tiny", from_arrays("tiny", (images, labels), (images, labels)), tmp_path)
    source = open_source(DataConfig(source="stream:tfds:tiny", path=str(tmp_path)))
    assert len(source) == 12 and source.num_classes == 3
    assert sorted(source.labels()) == sorted(labels)
    data = open_streams(
        DataConfig(source="stream:tfds:tiny", path=str(tmp_path), train_fraction=0.5, val_fraction=0.5, image_size=9)
    )
    batch = next(Stream(data.train, BatchShare(batch_size=6), seed=0, size=9, threads=0).batches())
    assert len(set(numbers(batch).ravel())) == 6
    np.testing.assert_array_equal(numbers(batch) % 3, batch["labels"])


def test_missing_folders_and_sources_are_one_line(tmp_path):
    with pytest.raises(UserError, match="has no folder 'train'"):
        folder_sources(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="has no class folders"):
        folder_sources(tmp_path)
    with pytest.raises(UserError, match="stream:folder needs data"):
        open_source(DataConfig(source="stream:folder"))
    with pytest.raises(UserError, match=r"stream:tfds:NAME"):
        open_source(DataConfig(source="stream:zip"))
