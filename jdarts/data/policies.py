"""Augmentation policies for decoded images on the host: RandAugment and AutoAugment, with the operations of Pillow.

An operation has a level from 0 (weak) to 1 (strong) and, if it has two directions, a sign. Regions that a movement
uncovers become black.
"""

from typing import Literal

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from jdarts.data.crops import PictureChange

SIGNED = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast", "sharpness")
"""The operations with two directions."""
PLAIN_OPERATIONS = ("identity", "autocontrast", "equalize", "invert")
"""The operations without a level."""
RAND_AUGMENT = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
"""The operations of RandAugment (Cubuk et al. 2020, arXiv:1909.13719, §3)."""
STRONGEST = 30
"""The magnitude of RandAugment whose level is 1."""

_TABLE = """
posterize .4 8 rotate .6 9 | solarize .6 5 autocontrast .6 0 | equalize .8 0 equalize .6 0
posterize .6 7 posterize .6 6 | equalize .4 0 solarize .2 4 | equalize .4 0 rotate .8 8
solarize .6 3 equalize .6 0 | posterize .8 5 equalize 1 0 | rotate .2 3 solarize .6 8
equalize .6 0 posterize .4 6 | rotate .8 8 color .4 0 | rotate .4 9 equalize .6 0
equalize 0 0 equalize .8 0 | invert .6 0 equalize 1 0 | color .6 4 contrast 1 8
rotate .8 8 color 1 2 | color .8 8 solarize .8 7 | sharpness .4 7 invert .6 0
shear_x .6 5 equalize 1 0 | color .4 0 equalize .6 0 | equalize .4 0 solarize .2 4
solarize .6 5 autocontrast .6 0 | invert .6 0 equalize 1 0 | color .6 4 contrast 1 8
equalize .8 0 equalize .6 0
"""
AUTO_AUGMENT = tuple(
    tuple((op, float(probability), int(level) / 9) for op, probability, level in np.reshape(pair.split(), (2, 3)))
    for line in _TABLE.strip().splitlines()
    for pair in line.split("|")
)
"""The 25 pairs of AutoAugment for ImageNet (Cubuk et al. 2019, arXiv:1805.09501, table 9): operation, probability,
level."""


def apply(picture: Image.Image, operation: str, level: float, sign: int = 1) -> Image.Image:
    """An RGB picture after one operation.

    Shears go to 0.3, translations to 150/331 of the side, rotations to 30 degrees, blends to a factor of 1 ± 0.9.
    `posterize` keeps 8 to 4 bits, `solarize` inverts the values from a threshold of 255 to 0 on.
    """
    width, height = picture.size
    amount = sign * level
    match operation:
        case "identity":
            return picture
        case "shear_x":
            return _moved(picture, (1, 0.3 * amount, 0, 0, 1, 0))
        case "shear_y":
            return _moved(picture, (1, 0, 0, 0.3 * amount, 1, 0))
        case "translate_x":
            return _moved(picture, (1, 0, int(150 / 331 * width * amount), 0, 1, 0))
        case "translate_y":
            return _moved(picture, (1, 0, 0, 0, 1, int(150 / 331 * height * amount)))
        case "rotate":
            return picture.rotate(30 * amount)
        case "posterize":
            return ImageOps.posterize(picture, 8 - round(4 * level))
        case "solarize":
            return ImageOps.solarize(picture, round(255 * (1 - level)))
        case "autocontrast":
            return ImageOps.autocontrast(picture)
        case "equalize":
            return ImageOps.equalize(picture)
        case "invert":
            return ImageOps.invert(picture)
    enhancer = {
        "brightness": ImageEnhance.Brightness,
        "color": ImageEnhance.Color,
        "contrast": ImageEnhance.Contrast,
        "sharpness": ImageEnhance.Sharpness,
    }[operation]
    return enhancer(picture).enhance(1 + 0.9 * amount)


def _moved(picture: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix)


def rand_augment(operations: int, magnitude: int) -> PictureChange:
    """So many operations, each drawn from `RAND_AUGMENT`, all of one magnitude from 0 to 30."""

    def change(picture: Image.Image, random: np.random.Generator) -> Image.Image:
        for number in random.integers(0, len(RAND_AUGMENT), operations):
            picture = apply(picture, RAND_AUGMENT[number], magnitude / STRONGEST, int(random.integers(0, 2)) * 2 - 1)
        return picture

    return change


def auto_augment(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """The two operations of a random pair of `AUTO_AUGMENT`, each with its probability."""
    for operation, probability, level in AUTO_AUGMENT[int(random.integers(0, len(AUTO_AUGMENT)))]:
        if random.random() < probability:
            picture = apply(picture, operation, level, int(random.integers(0, 2)) * 2 - 1)
    return picture


def policy_of(
    name: Literal["none", "rand_augment", "auto_augment"], operations: int, magnitude: int
) -> PictureChange | None:
    """The policy of that name; None for none."""
    if name == "none":
        return None
    return auto_augment if name == "auto_augment" else rand_augment(operations, magnitude)
