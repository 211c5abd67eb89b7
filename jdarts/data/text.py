"""Text as word numbers: training, validation and test text of one vocabulary."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False, kw_only=True)
class TextData:
    """A text in three parts.

    Attributes:
      name: of the source.
      train, valid, test: word numbers, `[words]` int32.
      vocabulary: the words, by their numbers.
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    vocabulary: tuple[str, ...]
