"""Anchors: boxes of nine shapes at every place of the features of every level."""

from collections.abc import Sequence

import numpy as np

STRIDES = (8, 16, 32, 64, 128)
SCALES = tuple(4 * 2 ** (octave / 3) for octave in range(3))
"""Sides of an anchor in strides."""
RATIOS = (0.5, 1.0, 2.0)
"""Heights of an anchor divided by its width."""
PER_PLACE = len(SCALES) * len(RATIOS)


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Height and width of the features of each level for an image; every stride is rounded up."""
    return [(-(-height // stride), -(-width // stride)) for stride in STRIDES]


def anchors_of(sizes: Sequence[tuple[int, int]]) -> np.ndarray:
    """All anchors, float32 `[A, 4]`, level by level, row by row, by ratio and then by scale.

    The anchors of place (i, j) are centred on the pixel (stride · j, stride · i) and have the area (scale · stride)².
    `sizes` are those of `level_sizes`.
    """
    levels = []
    for stride, (rows, columns) in zip(STRIDES, sizes, strict=True):
        root = np.sqrt(np.asarray(RATIOS))[:, None]
        heights = (stride * root * np.asarray(SCALES)).ravel()
        widths = (stride / root * np.asarray(SCALES)).ravel()
        shapes = np.stack([-widths, -heights, widths, heights], -1) / 2
        y, x = np.meshgrid(np.arange(rows) * stride, np.arange(columns) * stride, indexing="ij")
        centres = np.stack([x, y, x, y], -1).reshape(-1, 1, 4)
        levels.append((centres + shapes).reshape(-1, 4))
    return np.concatenate(levels).astype(np.float32)
