"""Colour jitter on the device against Pillow and the standard library."""

import colorsys

import jax
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from jdarts.data import color_jitter
from jdarts.data.color_jitter import ColorJitter

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 5, 6, 3), dtype=np.uint8)
FACTORS = np.array([0.4, 1.0, 1.7])


@pytest.mark.parametrize(
    ("name", "enhance"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_blends_are_those_of_pillow(x64, name, enhance):
    """Pillow rounds grey values to whole numbers and cuts the results down to them."""
    changed = 255 * getattr(color_jitter, name)(IMAGES / 255.0, FACTORS)
    for image, factor, result in zip(IMAGES, FACTORS, changed, strict=True):
        wanted = np.asarray(enhance(Image.fromarray(image)).enhance(factor), float)
        np.testing.assert_allclose(result, wanted, atol=1.8)


def test_hue_is_that_of_the_standard_library(x64):
    turns = np.array([0.1, -0.37, 0.5])
    images = np.concatenate([IMAGES, np.full((3, 1, 6, 3), 77, np.uint8)], axis=1) / 255.0  # grey has no hue
    changed = np.asarray(color_jitter.hue(images, turns))
    for image, turn, result in zip(images, turns, changed, strict=True):
        for pixel, found in zip(image.reshape(-1, 3), result.reshape(-1, 3), strict=True):
            h, s, v = colorsys.rgb_to_hsv(*pixel)
            np.testing.assert_allclose(found, colorsys.hsv_to_rgb((h + turn) % 1, s, v), atol=1e-12)


def test_every_image_has_its_own_factors_within_the_limits():
    grey = np.full((64, 2, 2, 3), 100, np.uint8)
    changed = np.asarray(ColorJitter(0.4, 0.0)(jax.random.key(0), grey))
    assert changed.dtype == np.uint8 and (changed == changed[:, :1, :1, :1]).all(), "grey stays grey"
    values = changed[:, 0, 0, 0]
    assert values.min() >= 60 and values.max() <= 140 and len(set(values.tolist())) > 30
    assert (np.asarray(ColorJitter(0.0, 0.0)(jax.random.key(0), IMAGES)) == IMAGES).all()


def test_the_order_is_drawn():
    """Saturation before contrast differs from contrast before saturation."""
    jitter, results = jax.jit(ColorJitter(0.9, 0.4)), set()
    for seed in range(3):
        results.add(np.asarray(jitter(jax.random.key(seed), IMAGES)).tobytes())
    assert len(results) == 3
