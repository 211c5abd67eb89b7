"""TFDS directories written and read without TensorFlow, and the real CIFAR-10 if it is available."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from jdarts.config import DataConfig
from jdarts.data import Dataset, from_arrays, load
from jdarts.data.tfds_export import write_tfds
from jdarts.errors import DataNote, UserError

UNPACK = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10_unpack.py"


def small(n=30, shape=(6, 5, 3), val=False, classes=4) -> Dataset:
    random = np.random.RandomState(0)

    def part(count):
        return random.randint(0, 256, (count, *shape)).astype(np.uint8), random.permutation(count) % classes

    return from_arrays("small", part(n), part(9), part(8) if val else None, num_classes=classes)


def assert_same_images(a, b):
    np.testing.assert_array_equal(a.images, b.images)
    np.testing.assert_array_equal(a.labels, b.labels)


@pytest.mark.parametrize("shape", [(6, 5, 3), (4, 4, 1)])
def test_round_trip_keeps_pixels_labels_and_file_order(tmp_path, capsys, shape):
    dataset = small(shape=shape, val=True)
    folder = write_tfds("small_set", dataset, tmp_path)
    assert folder == tmp_path / "small_set" / "1.0.0" and capsys.readouterr().out == ""
    for source in ("tfds:small_set", "tfds:small_set:1.0.0"):
        again = load(DataConfig(source=source, path=str(tmp_path)))
        assert_same_images(again.train, dataset.train)
        assert_same_images(again.test, dataset.test)
        assert again.val is not None and dataset.val is not None
        assert_same_images(again.val, dataset.val)
        assert again.num_classes == 4 and again.mean == dataset.mean


def test_tfds_itself_reads_what_was_written(tmp_path):
    import tensorflow_datasets as tfds

    dataset = small()
    names = ["ant", "bee", "cat", "dog"]
    builder = tfds.builder_from_directory(write_tfds("small_set", dataset, tmp_path, class_names=names))
    assert builder.info.features["label"].names == names
    assert builder.info.splits["train"].num_examples == 30
    for example in builder.as_data_source("test"):
        row = int(example["id"].decode().removeprefix("test_"))
        np.testing.assert_array_equal(example["image"], dataset.test.images[row])
        assert example["label"] == dataset.test.labels[row]


def test_data_directory_may_come_from_the_environment(tmp_path, monkeypatch):
    write_tfds("small_set", small(), tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert len(load(DataConfig(source="tfds:small_set", limit=12)).train) == 12


def fails(source, path, message):
    with pytest.raises(UserError, match=message) as caught:
        load(DataConfig(source=source, path=str(path)))
    assert "\n" not in str(caught.value)


def test_absent_data_sets_say_how_to_make_them(tmp_path):
    fails("tfds:cifar10", tmp_path, f"no prepared dataset cifar10 at {tmp_path}/cifar10; make one, .*write_tfds")
    folder = write_tfds("small_set", small(), tmp_path)
    fails("tfds:small_set:2.0.0", tmp_path, "unknown version of small_set '2.0.0'; .*1.0.0")
    fails("tfds:small_set/other", tmp_path, "no prepared dataset small_set/other at")
    config = tmp_path / "with_config" / "tiny"
    config.mkdir(parents=True)
    folder.rename(config / "1.0.0")
    fails("tfds:with_config", tmp_path, "several configurations; write tfds:with_config/tiny")


def test_tfrecord_data_sets_say_how_to_convert_them(tmp_path):
    folder = write_tfds("small_set", small(), tmp_path)
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps({**info, "fileFormat": "tfrecord"}))
    fails("tfds:small_set", tmp_path, "stored as tfrecord, .*tfds convert_format --dataset_version_dir=")
    (folder / "dataset_info.json").write_text("{")
    fails("tfds:small_set", tmp_path, "dataset_info.json is missing or damaged")


def test_features_from_foreign_modules_are_not_imported(tmp_path, monkeypatch):
    folder = write_tfds("small_set", small(), tmp_path)
    (tmp_path / "hostile_module.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    features = (folder / "features.json").read_text()
    hostile = features.replace("tensorflow_datasets.core.features.text_feature.Text", "hostile_module.Text")
    assert hostile != features
    (folder / "features.json").write_text(hostile)
    fails("tfds:small_set", tmp_path, "names the class 'hostile_module.Text'")
    assert not (tmp_path / "executed").exists()


def test_damaged_records_are_one_line(tmp_path):
    folder = write_tfds("small_set", small(), tmp_path)
    (records,) = folder.glob("*train*array_record*")
    content = records.read_bytes()
    for bad in (content[: len(content) // 2], content[:-20], b"", b"no records at all"):
        records.write_bytes(bad)
        fails("tfds:small_set", tmp_path, "small_set: (split train cannot be read|image 0 of split train is empty)")
    records.unlink()
    fails("tfds:small_set", tmp_path, "small_set: split train cannot be read")


def test_encoded_images_are_made_alike_and_class_names_kept(tmp_path):
    dataset = small()
    write_tfds("small_set", dataset, tmp_path, class_names=["ant", "bee", "cat", "dog"])
    again = load(DataConfig(source="tfds:small_set", path=str(tmp_path), image_size=(3, 4), color="gray"))
    assert again.train.images.shape == (30, 3, 4, 1) and again.class_names == ("ant", "bee", "cat", "dog")
    picture = ImageOps.fit(Image.fromarray(dataset.train.images[7]).convert("L"), (4, 3), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(again.train.images[7, ..., 0], np.asarray(picture))
    assert write_tfds("again", again, tmp_path).is_dir()
    assert load(DataConfig(source="tfds:again", path=str(tmp_path))).class_names == again.class_names


def test_declared_classes_without_images_are_legitimate(tmp_path):
    dataset = small(classes=3)
    unused = dataclasses.replace(dataset, num_classes=5)
    write_tfds("small_set", unused, tmp_path)
    config = DataConfig(source="tfds:small_set", path=str(tmp_path))
    assert load(config).for_search(config).num_classes == 5
    with pytest.warns(DataNote, match="2 of the 5 classes have no training images and get no output"):
        assert load(dataclasses.replace(config, remap_labels=True)).num_classes == 3


def test_a_set_without_a_test_can_be_searched_on(tmp_path):
    write_tfds("small_set", dataclasses.replace(small(), test=None), tmp_path)
    data = load(DataConfig(source="tfds:small_set", path=str(tmp_path)))
    assert data.test is None and len(data.for_search(DataConfig()).train) == 15


def test_export_refuses_what_tfds_cannot_hold(tmp_path):
    with pytest.raises(UserError, match="TFDS name is 'My-Set'"):
        write_tfds("My-Set", small(), tmp_path)
    with pytest.raises(UserError, match="has 2 channels"):
        write_tfds("two", small(shape=(4, 4, 2)), tmp_path)
    with pytest.raises(UserError, match="2 class names for the 4 classes"):
        write_tfds("names", small(), tmp_path, class_names=["a", "b"])
    write_tfds("small_set", small(), tmp_path)
    with pytest.raises(UserError, match="exists already; remove it"):
        write_tfds("small_set", small(), tmp_path)


@pytest.fixture(scope="session")
def real_cifar10(tmp_path_factory) -> Dataset:
    if not UNPACK.is_file():
        pytest.skip(f"the real CIFAR-10 is not here: no {UNPACK.name} in ../shared/data")
    folder = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, str(UNPACK), str(folder)], check=True, capture_output=True)
    return load(DataConfig(source="cifar10", path=str(folder)))


def test_real_cifar10_has_the_published_shape_counts_and_statistics(real_cifar10):
    from jdarts.data import channel_statistics

    assert real_cifar10.train.images.shape == (50_000, 32, 32, 3)
    assert real_cifar10.test.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(real_cifar10.train.labels).tolist() == [5000] * 10
    assert np.bincount(real_cifar10.test.labels).tolist() == [1000] * 10
    mean, std = channel_statistics(real_cifar10.train.images)
    np.testing.assert_allclose(mean, real_cifar10.mean, atol=1e-6)
    np.testing.assert_allclose(std, real_cifar10.std, atol=1e-6)
    halves = real_cifar10.for_search(DataConfig())
    assert len(halves.train) == len(halves.val) == 25_000
    np.testing.assert_array_equal(halves.val.images[0], real_cifar10.train.images[25_000])


def test_real_cifar10_through_tfds_in_official_form(real_cifar10, tmp_path):
    import tensorflow_datasets as tfds

    part = from_arrays(
        "cifar10",
        (real_cifar10.train.images[:2000], real_cifar10.train.labels[:2000]),
        (real_cifar10.test.images[:500], real_cifar10.test.labels[:500]),
        num_classes=10,
    )
    write_tfds("cifar10", part, tmp_path)
    dataset = load(DataConfig(source="tfds:cifar10", path=str(tmp_path)))
    assert_same_images(dataset.train, part.train)
    assert_same_images(dataset.test, part.test)
    assert dataset.num_classes == 10 and dataset.mean == real_cifar10.mean and dataset.std == real_cifar10.std

    official = tfds.builder("cifar10", data_dir=tmp_path, file_format="array_record")
    assert official.info.features["label"].names[:2] == ["airplane", "automobile"]
    source = official.as_data_source("train[:1]")
    image = source[0]["image"]
    assert image.shape == (32, 32, 3) and image.dtype == np.uint8
    written = tfds.builder_from_directory(tmp_path / "cifar10" / "3.0.2").info.features
    assert repr(written) == repr(official.info.features)
