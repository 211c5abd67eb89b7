"""Random brightness, contrast, saturation and hue of a batch of images, on the device.

The operations are those of Pillow and torchvision in floating point, on RGB images [B, H, W, 3] with values from 0 to
1: a blend with black, with the mean grey, with the image in grey, and a turn of the hue of HSV.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from jdarts.devices.replicas import WHOLE, Share

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R 601)."""


def grey(images: jax.Array) -> jax.Array:
    """The images in grey, [B, H, W, 1]."""
    return jnp.sum(images * jnp.asarray(LUMA, images.dtype), axis=-1, keepdims=True)


def blend(base: jax.Array, images: jax.Array, factors: jax.Array) -> jax.Array:
    """`base` + factor · (image − base) with a factor [B] for each image, clipped to 0 … 1."""
    factors = factors[:, None, None, None].astype(images.dtype)
    return jnp.clip(base + factors * (images - base), 0, 1)


def brightness(images: jax.Array, factors: jax.Array) -> jax.Array:
    """Each image times its factor."""
    return blend(jnp.zeros_like(images), images, factors)


def contrast(images: jax.Array, factors: jax.Array) -> jax.Array:
    """Each image moved away from, or to, its mean grey."""
    return blend(jnp.mean(grey(images), axis=(1, 2, 3), keepdims=True), images, factors)


def saturation(images: jax.Array, factors: jax.Array) -> jax.Array:
    """Each image moved away from, or to, itself in grey."""
    return blend(grey(images), images, factors)


def hue(images: jax.Array, turns: jax.Array) -> jax.Array:
    """The hue of each image turned by its part of the colour circle, [B]; saturation and value of HSV stay.

    Any turn only permutes and interpolates between the largest and the smallest of the three values of a pixel.
    """
    high, low = jnp.max(images, -1, keepdims=True), jnp.min(images, -1, keepdims=True)
    span = jnp.where(high > low, high - low, 1)
    red, green, blue = (images[..., i : i + 1] for i in range(3))
    sixth = jnp.where(
        red == high,
        (green - blue) / span,
        jnp.where(green == high, 2 + (blue - red) / span, 4 + (red - green) / span),
    )
    turned = sixth + 6 * turns[:, None, None, None].astype(images.dtype)
    # A channel falls from the largest to the smallest value as its hue lies one to two sixths of the circle away.
    distance = jnp.abs((turned - jnp.asarray((0.0, 2.0, 4.0), images.dtype) + 3) % 6 - 3)
    return jnp.clip(low + (high - low) * jnp.clip(2 - distance, 0, 1), 0, 1)


def _changed(change: Callable[..., jax.Array], amounts: jax.Array, images: jax.Array) -> jax.Array:
    return change(images, amounts)


@dataclass(frozen=True)
class ColorJitter:
    """Random factors from 1 − `strength` to 1 + `strength` and turns of the hue from −`turn` to `turn` for each image.

    The order of the four operations is drawn for each batch; torchvision draws it for each image.
    """

    strength: float
    turn: float

    def __call__(self, key: jax.Array, images: jax.Array, share: Share = WHOLE) -> jax.Array:
        """Change uint8 images [B, H, W, 3] of one replica; the result is uint8, rounded."""
        total, keys = share.total(len(images)), jax.random.split(key, 5)
        values = images.astype(jnp.result_type(float)) / 255
        low = max(0.0, 1 - self.strength)
        operations = []
        for change, own in zip((brightness, contrast, saturation), keys[:3], strict=True):
            factors = share.of(jax.random.uniform(own, (total,), values.dtype, low, 1 + self.strength))
            operations.append((change, factors))
        turns = share.of(jax.random.uniform(keys[3], (total,), values.dtype, -self.turn, self.turn))
        operations.append((hue, turns))
        branches = [partial(_changed, change, amount) for change, amount in operations]
        order = jax.random.permutation(keys[4], len(branches))
        for i in range(len(branches)):
            values = jax.lax.switch(order[i], branches, values)
        return jnp.round(255 * values).astype(jnp.uint8)
