"""Mixup and cutmix against NumPy."""

import jax
import numpy as np
import pytest

from jdarts.data.mixing import cut_in, cutmix, draw_box, mix, mixup, swapped

IMAGES = np.random.default_rng(0).normal(size=(6, 4, 5, 3))
LABELS = np.array([0, 1, 2, 3, 4, 5])
PARTNERS = np.array([1, 0, 3, 2, 5, 4])


def test_neighbours_are_exchanged():
    np.testing.assert_array_equal(swapped(IMAGES), IMAGES[PARTNERS])


def test_mixup(x64):
    mixed = mixup(jax.random.key(3), IMAGES, LABELS, 0.4)
    kept = float(mixed.kept)
    assert 0 < kept < 1
    np.testing.assert_allclose(mixed.images, kept * IMAGES + (1 - kept) * IMAGES[PARTNERS], rtol=1e-12)
    np.testing.assert_array_equal(mixed.partners, LABELS[PARTNERS])


def test_shares_follow_the_beta_distribution(x64):
    """Beta(α, α) has mean 1/2 and variance 1 / (4 (2α + 1))."""
    keys = jax.random.split(jax.random.key(0), 4000)
    kept = np.asarray(jax.vmap(lambda key: mixup(key, IMAGES[:2, :1, :1], LABELS[:2], 0.2).kept)(keys))
    assert abs(kept.mean() - 0.5) < 0.03
    assert abs(kept.var() - 1 / (4 * 1.4)) < 0.01


def test_a_box_of_the_partner(x64):
    mixed = cut_in(IMAGES, LABELS, np.array([1, 3, 2, 5]))
    wanted = IMAGES.copy()
    wanted[:, 1:3, 2:5] = IMAGES[PARTNERS][:, 1:3, 2:5]
    np.testing.assert_array_equal(mixed.images, wanted)
    assert float(mixed.kept) == 1 - 6 / 20
    np.testing.assert_array_equal(mixed.partners, LABELS[PARTNERS])


def test_boxes_are_inside_and_cover_half_the_image_on_average():
    """With α = 1 the area 1 − λ is uniform; the border cuts boxes, whose centre is uniform."""
    boxes = np.asarray(jax.vmap(lambda key: draw_box(key, 40, 60, 1.0))(jax.random.split(jax.random.key(1), 3000)))
    top, bottom, left, right = boxes.T
    assert (top >= 0).all() and (bottom <= 40).all() and (left >= 0).all() and (right <= 60).all()
    assert (top <= bottom).all() and (left <= right).all()
    random = np.random.default_rng(0)  # the same draw in NumPy
    side = np.sqrt(random.random(200_000))
    covered = np.ones_like(side)
    for length in (40, 60):
        size = (length * side).astype(int)
        first = random.integers(0, length, side.size) - size // 2
        covered = covered * (np.minimum(first + size, length) - np.maximum(first, 0)) / length
    assert abs(((bottom - top) * (right - left) / 2400).mean() - covered.mean()) < 0.015


@pytest.mark.parametrize(("alphas", "kinds"), [((0.4, 0.0), {"mixup"}), ((0.0, 1.0), {"cutmix"}), ((0.4, 1.0), 2)])
def test_one_of_the_two(x64, alphas, kinds):
    found = set()
    draw = jax.jit(lambda key: mix(key, IMAGES, LABELS, mixup_alpha=alphas[0], cutmix_alpha=alphas[1]).images)
    for seed in range(12):
        images = draw(jax.random.key(seed))
        whole = np.isclose(images, IMAGES) | np.isclose(images, IMAGES[PARTNERS])
        found.add("cutmix" if whole.all() else "mixup")
    assert found == kinds or len(found) == kinds


def test_without_area_nothing_changes(x64):
    """A box that is cut away entirely keeps the labels whole."""
    mixed = cut_in(IMAGES, LABELS, np.array([0, 0, 2, 5]))
    assert float(mixed.kept) == 1 and np.allclose(mixed.images, IMAGES)
    assert cutmix(jax.random.key(0), IMAGES, LABELS, 1.0).images.shape == IMAGES.shape
