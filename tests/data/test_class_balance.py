"""Splits must hold the same classes: refusals, warnings, and the effect of shuffling and stratifying."""

import dataclasses
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdarts.config import DataConfig
from jdarts.data import Dataset, from_arrays, load
from jdarts.data.order import training_order
from jdarts.errors import DataNote, DataWarning, UserError


def labelled(labels, test=None, val=None, **options) -> Dataset:
    """Image i of the training images is filled with i modulo 251."""

    def part(labels):
        labels = np.asarray(labels)
        fill = (np.arange(len(labels)) % 251)[:, None, None, None]
        return (fill * np.ones((1, 2, 2, 1))).astype(np.uint8), labels

    return from_arrays("mine", part(labels), part(labels if test is None else test), val and part(val), **options)


def blocks(*classes, size=20) -> list[int]:
    return [label for label in classes for _ in range(size)]


def refused(call, *texts) -> None:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for text in texts:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    "labels,count,share",
    [
        (blocks(2, 0, 3, 1), 40, "100%"),  # the issue's: no class in common, and in no monotone order
        (blocks(0, 1, 2, 3), 40, "100%"),
        (blocks(3, 2, 1, 0), 40, "100%"),
        (blocks(0, 1, 2, 0, 3, 1), 20, "33%"),
        ([0] * 12 + [1] * 3 + [0] * 10 + [2] * 5, 5, "33%"),
    ],
)
def test_halves_with_different_classes_are_refused_with_counts_and_remedy(labels, count, share):
    half = len(labels) // 2
    assert count == np.sum(~np.isin(labels[half:], labels[:half]))
    refused(
        lambda: labelled(labels).for_search(DataConfig()),
        f"{count} of the {half} validation images of the search ({share})",
        "--data.shuffle 0",
    )
    for config in (DataConfig(shuffle=1), DataConfig(stratify=True)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            halves = labelled(labels).for_search(config)
        assert set(halves.train.labels) == set(halves.val.labels) == set(labels)


def test_a_few_unseen_images_are_a_warning():
    labels = [0, 1] * 20 + [0, 1] * 18 + [2] * 4
    with pytest.warns(DataWarning, match=r"4 of the 40 validation images of the search \(10%\) are of class 2"):
        labelled(labels).for_search(DataConfig())
    with pytest.warns(DataWarning, match=r"have none of class 2, but 4 of the 40 training images"):
        labelled(labels[::-1]).for_search(DataConfig())


def test_a_validation_half_without_most_classes_is_refused():
    refused(
        lambda: labelled(blocks(0, 1, 2, 3, 3, 3, 3, 3, size=10)).for_search(DataConfig()),
        "validation images of the search have none of 3 classes (0, 1, 2), but 30 of the 40 training images",
    )


def test_one_class_is_refused():
    one = labelled([0] * 30, num_classes=3)
    refused(lambda: one.for_search(DataConfig()), "all 15 training images of the search are of class 0")
    refused(lambda: one.for_training(), "all 30 training images are of class 0")
    refused(lambda: one.for_search(DataConfig(train_fraction=1.0, val_fraction=0.0)), "of class 0")


def test_the_limit_keeps_the_classes_or_is_refused():
    data = labelled(blocks(0, 1, 2, 3))
    refused(
        lambda: data.for_search(DataConfig(limit=40)),
        "first 40 training images (data.limit) have none of 2 classes (2, 3), but 40 of all 80 (50%) are",
    )
    few = labelled(blocks(0, 1, 0, 1, 0) + [2] * 4)
    with pytest.warns(DataWarning, match="have none of class 2, but 4 of all 104"):
        few.for_search(DataConfig(limit=90, shuffle=None, train_fraction=0.5))
    halves = data.for_search(DataConfig(limit=40, stratify=True))
    assert np.bincount(halves.train.labels).tolist() == np.bincount(halves.val.labels).tolist() == [5] * 4


def test_loading_applies_the_limit_in_the_shuffled_order(tmp_path):
    labels = np.array(blocks(0, 1, 2, 3))
    images = np.arange(80, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    np.savez(tmp_path / "b.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    config = DataConfig(source="npz", path=str(tmp_path / "b.npz"), limit=40)
    refused(lambda: load(config), "data.limit")
    shuffled = dataclasses.replace(config, shuffle=3)
    data = load(shuffled)
    order = np.random.RandomState(3).permutation(80)  # the promise of the option's help, by hand
    assert data.train.images[:, 0, 0, 0].tolist() == order[:40].tolist()
    halves = data.for_search(shuffled)  # does not shuffle again
    assert halves.train.images[:, 0, 0, 0].tolist() == order[:20].tolist()
    assert halves.val.labels.tolist() == labels[order[20:40]].tolist()
    assert data.test is not None and data.test.labels.tolist() == labels.tolist(), "the test images keep their order"


def test_the_test_images_are_of_the_classes_trained_on():
    data = labelled(blocks(0, 1), test=blocks(0, 1, 2, size=5), num_classes=3)
    refused(lambda: data.for_training(), "5 of the 15 test images (33%) are of class 2, which the training images lack")
    with pytest.warns(DataWarning, match=r"1 of the 11 test images \(9%\) are of class 2"):
        labelled(blocks(0, 1), test=[*blocks(0, 1, size=5), 2], num_classes=3).for_training()
    with pytest.warns(DataWarning, match="test images have none of class 1"):
        labelled(blocks(0, 1), test=[0] * 5).for_training()
    refused(lambda: labelled(blocks(0, 1)).for_training(0.5), "validation images (100%) are of class 1")


def test_class_names_are_told():
    data = dataclasses.replace(labelled(blocks(0, 1)), class_names=("cat", "dog"))
    refused(lambda: data.for_search(DataConfig()), "class 1 (dog)")


def test_an_own_validation_split_trains_the_alphas():
    data = labelled([0, 1] * 20, val=[1, 0, 1])
    with pytest.warns(DataNote, match="the 3 images of its validation split train the alphas, 40 of the 40 training"):
        halves = data.for_search(DataConfig())
    assert halves.val is data.val and len(halves.train) == 40 and not halves.single
    with pytest.warns(DataNote, match="30 of the 40 training images the weights"):
        assert len(data.for_search(DataConfig(train_fraction=0.5, val_fraction=0.25)).train) == 30
    ignored = data.for_search(DataConfig(own_validation=False))
    assert len(ignored.train) == len(ignored.val) == 20
    single = data.for_search(DataConfig(train_fraction=1.0, val_fraction=0.0))
    assert single.single and len(single.val) == 40
    with pytest.warns(DataNote):
        strange = labelled([0, 1] * 20, val=[2, 2, 0], num_classes=3)
        refused(lambda: strange.for_search(DataConfig()), "2 of the 3 validation", "--data.own_validation false")
    with pytest.warns(DataWarning, match="its validation split is not used, since train.val_fraction is 0.25"):
        monitored = data.for_training(0.25)
    assert monitored.val is not None and len(monitored.val) == 10


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.one_of(st.none(), st.integers(0, 9)), st.data())
@settings(deadline=None)
def test_stratified_parts_have_the_proportions_of_the_whole(labels, seed, data):
    labels = np.array(labels)
    n, classes = len(labels), len(np.unique(labels))
    order = training_order(labels, shuffle=seed, stratify=True)
    again = training_order(labels, shuffle=seed, stratify=True)
    assert order is not None and again is not None
    assert sorted(order.tolist()) == list(range(n)), "every image once"
    np.testing.assert_array_equal(order, again)
    start = data.draw(st.integers(0, n))
    stop = data.draw(st.integers(start, n))
    for label in np.unique(labels):
        of_class = int(np.sum(labels == label))
        expected = (stop - start) * of_class / n
        # a part spans t = length/n ± K/n of the way (each end is off by half an image of each class)
        found = int(np.sum(labels[order[start:stop]] == label))
        assert abs(found - expected) <= 1 + of_class * classes / n + 1e-9
        if seed is None:
            rows = order[labels[order] == label]
            assert (np.diff(rows) > 0).all(), "images of a class keep their order"


def test_seeds_shuffle_differently():
    labels = np.zeros(50, int)
    orders = [training_order(labels, shuffle=seed, stratify=stratify) for seed in (0, 1) for stratify in (False, True)]
    assert (
        len({tuple(order) for order in orders if order is not None}) == 2
    )  # of one class, stratifying changes nothing
    assert training_order(labels, shuffle=None, stratify=False) is None


@pytest.mark.parametrize("shuffle", [-1, 2**31])
def test_seeds_out_of_range_are_refused(shuffle):
    refused(lambda: DataConfig(shuffle=shuffle), f"data.shuffle is {shuffle}")
