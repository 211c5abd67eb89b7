"""Pictures of boxes."""

import colorsys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def draw_boxes(image: np.ndarray, boxes: Iterable[tuple[Any, str, int]]) -> Any:
    """A picture of Pillow: `image` uint8 [H, W, 3] with `(box, text, class)` of every object."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for box, text, number in reversed(list(boxes)):  # the best ones, which come first, on top
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(number * 0.381966 % 1, 0.9, 1.0))
        left, top, right, bottom = map(float, box)
        draw.rectangle((left, top, right, bottom), outline=(red, green, blue), width=2)
        place = draw.textbbox((left + 2, max(top - 11, 0)), text)
        draw.rectangle(place, fill=(red, green, blue))
        draw.text((left + 2, max(top - 11, 0)), text, fill=(0, 0, 0))
    return picture


def save_boxes(file: Path, image: np.ndarray, boxes: Iterable[tuple[Any, str, int]]) -> None:
    """Write the picture of `draw_boxes` as a file."""
    draw_boxes(image, boxes).save(file)
