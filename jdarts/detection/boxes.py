"""Boxes: overlaps, coding against anchors, and the objects that anchors shall find.

Letters: A anchors, M objects (padded), K classes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

FOREGROUND, BACKGROUND = 0.5, 0.4
"""An anchor shall find an object from this overlap on, and none below that one."""
NONE, IGNORED = -1, -2
"""Classes of anchors that shall find nothing, and of those that do not train."""
_LARGEST = 4.135166556742356  # log(1000 / 16), of the growth of a side


class Matched(NamedTuple):
    """Targets of anchors: classes int32 [A] (or `NONE`, `IGNORED`) and coded boxes [A, 4]."""

    classes: jax.Array
    boxes: jax.Array


def area(boxes: jax.Array) -> jax.Array:
    """Areas `[…]` of boxes `[…, 4]`; 0 of empty ones."""
    return jnp.prod(jnp.maximum(boxes[..., 2:] - boxes[..., :2], 0), -1)


def overlaps(one: jax.Array, other: jax.Array) -> jax.Array:
    """Intersection over union of all boxes `one [A, 4]` with all of `other [M, 4]`, `[A, M]`; 0 of empty boxes."""
    low = jnp.maximum(one[:, None, :2], other[None, :, :2])
    high = jnp.minimum(one[:, None, 2:], other[None, :, 2:])
    inside = jnp.prod(jnp.maximum(high - low, 0), -1)
    union = area(one)[:, None] + area(other)[None] - inside
    return jnp.where(union > 0, inside / jnp.where(union > 0, union, 1), 0)


def encode(boxes: jax.Array, anchors: jax.Array) -> jax.Array:
    """`[…, 4]`: the shift of the centre in sides of the anchor, and the logarithm of the growth of the sides."""
    size, own = anchors[..., 2:] - anchors[..., :2], jnp.maximum(boxes[..., 2:] - boxes[..., :2], 1e-6)
    shift = (boxes[..., :2] + boxes[..., 2:] - anchors[..., :2] - anchors[..., 2:]) / (2 * size)
    return jnp.concatenate([shift, jnp.log(own / size)], -1)


def decode(codes: jax.Array, anchors: jax.Array, sides: tuple[int, int]) -> jax.Array:
    """The boxes `[…, 4]` of which `encode` made `codes`, cut at the border of an image of height and width `sides`.

    Sides grow at most by the factor 1000 / 16.
    """
    size = anchors[..., 2:] - anchors[..., :2]
    centre = (anchors[..., :2] + anchors[..., 2:]) / 2 + codes[..., :2] * size
    half = size * jnp.exp(jnp.clip(codes[..., 2:], -_LARGEST, _LARGEST)) / 2
    corners = jnp.concatenate([centre - half, centre + half], -1)
    height, width = sides
    return jnp.clip(corners, 0, jnp.asarray([width, height, width, height], corners.dtype))


def match(anchors: jax.Array, boxes: jax.Array, classes: jax.Array) -> Matched:
    """The targets of all anchors for the objects of one image.

    An anchor finds the object with which it overlaps most, if by `FOREGROUND` or more; below `BACKGROUND` it finds
    none, and between them it is ignored. Every object is also found by the anchors that overlap with it more than all
    others do, whatever the overlap; of several such objects the last one counts.

    Args:
      anchors: `[A, 4]`.
      boxes: `[M, 4]`.
      classes: `[M]`; below 0 there is no object.
    """
    present = classes >= 0
    shared = jnp.where(present[None], overlaps(anchors, boxes), -1.0)
    best, which = jnp.max(shared, 1), jnp.argmax(shared, 1)
    found = best >= FOREGROUND
    closest = (shared == jnp.max(shared, 0)[None]) & present[None] & (shared > 0)
    last = shared.shape[1] - 1 - jnp.argmax(closest[:, ::-1], 1)
    forced = jnp.any(closest, 1)
    which = jnp.where(forced, last, which)
    own = jnp.where(best < BACKGROUND, NONE, IGNORED)
    assigned = jnp.where(found | forced, classes[which], own).astype(jnp.int32)
    return Matched(assigned, encode(boxes[which], anchors))
