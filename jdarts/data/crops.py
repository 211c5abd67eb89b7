"""Crops of decoded images on the host, with Pillow."""

from collections.abc import Callable
from typing import Any

import numpy as np

PictureChange = Callable[[Any, np.random.Generator], Any]
"""A change of a picture of Pillow (`jdarts.data.policies`)."""


def crop_resize(
    image: np.ndarray,
    size: int,
    random: np.random.Generator | None,
    *,
    resize: int | None = None,
    policy: PictureChange | None = None,
) -> np.ndarray:
    """Cut a part out of uint8 [H, W, C] and resize it to [size, size, 3], bilinear.

    The part is random, with 8 to 100 % of the area and sides of 3:4 to 4:3, as in Inception's augmentation (Szegedy et
    al. 2015), and `policy` changes the result. If `random` is None it is the square in the centre: the largest one, or
    that which has `size` pixels a side once the image is scaled so that its shorter side has `resize`.
    """
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGB")
    width, height = picture.size
    box = None
    for _ in range(10 if random is not None else 0):
        assert random is not None
        area = width * height * random.uniform(0.08, 1.0)
        ratio = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1))
            box = (left, top, left + w, top + h)
            break
    if box is None:
        side = min(width, height)
        if resize is not None and random is None:
            side = max(1, round(side * size / resize))
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
    resized = picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
    if policy is not None:
        assert random is not None
        resized = policy(resized, random)
    return np.asarray(resized)
