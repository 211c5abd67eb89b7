"""Dropout with masks that are constant over a sequence (Gal & Ghahramani 2016; Merity et al. 2018, §4)."""

from typing import Any, NamedTuple

import jax

from jdarts.errors import UserError

Mask = jax.Array | float
"""Factors of values to keep or drop; 1.0 keeps all."""


class CellMasks(NamedTuple):
    """Masks of a cell: `x [batch, embedding]` of its input, `hidden [batch, units]` of what its products read."""

    x: Mask = 1.0
    hidden: Mask = 1.0


def keep_mask(key: jax.Array, rate: Any, shape: tuple[int, ...], dtype) -> jax.Array:
    """0 with probability `rate`, else 1 / (1 − rate)."""
    return jax.random.bernoulli(key, 1 - rate, shape).astype(dtype) / (1 - rate)


def check_rate(name: str, rate: Any) -> None:
    """Raise `UserError` unless `rate` is a probability below 1; that of a traced number is not known."""
    if isinstance(rate, jax.Array):
        return
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise UserError(f"{name} is {rate!r}; it is a probability of at least 0 and below 1")
