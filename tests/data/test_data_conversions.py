"""Labels and pixels of many kinds, converted with a note or refused in one line."""

import warnings

import numpy as np
import pytest

from jdarts.config import DataConfig
from jdarts.data import from_arrays, load
from jdarts.errors import DataNote, DataWarning, UserError

GRAY = np.random.RandomState(0).randint(0, 256, (12, 6, 5, 1)).astype(np.uint8)
RGB = np.random.RandomState(1).randint(0, 256, (12, 6, 5, 3)).astype(np.uint8)
LABELS = np.arange(12) % 3


def made(images=RGB, labels=LABELS, **options):
    return from_arrays("mine", (images, labels), (images[:3], labels[:3]), **options)


def refused(call, *texts):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataNote)
        with pytest.raises(UserError) as caught:
            call()
    assert "\n" not in str(caught.value)
    for text in texts:
        assert text in str(caught.value)


def npz(folder, **changes) -> DataConfig:
    arrays = {"x_train": RGB, "y_train": LABELS, "x_test": RGB[:3], "y_test": LABELS[:3], **changes}
    np.savez(folder / "mine.npz", **{name: array for name, array in arrays.items() if array is not None})
    return DataConfig(source="npz", path=str(folder / "mine.npz"))


@pytest.mark.parametrize(
    "labels,found",
    [
        (LABELS + 1, "the training labels are 1, 2, 3, 3 classes that are not numbered 0 to 2"),
        (LABELS * 10**6, "0, 1000000, 2000000"),
        (LABELS * 2, "0, 2, 4"),
        (LABELS - 1, "-1, 0, 1"),
        (np.arange(12) * 7, "0, 7, 14, …, 70, 77"),
        (LABELS.astype(np.uint64) + 2**63, "9223372036854775808"),
    ],
)
def test_labels_with_other_numbers_are_refused_or_renumbered(tmp_path, labels, found):
    refused(lambda: made(labels=labels), found, "--data.remap_labels true")
    config = npz(tmp_path, y_train=labels, y_test=labels[:3])
    refused(lambda: load(config), found)
    with pytest.warns(DataNote, match=r"labels are renumbered; .* become the classes 0 to"):
        data = load(DataConfig(source="npz", path=config.path, remap_labels=True))
    distinct = sorted(set(labels.tolist()))
    assert data.num_classes == len(distinct) and data.class_names == tuple(map(str, distinct))
    assert [distinct[label] for label in data.train.labels] == labels.tolist()
    assert data.test is not None and [distinct[label] for label in data.test.labels] == labels[:3].tolist()


@pytest.mark.parametrize(
    "convert,note",
    [
        (lambda y: y.astype(np.float32), "train and test labels are whole numbers stored as float32"),
        (lambda y: y[:, None].astype(np.uint8), None),
        (lambda y: y[:, None].astype(float), "whole numbers stored as float64"),
        (lambda y: np.eye(3)[y], "one-hot with 3 columns"),
        (lambda y: np.eye(3, dtype=bool)[y], "one-hot"),
        (lambda y: np.array(["ant", "bee", "cow"])[y], "labels are text; 'ant', 'bee', 'cow' become"),
        (lambda y: np.array([b"ant", b"bee", b"cow"])[y], "labels are text"),
    ],
)
def test_other_kinds_of_labels_are_read(tmp_path, convert, note):
    config = npz(tmp_path, y_train=convert(LABELS), y_test=convert(LABELS[:3]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = load(config)
    assert any(note in str(w.message) for w in caught) if note else not caught
    assert data.train.labels.tolist() == LABELS.tolist() and data.num_classes == 3
    text = note and "text" in note
    assert data.class_names == (("ant", "bee", "cow") if text else ())


def test_booleans_are_two_classes():
    with pytest.warns(DataNote, match="booleans"):
        data = made(labels=LABELS == 1)
    assert data.train.labels.tolist() == (LABELS == 1).astype(int).tolist() and data.num_classes == 2


@pytest.mark.parametrize(
    "labels,texts",
    [
        (LABELS / 2, ("4 of 12 are not whole numbers (label 1 is 0.5)",)),
        (np.where(LABELS == 0, np.nan, 1), ("label 0 is nan",)),
        (np.eye(3)[LABELS] * 0.5, ("not one-hot",)),
        (np.ones((12, 3)), ("not one-hot",)),
        (np.zeros((12, 2, 2), int), ("shape [12, 2, 2]",)),
        (LABELS.astype(complex), ("dtype complex128",)),
        (LABELS[:11], ("shape [11] for 12 images",)),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, texts):
    refused(lambda: made(labels=labels), *texts)


def test_the_other_splits_have_the_classes_of_the_training(tmp_path):
    text = np.array(["ant", "bee"])
    for test, message in (
        (np.array([0, 1, 3]), "1 of the 3 labels of the test split are 3, which no training image has"),
        (np.array(["ant", "bee", "cow"]), "the test labels are text, those of train numbers"),
    ):
        refused(lambda test=test: load(npz(tmp_path, y_test=test)), message)
    config = npz(tmp_path, y_train=text[LABELS % 2], y_test=np.array(["ant", "cow", "cow"]))
    refused(lambda: load(config), "2 of the 3 labels of the test split are 'cow'")


def test_declared_classes_may_be_unused_until_they_are_remapped():
    from jdarts.data import remapped

    data = made(labels=LABELS * 2, num_classes=6)
    assert data.num_classes == 6 and data.train.labels.max() == 4
    with pytest.warns(DataNote) as caught:
        fewer = remapped(data)
    notes = " ".join(str(note.message) for note in caught)
    assert "0, 2, 4 become the classes 0 to 2" in notes and "3 of the 6 classes have no training images" in notes
    assert fewer.num_classes == 3 and fewer.class_names == ("0", "2", "4")
    assert fewer.train.labels.tolist() == LABELS.tolist()
    assert remapped(fewer) is fewer


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "convert,note",
    [
        (lambda x: x.transpose(0, 3, 1, 2), r"read as \[N, C, H, W\]"),
        (lambda x: x.astype(np.int64), "int64 from 0 to 255; they are read as 8-bit pixels$"),
        (lambda x: x.astype(np.float32), "float32 from 0 to 255; they are read as 8-bit pixels and rounded"),
        (lambda x: x.astype(np.float64) / 255, "float64 from 0 to 1; they are read as 8-bit pixels, multiplied by 255"),
        (lambda x: x.astype(np.float32) / 255, "multiplied by 255 and rounded"),
        (lambda x: (x / 255).astype(np.float16), "multiplied by 255"),
        (lambda x: (x.astype(np.float32) / 255).transpose(0, 3, 1, 2), r"read as \[N, C, H, W\]"),
    ],
)
@pytest.mark.filterwarnings("ignore::jdarts.errors.DataNote")
def test_pixels_of_other_kinds_are_read_exactly(convert, note, channels):
    images = (GRAY if channels == 1 else RGB).copy()
    images[:2] = [[[[0]]], [[[255]]]]
    with pytest.warns(DataNote, match=note):
        data = from_arrays("mine", (convert(images), LABELS), (convert(images[:3]), LABELS[:3]))
    np.testing.assert_array_equal(data.train.images, images)
    assert data.test is not None
    np.testing.assert_array_equal(data.test.images, images[:3])


@pytest.mark.filterwarnings("ignore::jdarts.errors.DataNote")
def test_the_training_images_decide_the_scale():
    images = GRAY.astype(np.float32)
    dark = np.full((3, 6, 5, 1), 0.9, np.float32)
    with pytest.warns(
        DataNote, match="train and test images are float32 from 0 to 255; they are read as 8-bit pixels and"
    ):
        data = from_arrays("mine", (images, LABELS), (dark, LABELS[:3]))
    assert data.test is not None and (data.test.images == 1).all()
    refused(
        lambda: from_arrays("mine", (images / 255, LABELS), (images, LABELS)), "the training images run from 0 to 1"
    )


def test_boolean_pixels_are_black_and_white():
    mask = GRAY > 127
    with pytest.warns(DataNote, match="bool from 0 to 1"):
        np.testing.assert_array_equal(made(images=mask).train.images, np.where(mask, 255, 0))
    with pytest.warns(DataWarning, match="no pixel above 1 of 255; were they scaled"):
        made(images=mask.astype(np.uint8))


@pytest.mark.parametrize(
    "images,texts",
    [
        (np.where(RGB > 200, np.nan, RGB), ("NaN or infinite in",)),
        (
            np.where(np.arange(12)[:, None, None, None] == 4, np.inf, RGB),
            ("in 1 of 12 images (the first is number 4)",),
        ),
        (RGB / 128 - 1, ("float64 from -1", "raw pixels from 0 to 255")),
        (RGB.astype(np.int16) - 1, ("from -1 to",)),
        (RGB.astype(np.uint16) * 257, ("uint16 from", "(x // 257)")),
        (RGB.astype(float) * 1e6, ("raw pixels",)),
        (RGB.reshape(12, -1), ("shape [12, 90]", "reshape")),
        (RGB[:, :0], ("no pixels",)),
        (RGB.astype(complex), ("dtype complex128",)),
        (RGB.astype(str), ("dtype <U",)),
        (RGB[:0], ("train split has no images",)),
    ],
)
def test_pixels_that_cannot_be_read_are_refused(images, texts):
    refused(lambda: from_arrays("mine", (images, LABELS[: len(images)]), (RGB, LABELS)), *texts)


@pytest.mark.parametrize("std", [(0,), (-1.0,), (float("nan"),), (float("inf"),)])
def test_statistics_that_cannot_normalise_are_refused(std):
    refused(lambda: made(GRAY, mean=(0,), std=std), "std positive")
    refused(lambda: made(GRAY, mean=(float("nan"),), std=(1,)), "must be finite")


def test_statistics_may_be_arrays():
    data = made(mean=np.zeros(3), std=np.ones(3))
    assert data.mean == (0, 0, 0) and data.std == (1, 1, 1)
    assert made(GRAY, mean=(0.5,)).std == made(GRAY).std, "what is not given is computed"


def test_npz_validation_arrays_are_used_and_tests_may_be_missing(tmp_path):
    config = npz(tmp_path, x_val=RGB[:6], y_val=LABELS[:6], x_test=None, y_test=None)
    with pytest.warns(DataNote, match="no x_test: it can be searched on"):
        data = load(config)
    with pytest.warns(DataNote, match="6 images of its validation split train the alphas, 12 of the 12"):
        halves = data.for_search(config)
    np.testing.assert_array_equal(halves.val.images, RGB[:6])
    refused(lambda: data.for_training(), "mine has no labelled test images", "x_test and y_test")
    refused(lambda: load(npz(tmp_path, y_test=None)), "has no array 'y_test'")


def test_damaged_npz_files_are_one_line(tmp_path):
    np.savez(tmp_path / "whole.npz", x_train=RGB, y_train=LABELS, x_test=RGB[:3], y_test=LABELS[:3])
    np.savez_compressed(tmp_path / "packed.npz", x_train=RGB, y_train=LABELS, x_test=RGB[:3], y_test=LABELS[:3])
    for name in ("whole", "packed"):
        content = (tmp_path / f"{name}.npz").read_bytes()
        damaged = [content[:-1], content[:-40], content[: len(content) // 2]]
        at = content.index(b"x_train.npy") + 200  # in the pixels of the first member
        damaged.append(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        for i, bad in enumerate(damaged):
            file = tmp_path / f"{name}{i}.npz"
            file.write_bytes(bad)
            refused(lambda file=file: load(DataConfig(source="npz", path=str(file))), "cannot be read as plain arrays")
