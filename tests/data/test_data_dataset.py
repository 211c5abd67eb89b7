"""Splits, statistics, and the sources that need no outside files."""

import subprocess
import sys

import numpy as np
import pytest

from jdarts.config import DataConfig
from jdarts.data import (
    Dataset,
    SearchData,
    TestImages,
    TrainImages,
    ValImages,
    channel_statistics,
    from_arrays,
    load,
)
from jdarts.errors import UserError


def numbered(n=40, n_test=7, n_val=None) -> Dataset:
    """Image i is filled with i, so that every row can be recognised."""

    def part(count, offset):
        images = np.zeros((count, 2, 3, 1), np.uint8) + (np.arange(count) + offset)[:, None, None, None]
        return images.astype(np.uint8), np.arange(count) % 3

    return from_arrays("numbered", part(n, 0), part(n_test, 200), part(n_val, 100) if n_val else None)


def ids(part) -> list[int]:
    return part.images[:, 0, 0, 0].tolist()


def test_search_halves_are_the_front_and_the_back_in_file_order():
    data = numbered().for_search(DataConfig())
    assert ids(data.train) == list(range(20)) and ids(data.val) == list(range(20, 40))
    assert data.train.labels.tolist() == [i % 3 for i in range(20)]
    assert isinstance(data.train, TrainImages) and isinstance(data.val, ValImages)


@pytest.mark.parametrize(
    "train,val,limit,n_train,n_val",
    [(0.5, 0.5, 11, 5, 5), (0.25, 0.25, None, 10, 10), (0.7, 0.3, 10, 7, 3), (0.29, 0.1, 100, 11, 4)],
)
def test_fractions_and_limit(train, val, limit, n_train, n_val):
    config = DataConfig(train_fraction=train, val_fraction=val, limit=limit)
    data = numbered().for_search(config)
    last = min(limit or 40, 40)
    assert ids(data.train) == list(range(n_train))
    assert ids(data.val) == list(range(last - n_val, last))


def test_a_search_cannot_see_test_images():
    dataset = numbered()
    data = dataset.for_search(DataConfig())
    assert not hasattr(data, "test")
    seen = set(ids(data.train)) | set(ids(data.val))
    assert not seen & set(ids(dataset.test))
    fields = {"name": "x", "num_classes": 3, "mean": (0.0,), "std": (1.0,)}
    with pytest.raises(TypeError, match=r"SearchData.val is TestImages; it must be ValImages"):
        SearchData(**fields, train=data.train, val=dataset.test)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"SearchData.train is ValImages"):
        SearchData(**fields, train=data.val, val=data.val)  # pyright: ignore[reportArgumentType]


def test_training_splits():
    dataset = numbered()
    everything = dataset.for_training()
    assert len(everything.train) == 40 and everything.val is None and everything.test is dataset.test
    held_out = dataset.for_training(0.1)
    assert held_out.val is not None
    assert ids(held_out.train) == list(range(36)) and ids(held_out.val) == list(range(36, 40))
    own = numbered(n_val=5).for_training()
    assert own.val is not None and ids(own.val) == list(range(100, 105)) and len(own.train) == 40


def test_empty_splits_are_refused():
    with pytest.raises(UserError, match=r"data.val_fraction is 0.1, which leaves none of the 9 training images"):
        numbered(9).for_search(DataConfig(val_fraction=0.1))
    with pytest.raises(UserError, match=r"data.train_fraction is 0.1, which leaves none"):
        numbered().for_search(DataConfig(train_fraction=0.1, limit=5))
    with pytest.raises(UserError, match=r"val_fraction is 0.01, which splits the 40 training images"):
        numbered().for_training(0.01)
    with pytest.raises(UserError, match=r"val_fraction is 1.5"):
        numbered().for_training(1.5)
    with pytest.raises(UserError, match="test split has no images"):
        numbered(n_test=0)


def test_channel_statistics_equal_numpy():
    images = np.random.RandomState(0).randint(0, 256, (5000, 3, 4, 2)).astype(np.uint8)
    images[..., 1] //= 3
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std((0, 1, 2)), rtol=1e-12)
    mean, std = channel_statistics(np.full((3, 2, 2, 1), 51, np.uint8))
    assert mean == pytest.approx((0.2,)) and std == (1.0,)  # constant: normalises to zero


def test_statistics_come_from_the_training_images_only():
    train = np.full((4, 2, 2, 1), 100, np.uint8), np.arange(4) % 2
    dark = from_arrays("a", train, (np.zeros((4, 2, 2, 1), np.uint8), np.arange(4) % 2))
    bright = from_arrays("a", train, (np.full((4, 2, 2, 1), 255, np.uint8), np.arange(4) % 2))
    assert dark.mean == bright.mean == pytest.approx((100 / 255,))


def test_inconsistent_arrays_are_named():
    good = np.zeros((3, 2, 2, 1), np.uint8), np.arange(3)
    cases = {
        r"labels have shape \[2\] for 3 images": ((good[0], good[1][:2]), good),
        r"test split has images of shape \[5, 2, 1\]": (good, (np.zeros((3, 5, 2, 1), np.uint8), good[1])),
        r"1 of the 3 labels of the test split are 3": (good, (good[0], np.array([0, 1, 3]))),
        "training labels are -1, 0, 1": ((good[0], good[1] - 1), good),
        "give .N, H, W. or .N, H, W, C.": ((good[0][0, 0], good[1]), good),
    }
    for message, (train, test) in cases.items():
        with pytest.raises(UserError, match=message):
            from_arrays("x", train, test)
    with pytest.raises(UserError, match=r"ValImages.images is float64"):
        ValImages(np.zeros((1, 2, 2, 1)), np.zeros(1, np.int32))
    with pytest.raises(UserError, match=r"TrainImages.labels is int64"):
        TrainImages(np.zeros((1, 2, 2, 1), np.uint8), np.zeros(1, np.int64))


def test_digits_are_the_scikit_learn_images_split_evenly():
    from sklearn.datasets import load_digits

    dataset = load(DataConfig(source="digits"))
    assert dataset.train.images.shape == (1437, 8, 8, 1) and dataset.test.images.shape == (360, 8, 8, 1)
    assert dataset.num_classes == 10 and isinstance(dataset.test, TestImages)
    assert np.bincount(dataset.test.labels).tolist() == [36] * 10

    def rows(images, labels):
        return sorted((bytes(image), int(label)) for image, label in zip(images, labels, strict=True))

    official: tuple = load_digits(return_X_y=True)
    everything = rows(np.round(official[0] * 255 / 16).astype(np.uint8), official[1])
    assert everything == sorted(
        rows(dataset.train.images, dataset.train.labels) + rows(dataset.test.images, dataset.test.labels)
    )
    assert dataset.train.images.max() == 255
    halves = dataset.for_search(DataConfig())
    counts = np.bincount(halves.train.labels), np.bincount(halves.val.labels)
    assert min(counts[0].min(), counts[1].min()) > 50  # the shuffle mixes the classes
    first = np.bincount(dataset.limited(200).train.labels, minlength=10)
    assert first.min() >= 10 and first.max() <= 30  # the front is not skewed by the choice of the test images


def test_digits_order_never_changes():
    dataset = load(DataConfig(source="digits"))
    assert dataset.train.labels[:12].tolist() == FIRST_DIGITS
    assert dataset.test.labels[:12].tolist() == FIRST_TEST_DIGITS


def test_synthetic_is_deterministic_balanced_and_learnable():
    config = DataConfig(source="synthetic:8x10x3:4:200")
    dataset, again = load(config), load(config)
    assert dataset.train.images.shape == (200, 8, 10, 3) and len(dataset.test) == 40
    np.testing.assert_array_equal(dataset.train.images, again.train.images)
    np.testing.assert_array_equal(dataset.test.labels, again.test.labels)
    assert np.bincount(dataset.train.labels).tolist() == [50] * 4
    means = np.stack([dataset.train.images[dataset.train.labels == k].mean(0) for k in range(4)])
    distances = ((dataset.test.images[:, None] - means) ** 2).sum((2, 3, 4))
    assert (distances.argmin(1) == dataset.test.labels).mean() > 0.95
    assert len(load(DataConfig(source="synthetic:8x10x3:4:200", limit=30)).train) == 30


@pytest.mark.parametrize(
    "source,message",
    [
        ("synthetic:8x8:4:200", "write synthetic:HxWxC:CLASSES:IMAGES"),
        ("synthetic:8x8x3:1:200", "2 classes"),
        ("synthetic:999x999x3:4:999999", "more than 2 GiB"),
        ("synthetic", "write synthetic:HxWxC:CLASSES:IMAGES"),
        ("tfds", "write tfds:NAME"),
        ("tfds:a b", "write tfds:NAME"),
        ("digits:3", "write digits"),
        ("cifar_10", "unknown data.source 'cifar_10'; did you mean 'cifar10'"),
        ("digit", "did you mean 'digits'"),
        ("npz", "needs data.path"),
        ("folder", "needs data.path"),
        ("cifar10", "needs data.path"),
        ("cifar100", "needs data.path: cifar-100-binary.tar.gz"),
    ],
)
def test_wrong_sources_are_explained_in_one_line(source, message):
    with pytest.raises(UserError) as caught:
        load(DataConfig(source=source))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_path_that_would_be_ignored_is_refused():
    with pytest.raises(UserError, match="source digits reads no file"):
        load(DataConfig(source="digits", path="somewhere"))


def test_import_is_light_and_starts_no_device():
    code = (
        "import sys, jdarts.data, jax\n"
        "heavy = {'tensorflow_datasets', 'grain', 'PIL', 'sklearn'} & set(sys.modules)\n"
        "from jax._src import xla_bridge\n"
        "print(sorted(heavy), xla_bridge.backends_are_initialized())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[] False"


FIRST_DIGITS = [3, 9, 6, 1, 4, 2, 1, 5, 0, 8, 6, 0]
FIRST_TEST_DIGITS = [2, 8, 2, 6, 6, 7, 1, 9, 8, 5, 2, 8]


def test_shrunk_images_are_means_of_squares():
    source = "synthetic:8x12x3:4:30"
    full, half = load(DataConfig(source=source)), load(DataConfig(source=source, shrink=2))
    assert half.train.images.shape == (30, 4, 6, 3) and half.train.labels.tolist() == full.train.labels.tolist()
    for part in ("train", "test"):
        small, large = getattr(half, part).images, getattr(full, part).images.astype(float)
        corners = [large[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        assert np.array_equal(small, np.floor(sum(corners) / 4 + 0.5))
    with pytest.raises(UserError, match=r"data\.shrink is 8, which does not divide images of 8x12"):
        load(DataConfig(source=source, shrink=8))
    with pytest.raises(UserError, match=r"data\.shrink is 0"):
        DataConfig(shrink=0)
