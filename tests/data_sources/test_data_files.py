"""Image folders and .npz files, round-tripped from small generated ones."""

import io

import numpy as np
import pytest
from PIL import Image

from jdarts.config import DataConfig
from jdarts.data import load
from jdarts.errors import UserError


def random_images(n, shape=(5, 6, 3), seed=0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (n, *shape)).astype(np.uint8)


def write_images(folder, images, suffix="png"):
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image.squeeze()).save(folder / f"{i:03d}.{suffix}")


@pytest.mark.parametrize("shape", [(5, 6, 3), (4, 4, 1)])
def test_folder_round_trip(tmp_path, shape):
    images = random_images(30, shape)
    for split, start in (("train", 0), ("test", 20), ("val", 26)):
        count = 10 if split == "train" else 3 if split == "test" else 2
        write_images(tmp_path / split / "zebra", images[start : start + count])
        write_images(tmp_path / split / "ant", images[start + count : start + 2 * count])
    dataset = load(DataConfig(source="folder", path=str(tmp_path)))
    assert dataset.num_classes == 2 and dataset.val is not None
    np.testing.assert_array_equal(dataset.test.images, np.concatenate([images[23:26], images[20:23]]))
    assert dataset.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(dataset.val.images, np.concatenate([images[28:30], images[26:28]]))
    expected = sorted((bytes(images[i].tobytes()), int(i < 10)) for i in range(20))
    got = zip(dataset.train.images, dataset.train.labels, strict=True)
    assert sorted((image.tobytes(), int(label)) for image, label in got) == expected
    halves = dataset.for_search(DataConfig())
    assert len(set(halves.train.labels)) == len(set(halves.val.labels)) == 2


def test_folder_reads_jpeg_and_palette_images(tmp_path):
    smooth = np.full((2, 8, 8, 3), 90, np.uint8)
    write_images(tmp_path / "train" / "a", smooth, "JPG")
    write_images(tmp_path / "test" / "a", smooth[:1], "jpeg")
    Image.fromarray(smooth[0]).convert("P").save(tmp_path / "train" / "a" / "palette.png")
    (tmp_path / "train" / "a" / "notes.txt").write_text("ignored")
    dataset = load(DataConfig(source="folder", path=str(tmp_path)))
    assert dataset.train.images.shape == (3, 8, 8, 3)
    assert abs(dataset.test.images.astype(int) - 90).max() <= 2


def test_folder_errors_name_the_file(tmp_path):
    def fails(message):
        with pytest.raises(UserError, match=message) as caught:
            load(DataConfig(source="folder", path=str(tmp_path)))
        assert "\n" not in str(caught.value)

    fails("has no folder 'train'")
    (tmp_path / "train").mkdir()
    fails("has no folder 'test'")
    (tmp_path / "test").mkdir()
    fails("has no class folders")
    write_images(tmp_path / "train" / "a", random_images(2))
    fails("test has no .png")
    write_images(tmp_path / "test" / "b", random_images(2))
    fails("test/b is no class of")
    (tmp_path / "test" / "b").rename(tmp_path / "test" / "a")
    (tmp_path / "train" / "b").mkdir()
    fails("train/b has no .png")
    write_images(tmp_path / "train" / "c", random_images(1, (7, 6, 3)))
    (tmp_path / "train" / "b").rmdir()
    fails("c/000.png is 7x6 RGB, the images before it 5x6 RGB")
    Image.fromarray(random_images(1, (5, 6))[0]).save(tmp_path / "train" / "c" / "000.png")
    fails("c/000.png is 5x6 grayscale, the images before it 5x6 RGB")
    Image.new("RGBA", (6, 5)).save(tmp_path / "train" / "c" / "000.png")
    fails("c/000.png has pixel format RGBA")
    (tmp_path / "train" / "c" / "000.png").write_bytes(b"no image")
    fails("c/000.png is not a readable PNG or JPEG")
    truncated = io.BytesIO()
    Image.fromarray(random_images(1)[0]).save(truncated, "PNG")
    (tmp_path / "train" / "c" / "000.png").write_bytes(truncated.getvalue()[:60])
    fails("c/000.png is not a readable PNG or JPEG")


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
        ({"x_train": random_images(12) / 255}, "dtype float64; give uint8"),
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
