"""Augmentation on the device: pure functions of a key, jittable, with a separate draw for every image.

Each random operation consists of a draw (`draw_*`) and a deterministic function of it.
Dimension letters: B images in a batch, H height, W width, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jdarts.devices.replicas import WHOLE, Share
from jdarts.errors import UserError

Statistics = Sequence[float] | ArrayLike


def draw_crop_offsets(key: jax.Array, batch: int, padding: int) -> jax.Array:
    """Top-left corners (y, x) of the crops in the padded images, uniform in 0 .. 2*padding, int32 [B, 2]."""
    return jax.random.randint(key, (batch, 2), 0, 2 * padding + 1, dtype=jnp.int32)


def crop(images: jax.Array, offsets: jax.Array, padding: int) -> jax.Array:
    """Pad [B, H, W, C] with zeros on all sides and cut an H x W window at each image's offset."""
    padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))

    def window(image: jax.Array, offset: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (offset[0], offset[1], jnp.zeros_like(offset[0])), images.shape[1:])

    return jax.vmap(window)(padded, offsets)


def random_crop(key: jax.Array, images: jax.Array, padding: int, share: Share = WHOLE) -> jax.Array:
    """Random H x W crop of [B, H, W, C] images padded with `padding` black pixels; 0 changes nothing."""
    if padding == 0:
        return images
    return crop(images, share.of(draw_crop_offsets(key, share.total(len(images)), padding)), padding)


def draw_flips(key: jax.Array, batch: int) -> jax.Array:
    """Mask of the images to mirror, each with probability one half, bool [B]."""
    return jax.random.bernoulli(key, 0.5, (batch,))


def flip(images: jax.Array, flips: jax.Array) -> jax.Array:
    """Mirror left and right those images of [B, H, W, C] whose entry in `flips` [B] is true."""
    return jnp.where(flips[:, None, None, None], images[:, :, ::-1], images)


def random_flip(key: jax.Array, images: jax.Array, share: Share = WHOLE) -> jax.Array:
    """Mirror each image of [B, H, W, C] left and right with probability one half."""
    return flip(images, share.of(draw_flips(key, share.total(len(images)))))


def draw_cutout_centers(key: jax.Array, batch: int, height: int, width: int) -> jax.Array:
    """Centres (y, x) of the cutout squares, uniform over the pixels of the image, int32 [B, 2]."""
    limits = jnp.array([height, width], jnp.int32)
    return jax.random.randint(key, (batch, 2), 0, limits, dtype=jnp.int32)


def cutout_at(images: jax.Array, centers: jax.Array, side: int) -> jax.Array:
    """Zero the square [c - side//2, c - side//2 + side) around each centre c, clipped at the border."""
    _, height, width, _ = images.shape
    first = centers - side // 2
    y, x = jnp.arange(height), jnp.arange(width)
    rows = (y >= first[:, :1]) & (y < first[:, :1] + side)
    columns = (x >= first[:, 1:]) & (x < first[:, 1:] + side)
    inside = rows[:, :, None, None] & columns[:, None, :, None]
    return jnp.where(inside, jnp.zeros((), images.dtype), images)


def cutout(key: jax.Array, images: jax.Array, side: int, share: Share = WHOLE) -> jax.Array:
    """Cutout (DeVries & Taylor 2017, arXiv:1708.04552) of a `side` x `side` square; 0 changes nothing.

    For normalised images [B, H, W, C], where zero is the mean colour.
    """
    if side == 0:
        return images
    centers = draw_cutout_centers(key, share.total(len(images)), *images.shape[1:3])
    return cutout_at(images, share.of(centers), side)


def normalize(images: jax.Array, *, mean: Statistics, std: Statistics, dtype: DTypeLike | None = None) -> jax.Array:
    """`(images / 255 - mean) / std` per channel: uint8 [B, H, W, C] to `dtype`, computed in float32 or better.

    `dtype` None is float32, or float64 under `jax_enable_x64`.

    Raises `UserError` if the images are not uint8 [B, H, W, C] or the statistics do not have C values.
    """
    if images.dtype != jnp.uint8 or images.ndim != 4:
        raise UserError(f"images are {images.dtype} {list(images.shape)}; give uint8 [batch, height, width, channels]")
    dtype = dtype or jnp.result_type(float)
    working = jnp.promote_types(dtype, jnp.float32)
    shift, scale = jnp.asarray(mean, working), jnp.asarray(std, working)
    for name, value in (("mean", shift), ("std", scale)):
        if value.shape != images.shape[-1:]:
            raise UserError(f"{name} has shape {list(value.shape)}; the images have {images.shape[-1]} channels")
    return ((images.astype(working) / 255 - shift) / scale).astype(dtype)


@dataclass(frozen=True, eq=False, kw_only=True)
class Augmentation:
    """The training augmentation of the DARTS code: random crop, mirror, normalise, cutout.

    `augmentation(key, images)` maps uint8 [B, H, W, C] to `dtype` of the same shape. The crop pads with black *before*
    normalising, so the border becomes `(0 - mean) / std`; cutout comes *after* it, so its square is 0. The three
    operations use `jax.random.split(key, 3)` in this order: switching one off does not change the draws of the others.

    Attributes:
      mean, std: of each channel, for pixels between 0 and 1.
      crop_padding: pixels added on each side before the crop; 0 does not crop.
      flip: mirror half of the images.
      cutout: side of the square in pixels; 0 cuts nothing out.
      dtype: of the result; None is float32, or float64 under `jax_enable_x64`.

    Example::

        augmentation = Augmentation(mean=data.mean, std=data.std, crop_padding=4, flip=True, cutout=0)
        batch = augmentation(key, images[rows])
    """

    mean: Statistics
    std: Statistics
    crop_padding: int
    flip: bool
    cutout: int
    dtype: DTypeLike | None = None

    def __call__(self, key: jax.Array, images: jax.Array, share: Share = WHOLE) -> jax.Array:
        """Augment the images of one replica.

        The draws are made for the whole batch and `share` takes those of the replica, so that an image is augmented in
        the same way on any number of devices.
        """
        normal = normalize(self.placed(key, images, share), mean=self.mean, std=self.std, dtype=self.dtype)
        return cutout(jax.random.split(key, 3)[2], normal, self.cutout, share)

    def placed(self, key: jax.Array, images: jax.Array, share: Share = WHOLE) -> jax.Array:
        """The images [B, H, W, ·] of any type, cropped and mirrored only."""
        crop_key, flip_key, _ = jax.random.split(key, 3)
        images = random_crop(crop_key, images, self.crop_padding, share)
        return random_flip(flip_key, images, share) if self.flip else images
