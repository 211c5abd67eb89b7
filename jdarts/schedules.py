"""Values that change over the epochs of a search: functions of a `Clock`, traced once for all epochs.

Letters: e the present epoch (0 … E − 1, constant inside an epoch), E the number of epochs. Every schedule says in its
docstring which values it takes in the first and in the last epoch, because published code disagrees by one.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jdarts.errors import UserError


class Clock(NamedTuple):
    """Where a search stands.

    Attributes:
      epoch: finished epochs, a scalar, float32 (under `jax_enable_x64` float64); 0 during the first epoch.
      epochs: epochs of the whole search, a Python number.
    """

    epoch: jax.Array
    epochs: int


Schedule = Callable[[Clock], jax.Array]


def clock_at(step: jax.Array, steps_per_epoch: int, epochs: int) -> Clock:
    """The clock during step number `step` (0-based, may be traced)."""
    return Clock((step // steps_per_epoch).astype(jnp.result_type(float)), epochs)


def constant(value: float) -> Schedule:
    """`value` at all times."""
    return lambda clock: jnp.full_like(clock.epoch, value)


def ramp(start: float, end: float, *, reached: Literal["last", "after"] = "last") -> Schedule:
    """Linear in the epoch: `start` in the first epoch, and `end` either in the last one or one epoch after it.

    `last`: `start + (end − start) · e / (E − 1)` (GDAS, SNAS, RobustDARTS); a search of one epoch stays at `start`.
    `after`: `start + (end − start) · e / E` (SmoothDARTS, β-DARTS).
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
    """Decay from `start` towards 0 (DARTS-, Chu et al. 2021), over the last `last_epochs` epochs or over all (0).

    With T = last_epochs or E and e counted from where the decay begins:

        linear       start · (T − e) / T                        start / T in the last epoch
        cosine       start · (1 + cos(π e / T)) / 2             published code forgets to count from the beginning
        slow_cosine  start · cos(π e / 2T)
        step         start · 2^−⌊4 e / T⌋, and 0 in the last quarter

    The step form is in the paper without its milestones; halving at quarters is this library's reading of it.
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
