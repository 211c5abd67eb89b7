"""Anchors, overlaps, coding, matching, losses and suppression, each against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.detection.anchors import anchors_of, level_sizes
from jdarts.detection.boxes import IGNORED, NONE, decode, encode, match, overlaps
from jdarts.detection.losses import focal_losses, smooth_l1_losses
from jdarts.detection.retinanet import LevelOutputs
from jdarts.detection.suppression import detections, suppressed

RNG = np.random.default_rng(1)


def random_boxes(count: int, side: float = 60.0) -> np.ndarray:
    low = RNG.uniform(0, side * 0.7, (count, 2))
    return np.concatenate([low, low + RNG.uniform(2, side * 0.5, (count, 2))], 1).astype(np.float32)


def iou(a, b) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def test_the_article_size_has_201600_anchors():
    sizes = level_sizes(800, 1344)
    assert sizes == [(100, 168), (50, 84), (25, 42), (13, 21), (7, 11)]
    assert anchors_of(sizes).shape == (201_600, 4)


def test_anchors_are_the_shapes_of_the_paper_around_the_places():
    sizes = level_sizes(64, 96)
    found, expected = anchors_of(sizes), []
    for stride, (rows, columns) in zip((8, 16, 32, 64, 128), sizes, strict=True):
        for y in range(rows):
            for x in range(columns):
                for ratio in (0.5, 1, 2):
                    for octave in range(3):
                        side = 4 * stride * 2 ** (octave / 3)
                        w, h = side / ratio**0.5, side * ratio**0.5
                        expected.append(
                            [x * stride - w / 2, y * stride - h / 2, x * stride + w / 2, y * stride + h / 2]
                        )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_overlaps():
    one, other = random_boxes(15), random_boxes(7)
    other[3] = (5, 5, 5, 20)  # empty
    expected = [[iou(a, b) for b in other] for a in one]
    np.testing.assert_allclose(overlaps(jnp.asarray(one), jnp.asarray(other)), expected, rtol=1e-5, atol=1e-7)
    assert np.count_nonzero(expected) > 20


def test_coding():
    boxes, anchors = random_boxes(30), random_boxes(30)
    codes = np.asarray(encode(jnp.asarray(boxes), jnp.asarray(anchors)))
    w, h = (anchors[:, 2:] - anchors[:, :2]).T
    np.testing.assert_allclose(codes[:, 0], (boxes[:, ::2].mean(1) - anchors[:, ::2].mean(1)) / w, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(codes[:, 3], np.log((boxes[:, 3] - boxes[:, 1]) / h), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(decode(jnp.asarray(codes), jnp.asarray(anchors), (99, 99)), boxes, atol=1e-3)
    cut = np.asarray(decode(jnp.asarray(codes), jnp.asarray(anchors), (20, 30)))
    np.testing.assert_allclose(cut, np.clip(boxes, 0, [30, 20, 30, 20]), atol=1e-3)
    wide = decode(jnp.asarray([[0.0, 0, 50, 0]]), jnp.asarray([[100.0, 0, 116, 10]]), (10, 5000))
    assert float(wide[0, 2] - wide[0, 0]) == pytest.approx(108 + 500, abs=1), "16 pixels grow at most to 1000"


def plain_match(anchors, boxes, classes):
    """As the assigner of MMDetection describes it, one anchor and one object at a time.

    The overlaps are those of `overlaps`, since rounding decides among anchors that overlap equally.
    """
    found = np.full(len(anchors), NONE)
    objects = [j for j, kind in enumerate(classes) if kind >= 0]
    table = np.asarray(overlaps(jnp.asarray(anchors), jnp.asarray(boxes)))
    which = np.zeros(len(anchors), int)
    for i in range(len(anchors)):
        best = max(objects, key=lambda j: table[i, j])
        which[i] = best
        if table[i, best] >= 0.5:
            found[i] = classes[best]
        elif table[i, best] >= 0.4:
            found[i] = IGNORED
    for j in objects:
        most = max(table[i, j] for i in range(len(anchors)))
        for i in range(len(anchors)):
            if most > 0 and table[i, j] == most:
                found[i], which[i] = classes[j], j
    return found, which


def test_matching():
    anchors = anchors_of(level_sizes(64, 64))
    boxes, classes = random_boxes(6), np.array([4, 0, 2, 1, -1, -1])
    boxes[0] = (4, 4, 44, 44)
    boxes[3] = (10, 10, 13, 13)  # smaller than any anchor: found only as the best of its own
    found = match(jnp.asarray(anchors), jnp.asarray(boxes), jnp.asarray(classes))
    expected, which = plain_match(anchors, boxes, classes)
    np.testing.assert_array_equal(found.classes, expected)
    assert {NONE, IGNORED, 0, 1, 2, 4} == set(expected.tolist())
    kept = expected >= 0
    codes = encode(jnp.asarray(boxes[which]), jnp.asarray(anchors))
    np.testing.assert_allclose(found.boxes[kept], codes[kept], rtol=1e-5, atol=1e-6)
    none = match(jnp.asarray(anchors), jnp.zeros((2, 4)), jnp.full(2, -1))
    assert (np.asarray(none.classes) == NONE).all() and np.isfinite(none.boxes).all()


def test_focal_loss_and_its_gradient():
    logits, targets = RNG.normal(0, 3, (6, 5)), RNG.integers(0, 2, (6, 5))
    with jax.enable_x64(True):
        found = focal_losses(jnp.asarray(logits), jnp.asarray(targets))
        gradient = jax.grad(lambda x: focal_losses(x, jnp.asarray(targets)).sum())(jnp.asarray(logits))
    p = 1 / (1 + np.exp(-logits))
    t = np.where(targets == 1, p, 1 - p)
    alpha = np.where(targets == 1, 0.25, 0.75)
    np.testing.assert_allclose(found, -alpha * (1 - t) ** 2 * np.log(t), rtol=1e-9)
    sign = np.where(targets == 1, 1, -1)
    closed = alpha * sign * (1 - t) ** 2 * (2 * t * np.log(t) + t - 1)  # Lin et al. 2017, appendix B
    np.testing.assert_allclose(gradient, closed, rtol=1e-8, atol=1e-12)


def test_smooth_l1():
    x = np.array([-3.0, -0.05, 0.0, 0.1, 2.0])
    for beta in (0.0, 0.11, 1.0):
        expected = [abs(v) if beta == 0 or abs(v) >= beta else v * v / beta / 2 for v in x]
        expected = [e - beta / 2 if beta and abs(v) >= beta else e for e, v in zip(expected, x, strict=True)]
        np.testing.assert_allclose(smooth_l1_losses(jnp.asarray(x), jnp.zeros(5), beta), expected, rtol=1e-6)


def plain_suppression(boxes, scores, classes, count):
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        if scores[i] > 0 and all(classes[i] != classes[j] or iou(boxes[i], boxes[j]) <= 0.5 for j in kept):
            kept.append(i)
    return kept[:count]


def test_suppression():
    boxes, scores, classes = random_boxes(80, 30.0), RNG.permutation(80) / 80, RNG.integers(0, 3, 80)
    expected = plain_suppression(boxes, scores, classes, 80)
    found = suppressed(jnp.asarray(boxes), jnp.asarray(scores, jnp.float32), jnp.asarray(classes), 80)
    n = len(expected)
    assert 10 < n < 79, "some are suppressed, and some places stay empty"
    np.testing.assert_allclose(found.boxes[:n], boxes[expected])
    np.testing.assert_allclose(found.scores[:n], scores[expected], rtol=1e-6)
    np.testing.assert_array_equal(found.classes, [*classes[expected], *[-1] * (80 - n)])


def test_detections_of_outputs():
    """With more pairs above the least score at the first level than a level keeps."""
    sides = (96, 96)
    sizes, classes = level_sizes(*sides), 3
    outputs = [
        LevelOutputs(
            RNG.normal(-1 if h > 8 else -4, 2, (2, h, w, 9, classes)).astype(np.float32),  # pyright: ignore[reportArgumentType]
            RNG.normal(0, 0.2, (2, h, w, 9, 4)).astype(np.float32),  # pyright: ignore[reportArgumentType]
        )
        for h, w in sizes
    ]
    found = jax.jit(lambda outputs: detections(outputs, sides))(outputs)
    anchors = anchors_of(sizes)
    for image in range(2):
        rows, first = [], 0
        for level in outputs:
            scores = 1 / (1 + np.exp(-np.asarray(level.classes[image]).reshape(-1)))
            order = np.argsort(-scores, kind="stable")[:1000]
            codes = np.asarray(level.boxes[image]).reshape(-1, 4)
            for pair in order[scores[order] > 0.05]:
                anchor, code = anchors[first + pair // classes], codes[pair // classes]
                w, h = anchor[2:] - anchor[:2]
                x, y = (anchor[:2] + anchor[2:]) / 2 + code[:2] * (w, h)
                half = np.array([w, h]) * np.exp(code[2:]) / 2
                box = np.clip([x - half[0], y - half[1], x + half[0], y + half[1]], 0, 96)
                rows.append((*box, scores[pair], pair % classes))
            first += len(codes)
        table = np.array(rows)
        kept = plain_suppression(table[:, :4], table[:, 4], table[:, 5], 100)
        np.testing.assert_allclose(found.scores[image], table[kept, 4], rtol=1e-5)
        np.testing.assert_allclose(found.boxes[image], table[kept, :4], atol=1e-3)
        np.testing.assert_array_equal(found.classes[image], table[kept, 5])
