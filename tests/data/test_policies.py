"""RandAugment and AutoAugment: each operation against NumPy, and the draws."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from jdarts.data import policies
from jdarts.data.crops import crop_resize
from jdarts.data.policies import AUTO_AUGMENT, RAND_AUGMENT, apply, auto_augment, policy_of, rand_augment

PIXELS = np.random.default_rng(0).integers(10, 246, (12, 20, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)


def after(operation: str, level: float, sign: int = 1) -> np.ndarray:
    return np.asarray(apply(PICTURE, operation, level, sign))


def sampled(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The pixels at these places; black outside."""
    inside = (rows >= 0) & (rows < 12) & (columns >= 0) & (columns < 20)
    return np.where(inside[..., None], PIXELS[np.clip(rows, 0, 11), np.clip(columns, 0, 19)], 0)


ROWS, COLUMNS = np.mgrid[0:12, 0:20]


@pytest.mark.parametrize("sign", [1, -1])
def test_movements(sign):
    """A pixel shows the nearest pixel of the place that the affine map gives for its centre."""
    centre_rows, centre_columns = ROWS + 0.5, COLUMNS + 0.5
    wanted = sampled(ROWS, np.floor(centre_columns + sign * 0.15 * centre_rows).astype(int))
    np.testing.assert_array_equal(after("shear_x", 0.5, sign), wanted)
    wanted = sampled(np.floor(centre_rows + sign * 0.15 * centre_columns).astype(int), COLUMNS)
    np.testing.assert_array_equal(after("shear_y", 0.5, sign), wanted)
    np.testing.assert_array_equal(after("translate_x", 0.5, sign), sampled(ROWS, COLUMNS + sign * 4))
    np.testing.assert_array_equal(after("translate_y", 0.5, sign), sampled(ROWS + sign * 2, COLUMNS))


def test_a_rotation_turns_about_the_centre():
    marked = np.zeros((41, 41, 3), np.uint8)
    marked[19:22, 38:41] = 255  # to the right of the centre
    for sign in (1, -1):
        turned = np.asarray(apply(Image.fromarray(marked), "rotate", 1.0, sign))[..., 0]
        rows, columns = (place.mean() for place in np.nonzero(turned))
        angle = np.degrees(np.arctan2(-(rows - 20), columns - 20))
        assert abs(angle - sign * 30) < 3, "positive angles turn to the left"


def test_operations_on_values():
    np.testing.assert_array_equal(after("invert", 0.0), 255 - PIXELS)
    np.testing.assert_array_equal(after("identity", 1.0), PIXELS)
    np.testing.assert_array_equal(after("posterize", 0.75), PIXELS & 0b11111000)
    np.testing.assert_array_equal(after("posterize", 0.0), PIXELS)
    np.testing.assert_array_equal(after("solarize", 0.6), np.where(PIXELS < 102, PIXELS, 255 - PIXELS))
    low, high = PIXELS.min((0, 1)).astype(float), PIXELS.max((0, 1))
    np.testing.assert_allclose(after("autocontrast", 0.0), 255 * (PIXELS - low) / (high - low), atol=1)
    np.testing.assert_allclose(after("brightness", 1.0, -1), 0.1 * PIXELS, atol=1)
    np.testing.assert_allclose(after("brightness", 0.5), np.minimum(1.45 * PIXELS, 255), atol=1)
    grey = PIXELS @ np.array([0.299, 0.587, 0.114])
    for operation, base in (("color", grey[..., None]), ("contrast", np.full_like(PIXELS, round(grey.mean()), float))):
        for sign in (1, -1):
            wanted = np.clip(base + (1 + sign * 0.9) * (PIXELS - base), 0, 255)
            np.testing.assert_allclose(after(operation, 1.0, sign), wanted, atol=2)


def test_equalised_values_are_spread_evenly():
    gradient = np.repeat(np.repeat(np.arange(64, dtype=np.uint8)[None], 64, 0)[..., None], 3, -1)
    spread = np.asarray(apply(Image.fromarray(gradient), "equalize", 0.0))[0, :, 0].astype(int)
    step = (64 * 64 - 64) // 255  # pixels for each of the 255 steps between values; the last value does not count
    np.testing.assert_array_equal(spread, np.minimum((step // 2 + 64 * np.arange(64)) // step, 255))


def test_sharpness_blends_with_the_smoothed_picture():
    def smoothed():
        kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
        padded = PIXELS.astype(float)
        total = sum(kernel[i, j] * padded[i : i + 10, j : j + 18] for i in range(3) for j in range(3))
        return total

    inner = PIXELS[1:-1, 1:-1].astype(float)
    wanted = np.clip(smoothed() + 1.9 * (inner - smoothed()), 0, 255)
    np.testing.assert_allclose(after("sharpness", 1.0)[1:-1, 1:-1], wanted, atol=2)


def test_rand_augment_draws_every_operation_equally(monkeypatch):
    seen = Counter()
    monkeypatch.setattr(policies, "apply", lambda picture, *drawn: (seen.update([drawn]), picture)[1])
    random, change = np.random.default_rng(0), rand_augment(2, 9)
    for _ in range(2000):
        change(PICTURE, random)
    assert sum(seen.values()) == 4000 and {level for _, level, _ in seen} == {0.3}
    by_operation = Counter(op for op, _, _ in seen.elements())
    assert set(by_operation) == set(RAND_AUGMENT) and len(RAND_AUGMENT) == 14
    assert max(abs(count - 4000 / 14) for count in by_operation.values()) < 80
    assert abs(sum(sign for _, _, sign in seen.elements())) < 250


def test_auto_augment_applies_a_pair_with_its_probabilities(monkeypatch):
    assert len(AUTO_AUGMENT) == 25
    assert AUTO_AUGMENT[0] == (("posterize", 0.4, 8 / 9), ("rotate", 0.6, 1.0))
    assert {op for pair in AUTO_AUGMENT for op, _, _ in pair} <= {*RAND_AUGMENT, "invert"}
    seen = []
    monkeypatch.setattr(policies, "apply", lambda picture, op, level, sign: (seen.append(op), picture)[1])
    random = np.random.default_rng(0)
    for _ in range(2000):
        auto_augment(PICTURE, random)
    expected = sum(probability for pair in AUTO_AUGMENT for _, probability, _ in pair) / 25
    assert abs(len(seen) / 2000 - expected) < 0.05


def test_a_policy_changes_crops_as_a_function_of_the_generator():
    policy = policy_of("rand_augment", 2, 20)
    image = np.random.default_rng(1).integers(0, 256, (30, 24, 3), dtype=np.uint8)

    def crop(seed, policy):
        return crop_resize(image, 16, np.random.default_rng(seed), policy=policy)

    np.testing.assert_array_equal(crop(3, policy), crop(3, policy))
    assert any((crop(seed, policy) != crop(seed, None)).any() for seed in range(5))
    assert policy_of("none", 2, 9) is None and policy_of("auto_augment", 2, 9) is auto_augment


@pytest.mark.parametrize(("resize", "shown"), [(None, 40), (32, 20), (16, 40)])
def test_the_centre_is_cut_out_after_scaling_the_shorter_side(resize, shown):
    """Of 60 x 40 pixels, 16 of `resize` are a square of `shown` pixels."""
    image = np.stack([np.broadcast_to(np.arange(60)[None] * 4, (40, 60))] * 3, -1).astype(np.uint8)
    cut = crop_resize(image, 16, None, resize=resize)[8, :, 0] / 4
    assert cut.shape == (16,)
    first = 30 - shown / 2
    wanted = first + (np.arange(16) + 0.5) * shown / 16 - 0.5
    np.testing.assert_allclose(cut[1:-1], wanted[1:-1], atol=0.5)
