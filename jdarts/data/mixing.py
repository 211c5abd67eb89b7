"""Mixup (Zhang et al. 2018, arXiv:1710.09412) and cutmix (Yun et al. 2019, arXiv:1905.04899) of a batch.

Neighbours in the batch, rows 2i and 2i + 1, are mixed with each other, so that no image leaves its device. The batch is
in random order, so that the pairs are random. Number and box are drawn for each batch, as in the code of the papers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Mixed(NamedTuple):
    """A mixed batch.

    Attributes:
      images: [B, H, W, C].
      partners: the labels of the images that were mixed in, [B].
      kept: the share of the own image, and of its label in the loss, a scalar.
    """

    images: jax.Array
    partners: jax.Array
    kept: jax.Array


def swapped(rows: jax.Array) -> jax.Array:
    """The rows [B, …] with each pair of neighbours exchanged; B is even."""
    return rows.reshape(-1, 2, *rows.shape[1:])[:, ::-1].reshape(rows.shape)


def mixup(key: jax.Array, images: jax.Array, labels: jax.Array, alpha: float) -> Mixed:
    """λ · image + (1 − λ) · partner, with λ from Beta(α, α)."""
    kept = jax.random.beta(key, alpha, alpha).astype(images.dtype)
    return Mixed(kept * images + (1 - kept) * swapped(images), swapped(labels), kept)


def draw_box(key: jax.Array, height: int, width: int, alpha: float) -> jax.Array:
    """The first and last row and column of a box, int32 [4]: (top, bottom, left, right), the last ones excluded.

    Its sides are √(1 − λ) of those of the image, with λ from Beta(α, α); its centre is uniform, and the border cuts it.
    """
    share_key, *centre_keys = jax.random.split(key, 3)
    side = jnp.sqrt(1 - jax.random.beta(share_key, alpha, alpha))
    edges = []
    for length, own in zip((height, width), centre_keys, strict=True):
        size = (length * side).astype(jnp.int32)
        first = jax.random.randint(own, (), 0, length, jnp.int32) - size // 2
        edges += [jnp.clip(first, 0, length), jnp.clip(first + size, 0, length)]
    return jnp.stack(edges)


def cut_in(images: jax.Array, labels: jax.Array, box: jax.Array) -> Mixed:
    """Each image with the `box` of its partner."""
    _, height, width, _ = images.shape
    top, bottom, left, right = box
    rows, columns = jnp.arange(height), jnp.arange(width)
    inside = ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))
    kept = 1 - ((bottom - top) * (right - left)).astype(images.dtype) / (height * width)
    return Mixed(jnp.where(inside[:, :, None], swapped(images), images), swapped(labels), kept)


def cutmix(key: jax.Array, images: jax.Array, labels: jax.Array, alpha: float) -> Mixed:
    """Each image with a random box of its partner; the labels count by area."""
    return cut_in(images, labels, draw_box(key, images.shape[1], images.shape[2], alpha))


def mix(key: jax.Array, images: jax.Array, labels: jax.Array, *, mixup_alpha: float, cutmix_alpha: float) -> Mixed:
    """`mixup`, `cutmix`, or one of them by the toss of a coin if both parameters are above 0."""
    if not cutmix_alpha:
        return mixup(key, images, labels, mixup_alpha)
    if not mixup_alpha:
        return cutmix(key, images, labels, cutmix_alpha)
    coin_key, own_key = jax.random.split(key)
    return jax.lax.cond(
        jax.random.bernoulli(coin_key),
        lambda: mixup(own_key, images, labels, mixup_alpha),
        lambda: cutmix(own_key, images, labels, cutmix_alpha),
    )
