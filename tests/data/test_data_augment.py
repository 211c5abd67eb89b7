"""Augmentation against a plain numpy re-implementation fed with the same draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.data import Augmentation, cutout, normalize, random_crop, random_flip
from jdarts.data.augment import (
    crop,
    cutout_at,
    draw_crop_offsets,
    draw_cutout_centers,
    draw_flips,
    flip,
)
from jdarts.errors import UserError

MEAN, STD = (0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768)


def some_images(batch=16, height=12, width=10, channels=3, seed=0) -> np.ndarray:
    random = np.random.RandomState(seed)
    return random.randint(1, 256, (batch, height, width, channels)).astype(np.uint8)


def numpy_augment(images, offsets, flips, centers, padding, side) -> np.ndarray:
    """One image and one pixel at a time, in float64."""
    n, height, width, channels = images.shape
    out = np.zeros(images.shape, np.float64)
    for i in range(n):
        for y in range(height):
            for x in range(width):
                column = width - 1 - x if flips[i] else x
                source_y, source_x = y + offsets[i][0] - padding, column + offsets[i][1] - padding
                inside = 0 <= source_y < height and 0 <= source_x < width
                for c in range(channels):
                    value = images[i, source_y, source_x, c] / 255 if inside else 0.0
                    out[i, y, x, c] = (value - MEAN[c]) / STD[c]
                cy, cx = centers[i]
                if side and cy - side // 2 <= y < cy + side // 2 and cx - side // 2 <= x < cx + side // 2:
                    out[i, y, x] = 0
    return out


@pytest.mark.parametrize("padding,do_flip,side", [(4, True, 0), (4, True, 6), (2, False, 4), (0, True, 0)])
def test_augmentation_equals_plain_numpy(padding, do_flip, side):
    images, key = some_images(), jax.random.key(3)
    crop_key, flip_key, cutout_key = jax.random.split(key, 3)
    offsets = np.asarray(draw_crop_offsets(crop_key, 16, padding))
    flips = np.asarray(draw_flips(flip_key, 16)) if do_flip else np.zeros(16, bool)
    centers = np.asarray(draw_cutout_centers(cutout_key, 16, 12, 10))
    result = Augmentation(mean=MEAN, std=STD, crop_padding=padding, flip=do_flip, cutout=side)(key, jnp.asarray(images))
    expected = numpy_augment(images, offsets, flips, centers, padding, side)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, atol=2e-6)


def test_offsets_reach_every_position_and_differ_between_images():
    offsets = np.asarray(draw_crop_offsets(jax.random.key(0), 4000, 4))
    counts = np.bincount(offsets[:, 0] * 9 + offsets[:, 1], minlength=81)
    assert offsets.min() == 0 and offsets.max() == 8 and counts.min() > 0
    expected = 4000 / 81
    assert ((counts - expected) ** 2 / expected).sum() < 140  # chi-squared, 80 degrees of freedom: 99.99 % is 138


def test_padding_is_black_before_normalising():
    images = jnp.full((1, 6, 6, 3), 255, jnp.uint8)
    out = normalize(crop(images, jnp.array([[0, 8]]), 4), mean=MEAN, std=STD)
    border, white = -np.array(MEAN) / STD, (1 - np.array(MEAN)) / STD
    np.testing.assert_allclose(out[0, :4].reshape(-1, 3), np.tile(border, (24, 1)), atol=1e-6)
    np.testing.assert_allclose(out[0, 4:, 2:].reshape(-1, 3), np.tile(border, (8, 1)), atol=1e-6)
    np.testing.assert_allclose(out[0, 4:, :2].reshape(-1, 3), np.tile(white, (4, 1)), atol=1e-6)


def test_crop_at_the_centre_is_the_image():
    images = jnp.asarray(some_images())
    np.testing.assert_array_equal(crop(images, jnp.full((16, 2), 4), 4), images)


def test_flips_are_fair_and_mirror_only_the_width():
    flips = np.asarray(draw_flips(jax.random.key(1), 10_000))
    assert abs(flips.mean() - 0.5) < 0.02
    images = jnp.asarray(some_images(batch=2))
    out = flip(images, jnp.array([True, False]))
    np.testing.assert_array_equal(out[0], np.asarray(images)[0][:, ::-1])
    np.testing.assert_array_equal(out[1], images[1])
    mirrored = np.asarray(random_flip(jax.random.key(2), jnp.asarray(some_images(batch=64))))
    same = (mirrored == some_images(batch=64)).all((1, 2, 3))
    assert 15 < same.sum() < 49


@pytest.mark.parametrize(
    "side,center,area", [(4, (5, 5), 16), (4, (0, 0), 4), (4, (0, 5), 8), (5, (5, 5), 25), (16, (6, 6), 144)]
)
def test_cutout_area_clipped_at_the_border(side, center, area):
    out = np.asarray(cutout_at(jnp.ones((1, 12, 12, 2)), jnp.array([center]), side))
    assert (out == 0).sum() == area * 2


def test_cutout_is_half_open_as_in_the_darts_code():
    out = np.asarray(cutout_at(jnp.ones((1, 32, 32, 1)), jnp.array([[16, 16]]), 16))[0, :, :, 0]
    assert (out[8:24, 8:24] == 0).all() and out.sum() == 32 * 32 - 256


def test_cutout_centres_are_uniform_over_a_non_square_image():
    centers = np.asarray(draw_cutout_centers(jax.random.key(0), 3000, 4, 7))
    counts = np.bincount(centers[:, 0] * 7 + centers[:, 1], minlength=28)
    assert len(counts) == 28
    expected = 3000 / 28
    assert ((counts - expected) ** 2 / expected).sum() < 64  # chi-squared, 27 degrees of freedom: 99.99 % is 63.2


def test_same_key_same_result_other_key_other_result():
    images = jnp.asarray(some_images())

    def run(seed):
        return np.asarray(
            Augmentation(mean=MEAN, std=STD, crop_padding=4, flip=True, cutout=4)(jax.random.key(seed), images)
        )

    np.testing.assert_array_equal(run(5), run(5))
    assert not np.array_equal(run(5), run(6))


def test_switching_one_operation_off_keeps_the_draws_of_the_others():
    images, key = jnp.asarray(some_images()), jax.random.key(9)
    with_cutout = Augmentation(mean=MEAN, std=STD, crop_padding=4, flip=True, cutout=4)(key, images)
    without = Augmentation(mean=MEAN, std=STD, crop_padding=4, flip=True, cutout=0)(key, images)
    kept = np.asarray(with_cutout) != 0
    assert kept.mean() > 0.8
    np.testing.assert_array_equal(np.asarray(with_cutout)[kept], np.asarray(without)[kept])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_jit_equals_no_jit(dtype):
    images, key = jnp.asarray(some_images()), jax.random.key(4)

    def run(key, images):
        return Augmentation(mean=MEAN, std=STD, crop_padding=4, flip=True, cutout=4, dtype=dtype)(key, images)

    compiled, plain = jax.jit(run)(key, images), run(key, images)
    assert compiled.dtype == plain.dtype == dtype
    tolerance = 1e-6 if dtype == jnp.float32 else 2e-2
    np.testing.assert_allclose(np.asarray(compiled, np.float32), np.asarray(plain, np.float32), atol=tolerance, rtol=0)


def test_augmentation_vmaps_over_keys():
    images, keys = jnp.asarray(some_images(batch=4)), jax.random.split(jax.random.key(0), 3)

    def run(key):
        return Augmentation(mean=MEAN, std=STD, crop_padding=2, flip=True, cutout=4)(key, images)

    out, one = jax.jit(jax.vmap(run))(keys), jax.jit(run)
    for i in range(3):
        np.testing.assert_allclose(out[i], one(keys[i]), atol=1e-6)


def test_zero_means_off():
    images, key = jnp.asarray(some_images()), jax.random.key(0)
    assert random_crop(key, images, 0) is images
    assert cutout(key, images, 0) is images
    out = Augmentation(mean=MEAN, std=STD, crop_padding=0, flip=False, cutout=0)(key, images)
    np.testing.assert_array_equal(out, normalize(images, mean=MEAN, std=STD))


def test_wrong_images_and_statistics_are_named():
    images = jnp.asarray(some_images())
    with pytest.raises(UserError, match=r"float32 \[16, 12, 10, 3\]; give uint8"):
        normalize(images.astype(jnp.float32), mean=MEAN, std=STD)
    with pytest.raises(UserError, match=r"std has shape \[1\]; the images have 3 channels"):
        normalize(images, mean=MEAN, std=(0.5,))
