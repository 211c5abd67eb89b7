"""The batches of analyses, on images and on text. The state of the search is not part of them."""

from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.config import Experiment
from jdarts.data import Augmentation, SearchData
from jdarts.data.text import TextData, columns
from jdarts.search.batches import Split
from jdarts.search.objective import Batch


class Examples(Protocol):
    """The examples of both splits in batches of one size, numbered from 0."""

    @property
    def unit(self) -> str:
        """The name of what a batch has `size` of."""
        ...

    @property
    def norms_a_pass(self) -> int:
        """The number of times that a forward pass moves the running averages of a batch norm."""
        ...

    def rows(self, split: Split, size: int, key: jax.Array | None) -> np.ndarray:
        """The rows of all disjoint batches, `[batches, …]`: in random order, or in that of the split without a key."""
        ...

    def batch(self, split: Split, size: int, rows: np.ndarray, key: jax.Array, augmented: bool) -> Batch:
        """The batch of some rows; the key augments it."""
        ...


@dataclass(frozen=True, eq=False)
class ImageExamples:
    """Batches of images."""

    config: Experiment
    data: SearchData
    unit: str = "images"
    norms_a_pass: int = 1

    def rows(self, split: Split, size: int, key: jax.Array | None) -> np.ndarray:
        """The numbers of the images, `[batches, size]`."""
        n = len(getattr(self.data, split))
        order = np.arange(n) if key is None else np.asarray(jax.random.permutation(key, n))
        return order[: n // size * size].reshape(-1, size)

    def batch(self, split: Split, size: int, rows: np.ndarray, key: jax.Array, augmented: bool) -> Batch:
        """Normalised images and their labels."""
        images, settings = getattr(self.data, split), self.config.data
        augmentation = Augmentation(
            mean=self.data.mean,
            std=self.data.std,
            crop_padding=settings.crop_padding if augmented else 0,
            flip=settings.flip and augmented,
            cutout=settings.search_cutout if augmented else 0,
        )
        return {
            "images": augmentation(key, jnp.asarray(images.images[rows])),
            "labels": jnp.asarray(images.labels[rows]),
        }


@dataclass(frozen=True, eq=False)
class TextExamples:
    """Batches of text: windows of `bptt` words in `size` columns, which start with a hidden state of zeros.

    Attributes:
      nodes: of a cell; each has the batch norm once in every time step.
    """

    config: Experiment
    data: TextData
    nodes: int
    unit: str = "columns"

    @property
    def norms_a_pass(self) -> int:
        """One for each node and word."""
        return self.nodes * self.config.language_search.bptt

    def rows(self, split: Split, size: int, key: jax.Array | None) -> np.ndarray:
        """The first words of the windows, `[windows]`."""
        bptt = self.config.language_search.bptt
        n = max(len(self._text(split)) // size - 1, 0) // bptt
        return bptt * (np.arange(n) if key is None else np.asarray(jax.random.permutation(key, n)))

    def batch(self, split: Split, size: int, rows: np.ndarray, key: jax.Array, augmented: bool) -> Batch:
        """A whole window; there is no augmentation and no penalty."""
        del key, augmented
        settings, text, start = self.config.language_search, columns(self._text(split), size).T, int(rows)
        return {
            "tokens": jnp.asarray(text[:, start : start + settings.bptt]),
            "targets": jnp.asarray(text[:, start + 1 : start + settings.bptt + 1]),
            "hidden": jnp.zeros((size, settings.units)),
            "length": jnp.int32(settings.bptt),
            "position": jnp.int32(start + settings.bptt),
            "slowness": jnp.zeros(()),
        }

    def _text(self, split: Split) -> np.ndarray:
        return self.data.train if split == "train" else self.data.valid


def examples_of(config: Experiment, data: SearchData | TextData, space: Any) -> Examples:
    """The examples of a search."""
    if isinstance(data, TextData):
        return TextExamples(config, data, space.nodes + 1)
    return ImageExamples(config, data)
