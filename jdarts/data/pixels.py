"""Arrays of pixels in common forms, converted to uint8 [N, H, W, C].

Letters: N images, H height, W width, C channels.
"""

import warnings
from collections.abc import Mapping

import numpy as np

from jdarts.errors import DataNote, DataWarning, UserError

_CHUNK = 4096  # images converted at once


def as_uint8(data: str, splits: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The images of all splits as uint8 [N, H, W, C]; a `DataNote` reports each conversion.

    Accepted are [N, H, W], [N, H, W, C], and [N, C, H, W] with 1 or 3 channels; integers from 0 to 255, booleans,
    and floats from 0 to 1 or from 0 to 255, which are rounded. The training split decides the scale of the floats.

    Raises `UserError` for other shapes and ranges, for NaN and for infinities.
    """
    first = _channels_first(data, splits)
    placed = {split: _with_channels(f"{data}: {split}", images, first) for split, images in splits.items()}
    ranges = {split: _range(f"{data}: {split}", images) for split, images in placed.items()}
    unit = ranges["train"][1] <= 1
    scales = {split: _scale(f"{data}: {split}", images, ranges[split], unit) for split, images in placed.items()}
    _note(data, placed, ranges, scales)
    return {split: _converted(images, scales[split]) for split, images in placed.items()}


def _channels_first(data: str, splits: Mapping[str, np.ndarray]) -> bool:
    shape = splits["train"].shape
    if len(shape) != 4 or shape[1] not in (1, 3) or shape[3] <= 4:
        return False
    warnings.warn(
        f"{data}: images have shape {list(shape)}, which is read as [N, C, H, W]; the channels are moved to the end",
        DataNote,
        stacklevel=4,
    )
    return True


def _with_channels(where: str, images: np.ndarray, channels_first: bool) -> np.ndarray:
    if images.ndim not in (3, 4):
        raise UserError(
            f"{where} images have shape {list(images.shape)}; give [N, H, W] or [N, H, W, C]"
            + (", for example with x.reshape(-1, 32, 32, 3)" if images.ndim == 2 else "")
        )
    if images.ndim == 3:
        images = images[..., None]
    elif channels_first:
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    if 0 in images.shape[1:]:
        raise UserError(f"{where} images have shape {list(images.shape)}, which holds no pixels; give larger images")
    return images


def _range(where: str, images: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest pixel; refuses values that are not numbers."""
    if images.dtype.kind not in "biuf":
        raise UserError(f"{where} images have dtype {images.dtype}; give pixels as numbers from 0 to 255")
    if images.dtype == np.uint8 or not len(images):
        return 0, int(images.max(initial=0))
    parts = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
    low, high = min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
    if images.dtype.kind == "f" and not all(np.isfinite(part).all() for part in parts):
        odd = np.concatenate([~np.isfinite(part).all((1, 2, 3)) for part in parts])
        raise UserError(
            f"{where} images have pixels that are NaN or infinite in {int(odd.sum()):,} of {len(images):,} images "
            f"(the first is number {int(np.argmax(odd))}); repair or remove them"
        )
    return low, high


def _scale(where: str, images: np.ndarray, limits: tuple[float, float], unit: bool) -> int:
    """The factor that scales pixels to 0 to 255; refuses pixels outside that range. `unit`: floats end at 1."""
    low, high = limits
    kind = images.dtype.kind
    largest = 1 if kind == "b" or (kind == "f" and unit) else 255
    if low < 0 or high > largest:
        advice = "give raw pixels from 0 to 255; jdarts normalises them itself"
        if low >= 0 and 255 < high <= 65535:
            advice = "16-bit pixels must be reduced to 8 bits, for example with (x // 257).astype('uint8')"
        elif low >= 0 and largest == 1:
            advice = "the training images run from 0 to 1; give all splits one scale"
        raise UserError(f"{where} images are {images.dtype} from {low:g} to {high:g}; {advice}")
    return 255 if largest == 1 else 1


def _note(
    data: str,
    splits: Mapping[str, np.ndarray],
    ranges: Mapping[str, tuple[float, float]],
    scales: Mapping[str, int],
) -> None:
    """One note for all splits with the same conversion."""
    groups: dict[tuple[np.dtype, int], list[str]] = {}
    for split, images in splits.items():
        if images.dtype != np.uint8:
            groups.setdefault((images.dtype, scales[split]), []).append(split)
        elif ranges[split][1] == 1:
            text = f"{data}: {split} images have no pixel above 1 of 255; were they scaled?"
            warnings.warn(text, DataWarning, stacklevel=4)
    for (dtype, scale), names in groups.items():
        low, high = min(ranges[name][0] for name in names), max(ranges[name][1] for name in names)
        times = ", multiplied by 255" if scale == 255 else ""
        warnings.warn(
            f"{data}: {' and '.join(names)} images are {dtype} from {low:g} to {high:g}; they are read as 8-bit pixels"
            f"{times}{' and rounded' if dtype.kind == 'f' else ''}",
            DataNote,
            stacklevel=4,
        )


def _converted(images: np.ndarray, scale: int) -> np.ndarray:
    if images.dtype == np.uint8:
        return images
    result = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK]
        if part.dtype.kind == "f":
            wide = part if part.dtype == np.float64 else part.astype(np.float32)
            result[start : start + _CHUNK] = np.rint(wide * np.float32(scale))
        else:
            result[start : start + _CHUNK] = part * np.uint8(scale)
    return result
