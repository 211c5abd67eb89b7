"""Sources that need no files: digits and synthetic images."""

import re
from typing import Any

import numpy as np

from jdarts.data.arrays import from_arrays
from jdarts.data.dataset import Dataset, ImagesAndLabels
from jdarts.data.order import fixed_order
from jdarts.errors import UserError

DIGITS_TEST_PER_CLASS = 36
SYNTHETIC_MAX_BYTES = 2**31


def load_digits() -> Dataset:
    """The 1,797 handwritten digits of scikit-learn, 8x8, one channel; pixels 0..16 become 0..255.

    The file order follows the writers, so both splits are drawn from a fixed shuffle: the test split is the first 36
    images of every digit in it, 360 in all; the other 1,437 are the training images, shuffled again.
    """
    from sklearn.datasets import load_digits as sklearn_digits

    digits: Any = sklearn_digits()
    order = fixed_order(len(digits.target), seed=0)
    labels = digits.target[order]
    is_test = np.zeros(len(labels), bool)
    for digit in range(10):
        is_test[np.flatnonzero(labels == digit)[:DIGITS_TEST_PER_CLASS]] = True
    train, test = order[~is_test], order[is_test]
    # otherwise the digits whose 36 test images come first would fill the front
    train = train[fixed_order(len(train), seed=1)]
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return from_arrays("digits", (images[train], digits.target[train]), (images[test], digits.target[test]))


def load_synthetic(spec: str) -> Dataset:
    """`HxWxC:CLASSES:IMAGES`: a smooth pattern for each class plus strong noise, the same on every call.

    IMAGES training images and a fifth as many test images, with balanced classes in random order.
    Raises `UserError` for another form of `spec`, and for images of more than 2 GiB.
    """
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+):(\d+):(\d+)", spec)
    if match is None:
        raise UserError(
            f"data.source is 'synthetic:{spec}'; write synthetic:HxWxC:CLASSES:IMAGES, "
            "for example synthetic:16x16x3:10:2000"
        )
    height, width, channels, classes, count = map(int, match.groups())
    if min(height, width, channels) < 1 or classes < 2 or count < 5:
        raise UserError(f"data.source is 'synthetic:{spec}'; it needs at least 1x1x1 pixels, 2 classes and 5 images")
    if height * width * channels * count > SYNTHETIC_MAX_BYTES:
        raise UserError(f"data.source is 'synthetic:{spec}', more than 2 GiB of pixels; ask for fewer or smaller")
    patterns = _class_patterns(height, width, channels, classes)
    train = _noisy(patterns, count, seed=1)
    test = _noisy(patterns, count // 5, seed=2)
    return from_arrays(f"synthetic:{spec}", train, test, num_classes=classes)


def _class_patterns(height: int, width: int, channels: int, classes: int) -> np.ndarray:
    """Four slow random waves for each class and channel, added up, float32 [K, H, W, C] in [-1, 1]."""
    random = np.random.RandomState(0)
    y, x = np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing="ij")
    patterns = np.zeros((classes, height, width, channels), np.float32)
    for k in range(classes):
        for c in range(channels):
            for _ in range(4):
                fy, fx = random.uniform(-2, 2, 2)
                phase = random.uniform(0, 2 * np.pi)
                patterns[k, :, :, c] += np.cos(2 * np.pi * (fy * y + fx * x) + phase) / 4
    return patterns


def _noisy(patterns: np.ndarray, count: int, *, seed: int) -> ImagesAndLabels:
    random = np.random.RandomState(seed)
    labels = random.permutation(np.arange(count) % len(patterns))
    images = random.randint(-64, 65, (count, *patterns.shape[1:]), dtype=np.int16)
    images += np.rint(96 * patterns[labels] + 128).astype(np.int16)
    return np.clip(images, 0, 255).astype(np.uint8), labels
