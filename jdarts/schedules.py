"""Schedules: values that change over the epochs of a search.

A schedule is a function of a `Clock` and is traced once for all epochs. In formulas, e is the current epoch (0 to
E − 1, constant within an epoch) and E the number of epochs. Each docstring gives the values in the first and the last
epoch, because published implementations differ by one epoch.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jdarts.errors import UserError


class Clock(NamedTuple):
    """The progress of a search.

    Attributes:
      epoch: number of finished epochs, a scalar, float32 (float64 under `jax_enable_x64`); 0 during the first epoch.
      epochs: number of epochs of the whole search, a Python number.
    """

    epoch: jax.Array
    epochs: int


Schedule = Callable[[Clock], jax.Array]


def clock_at(step: jax.Array, steps_per_epoch: int, epochs: int) -> Clock:
    """The clock during step `step`, which is 0-based and may be traced."""
    return Clock((step // steps_per_epoch).astype(jnp.result_type(float)), epochs)


def constant(value: float) -> Schedule:
    """A schedule that always returns `value`."""
    return lambda clock: jnp.full_like(clock.epoch, value)


def ramp(start: float, end: float, *, reached: Literal["last", "after"] = "last") -> Schedule:
    """A linear schedule from `start` in the first epoch to `end`, which is `reached` in the last epoch or one later.

    "last": `start + (end − start) · e / (E − 1)` (GDAS, SNAS, RobustDARTS); a search of one epoch stays at `start`.
    "after": `start + (end − start) · e / E` (SmoothDARTS, β-DARTS).

    Raises `UserError` for another `reached`.
    """
    if reached not in ("last", "after"):
        raise UserError(f"reached is {reached!r}; it must be 'last' or 'after'")

    def value(clock):
        span = max(clock.epochs - 1, 1) if reached == "last" else clock.epochs
        return start + (end - start) * clock.epoch / span

    return value


def decay(
    start: float, shape: Literal["linear", "cosine", "slow_cosine", "step"] = "linear", *, last_epochs: int = 0
) -> Schedule:
    """Decay from `start` towards 0 (DARTS-, Chu et al. 2021).

    The decay takes the last `last_epochs` epochs, or all epochs if `last_epochs` is 0. Let T be the number of epochs of
    the decay, and count e from its first epoch:

        linear       start · (T − e) / T                        start / T in the last epoch
        cosine       start · (1 + cos(π e / T)) / 2             the published code counts e from the search's start
        slow_cosine  start · cos(π e / 2T)
        step         start · 2^−⌊4 e / T⌋, and 0 in the last quarter

    The paper gives no milestones for the step form; jdarts halves the value after each quarter.

    Raises `UserError` for another `shape`.
    """
    if shape not in ("linear", "cosine", "slow_cosine", "step"):
        raise UserError(f"decay is {shape!r}; it must be 'linear', 'cosine', 'slow_cosine' or 'step'")

    def value(clock):
        span = last_epochs or clock.epochs
        passed = jnp.maximum(clock.epoch - max(clock.epochs - span, 0), 0) / span
        if shape == "linear":
            return start * (1 - passed)
        if shape == "cosine":
            return start * (1 + jnp.cos(jnp.pi * passed)) / 2
        if shape == "slow_cosine":
            return start * jnp.cos(jnp.pi / 2 * passed)
        quarter = jnp.floor(4 * passed)
        return jnp.where(quarter < 3, start * 0.5**quarter, 0.0)

    return value
