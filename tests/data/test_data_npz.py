""".npz files, round-tripped from small generated ones."""

import numpy as np
import pytest

from jdarts.config import DataConfig
from jdarts.data import load
from jdarts.errors import UserError


def random_images(n, shape=(5, 6, 3), seed=0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (n, *shape)).astype(np.uint8)


def npz_arrays(**changes) -> dict:
    arrays = {
        "x_train": random_images(12),
        "y_train": np.arange(12) % 4,
        "x_test": random_images(4, seed=1),
        "y_test": np.arange(4).astype(np.uint8),
    }
    arrays.update(changes)
    return {name: array for name, array in arrays.items() if array is not None}


def test_npz_round_trip_keeps_the_order(tmp_path):
    arrays = npz_arrays(x_val=random_images(3, seed=2), y_val=np.zeros((3, 1), np.int64))
    np.savez(tmp_path / "mine.npz", **arrays)
    dataset = load(DataConfig(source="npz", path=str(tmp_path / "mine.npz")))
    assert dataset.name == "mine" and dataset.num_classes == 4 and dataset.val is not None
    np.testing.assert_array_equal(dataset.train.images, arrays["x_train"])
    np.testing.assert_array_equal(dataset.train.labels, arrays["y_train"])
    np.testing.assert_array_equal(dataset.test.images, arrays["x_test"])
    np.testing.assert_array_equal(dataset.val.images, arrays["x_val"])
    assert dataset.test.labels.dtype == np.int32
    np.testing.assert_allclose(dataset.mean, arrays["x_train"].mean((0, 1, 2)) / 255, rtol=1e-12)


def test_npz_grayscale_without_channel_axis(tmp_path):
    gray = npz_arrays(x_train=random_images(12, (5, 6)), x_test=random_images(4, (5, 6)))
    np.savez_compressed(tmp_path / "gray.npz", **gray)
    dataset = load(DataConfig(source="npz", path=str(tmp_path / "gray.npz")))
    np.testing.assert_array_equal(dataset.train.images[..., 0], gray["x_train"])


class Loud:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_npz_errors(tmp_path):
    file = tmp_path / "bad.npz"

    def fails(message):
        with pytest.raises(UserError, match=message) as caught:
            load(DataConfig(source="npz", path=str(file)))
        assert "\n" not in str(caught.value)

    fails("is not a file")
    for changes, message in (
        ({"y_test": None}, "has no array 'y_test'"),
        ({"x_val": random_images(2)}, "has no array 'y_val'"),
        ({"y_train": np.arange(11)}, r"labels have shape \[11\] for 12 images"),
        ({"x_test": random_images(4, (5, 5, 3))}, r"shape \[5, 5, 3\]"),
    ):
        np.savez(file, **npz_arrays(**changes))
        fails(message)
    flag = tmp_path / "executed"
    np.savez(file, allow_pickle=True, **npz_arrays(y_train=np.array([Loud(str(flag))] * 12)))
    fails("cannot be read as plain arrays")
    np.save(tmp_path / "one.npy", random_images(2))
    (tmp_path / "one.npy").rename(file)
    fails("cannot be read as plain arrays")
    file.write_bytes(b"PK\x03\x04 damaged")
    fails("cannot be read as plain arrays")
    assert not flag.exists()
