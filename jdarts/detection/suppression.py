"""From the outputs of a detector to its detections: the best scores, boxes, non-maximum suppression.

Letters: N images, K classes, D detections.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jdarts.detection.anchors import anchors_of
from jdarts.detection.boxes import decode, overlaps
from jdarts.detection.retinanet import LevelOutputs

PER_LEVEL = 1000
LEAST_SCORE = 0.05
OVERLAP = 0.5
DETECTIONS = 100


class Detections(NamedTuple):
    """Detections of images by falling score: boxes `[N, D, 4]`, scores `[N, D]`, classes `[N, D]` (-1: none)."""

    boxes: jax.Array
    scores: jax.Array
    classes: jax.Array


def suppressed(boxes: jax.Array, scores: jax.Array, classes: jax.Array, count: int = DETECTIONS) -> Detections:
    """The best `count` of the boxes `[B, 4]` of one image after non-maximum suppression within each class.

    Greedy: the best remaining box is kept, and the boxes of its class that overlap with it by more than `OVERLAP` fall.
    Boxes with a score of 0 are none.
    """

    def keep(remaining, _):
        best = jnp.argmax(remaining)
        score = remaining[best]
        shared = overlaps(boxes[best][None], boxes)[0]
        falls = ((shared > OVERLAP) & (classes == classes[best])) | (jnp.arange(len(boxes)) == best)
        one = Detections(boxes[best], score, jnp.where(score > 0, classes[best], -1))
        return jnp.where(falls, 0, remaining), one

    return lax.scan(keep, scores, length=count)[1]


def detections(outputs: Sequence[LevelOutputs], sides: tuple[int, int]) -> Detections:
    """The detections in images of height and width `sides`.

    At every level the best `PER_LEVEL` pairs of an anchor and a class with a score above `LEAST_SCORE` remain; then
    all levels together pass the suppression.
    """
    anchors = jnp.asarray(anchors_of([level.classes.shape[1:3] for level in outputs]))  # pyright: ignore[reportArgumentType]
    first, parts = 0, []
    for level in outputs:
        images, classes = level.classes.shape[0], level.classes.shape[-1]
        scores = jax.nn.sigmoid(level.classes.astype(jnp.float32)).reshape(images, -1)
        best, pairs = lax.top_k(scores, min(PER_LEVEL, scores.shape[1]))
        places, kinds = pairs // classes, pairs % classes
        codes = jnp.take_along_axis(level.boxes.reshape(images, -1, 4), places[..., None], 1).astype(jnp.float32)
        boxes = decode(codes, anchors[first + places], sides)
        parts.append((boxes, jnp.where(best > LEAST_SCORE, best, 0), kinds))
        first += scores.shape[1] // classes
    boxes, scores, kinds = (jnp.concatenate(part, 1) for part in zip(*parts, strict=True))
    return jax.vmap(suppressed)(boxes, scores, kinds)
