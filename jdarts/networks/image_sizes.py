"""Sizes of networks and of the images that they can take, checked by arithmetic before anything is traced."""

from typing import Any

from jdarts.errors import UserError


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """Raise `UserError` unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{name} is {value!r}; it must be a whole number of at least {least}")


def sides_of(image_size: int | tuple[int, int]) -> tuple[int, int]:
    """`(height, width)` of an image size, which is such a pair or the side of square images."""
    return (image_size, image_size) if isinstance(image_size, int) else image_size


def image_sides(images: Any) -> tuple[int, int]:
    """Height and width of `images [N, H, W, C]`; `UserError` for another number of dimensions."""
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise UserError(f"images have shape {shape}; a network takes [batch, height, width, channels]")
    return shape[1], shape[2]


def check_halvings(height: int, width: int, halvings: int, problem: str) -> None:
    """Raise `UserError` unless both sides can be halved exactly `halvings` times, to 1 pixel or more.

    An odd side cannot be halved: of the two paths of a factorised reduction one would end in ⌈side/2⌉ pixels and the
    other in ⌊side/2⌋. `problem` completes "images of 30x30 …" in the message.
    """
    factor = 2**halvings
    if height % factor or width % factor or min(height, width) < factor:
        raise UserError(f"images of {height}x{width} {problem}; use height and width divisible by {factor}")
