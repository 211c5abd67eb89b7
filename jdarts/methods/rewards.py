"""Alphas that move by REINFORCE (Williams 1992): paths drawn from their softmax, a reward each, a running baseline."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jdarts.methods.paths import drawn_path
from jdarts.networks.wiring import OpWeights
from jdarts.relaxation import Alphas
from jdarts.spaces.space import Space

Baseline = dict[str, jax.Array]
"""`{"value", "updates"}`: the running mean of the rewards, and the number of means that entered it."""


@dataclass(frozen=True, eq=False)
class RewardUpdate:
    """The choices of an update of the alphas by rewards.

    Attributes:
      samples: paths of one update, each scored on the same validation batch.
      reward: `(accuracy, path, space) -> reward`; the accuracy is of 0 to 1, the path one-hot.
      decay: the weight of a new mean in the baseline.
    """

    samples: int
    reward: Callable[[jax.Array, OpWeights, Space], jax.Array]
    decay: float = 0.99

    def draw(self, space: Space, alphas: Alphas, key: jax.Array) -> OpWeights:
        """The paths of an update, `{matrix: [samples, layers, ops]}`."""
        return jax.vmap(lambda k: drawn_path(space, alphas, k))(jax.random.split(key, self.samples))

    def moved(self, baseline: Baseline, rewards: jax.Array) -> Baseline:
        """The baseline b ← b + decay · (mean − b); the first mean itself."""
        mean, old = jnp.mean(rewards), baseline["value"]
        value = jnp.where(baseline["updates"] == 0, mean, old + self.decay * (mean - old))
        return {"value": value, "updates": baseline["updates"] + 1}


def no_baseline() -> Baseline:
    """The baseline before the first update."""
    return {"value": jnp.zeros(()), "updates": jnp.zeros((), jnp.int32)}


def reward_gradient(alphas: Alphas, paths: OpWeights, advantages: jax.Array) -> Any:
    """The gradient that the optimiser descends: −(1/m) Σ_k (R_k − b) ∇_α log P(path k), P the softmax of the alphas.

    Args:
      paths: one-hot, `{matrix: [m, layers, ops]}`.
      advantages: R_k − b, `[m]`.
    """

    def value(a: Alphas) -> jax.Array:
        logs = [jnp.einsum("klo,lo->k", paths[name], jax.nn.log_softmax(each)) for name, each in a.items()]
        return -jnp.mean(advantages * sum(logs[1:], logs[0]))

    return jax.grad(value)(alphas)
