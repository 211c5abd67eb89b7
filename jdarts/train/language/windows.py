"""Windows of random length of a text in columns (Merity et al. 2018, §5; DARTS code)."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jdarts.data.text import columns

SHORT = 0.05
"""Share of the windows whose lengths are around half the usual one."""
SPREAD = 5.0
"""Standard deviation of the lengths, in words."""
SHORTEST = 5
"""Words in the shortest window that is drawn."""
LONGER = 20
"""Words by which a window may exceed the usual length."""


@dataclass(frozen=True)
class Windows:
    """The windows of a text in columns of `words` words.

    A window has `int(N(base, 5))` words, where base is `bptt`, or with probability 0.05 `bptt / 2`; at least 5, at most
    `bptt + 20`, and no more than are left before the end of the text. Its last word is only a target.
    """

    bptt: int
    words: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """The lengths at which windows are computed, in ascending order; a shorter window is masked."""
        usual = (self.bptt + more for more in (-5, 0, 5, 10, LONGER))
        return tuple(sorted({max(1, min(size, self.words - 1)) for size in usual}))

    @property
    def steps_per_epoch(self) -> int:
        """Windows in which the text is read once, on average."""
        return math.ceil((self.words - 1) / mean_length(self.bptt))

    def length(self, key: jax.Array, start: jax.Array) -> jax.Array:
        """The number of words of a window from column position `start` on."""
        return jnp.minimum(draw_length(key, self.bptt), self.words - 1 - start)

    def after(self, start: jax.Array, length: jax.Array) -> jax.Array:
        """The start of the next window; 0 if the text has ended."""
        return jnp.where(start + length >= self.words - 1, 0, start + length)

    def padded(self, text: np.ndarray, batch: int) -> jax.Array:
        """The columns of `text` as `[words + size, batch]`, for the largest of `sizes`; the padding is 0."""
        return jnp.asarray(columns(text, batch, pad=self.sizes[-1]))


def draw_length(key: jax.Array, bptt: int) -> jax.Array:
    """A random length, before the end of the text limits it."""
    short_key, normal_key = jax.random.split(key)
    base = jnp.where(jax.random.bernoulli(short_key, SHORT), bptt / 2, float(bptt))
    drawn = (base + SPREAD * jax.random.normal(normal_key)).astype(jnp.int32)  # towards zero, as Python's int
    return jnp.clip(drawn, SHORTEST, bptt + LONGER)


def mean_length(bptt: int) -> float:
    """The expected value of `draw_length`: 5 plus the sum of the probabilities of at least 6, 7, … words."""

    def at_least(words: int, base: float) -> float:
        return 0.5 * math.erfc((words - base) / SPREAD / math.sqrt(2))

    longer = range(SHORTEST + 1, bptt + LONGER + 1)
    return SHORTEST + sum((1 - SHORT) * at_least(n, bptt) + SHORT * at_least(n, bptt / 2) for n in longer)


def window(text: jax.Array, start: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """`(tokens, targets)` `[size, batch]` of padded columns."""
    both = lax.dynamic_slice_in_dim(text, start, size + 1)
    return both[:-1], both[1:]
