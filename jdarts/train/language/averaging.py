"""Non-monotonically triggered averaged SGD (Merity et al. 2018, §4; Polyak & Juditsky 1992).

Averaging begins at the first epoch whose validation loss is above the lowest one of all epochs but the last few before
it. From then on the model that is evaluated has the averaged weights, while SGD continues with its own. The averages
are those of PyTorch's ASGD with t0 = 0 and lambd = 0.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

PLAIN = -1
"""The count of averaged steps before averaging begins."""


@struct.dataclass
class Trigger:
    """The validation losses of the epochs so far.

    Attributes:
      earlier: the lowest loss of all epochs but those of `recent`; infinite if there are none.
      recent: the last losses, `[nonmono]`, oldest first; infinite before the first epoch.
    """

    earlier: jax.Array
    recent: jax.Array


def no_losses(nonmono: int) -> Trigger:
    """The trigger before the first epoch."""
    dtype = jnp.result_type(float)
    return Trigger(jnp.full((), jnp.inf, dtype), jnp.full((nonmono,), jnp.inf, dtype))


def noted(trigger: Trigger, loss: jax.Array) -> tuple[Trigger, jax.Array]:
    """The trigger after one more epoch, and a boolean that says whether averaging begins."""
    begins = loss > trigger.earlier  # False if there are at most `nonmono` losses
    loss = jnp.where(jnp.isfinite(loss), loss, jnp.inf).astype(trigger.recent.dtype)
    earlier = jnp.minimum(trigger.earlier, trigger.recent[0])
    return Trigger(earlier, jnp.append(trigger.recent[1:], loss)), begins


def averaged(average: Any, weights: Any, steps: jax.Array) -> Any:
    """The average after one more step of SGD to `weights`.

    Args:
      average: of the steps so far.
      weights: after the step.
      steps: steps since averaging began, without this one; `PLAIN` if it has not begun.

    The average moves by μ (weights − average) with μ = 1 / max(1, steps). PyTorch sets μ at the end of a step, so that
    μ is 1 in the first two steps, and the average is the mean of all weights but those of the first step.
    """
    count = jnp.maximum(steps, 1)

    def move(a, w):
        return jnp.where(steps <= 1, w, a + (w - a) / count.astype(w.dtype))

    return jax.tree.map(move, average, weights)
