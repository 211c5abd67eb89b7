"""Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347), the strategy of NASNet and MnasNet."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from optuna.distributions import BaseDistribution

from jdarts.controllers import Controller, batch_log_probability, step_along
from jdarts.errors import UserError
from jdarts.spaces.decisions import DecisionSpace
from jdarts.strategies.policy_gradient import Learning, PolicyGradient, Update
from jdarts.strategies.strategy import at_least


def ppo_loss(log_probability: jax.Array, old: jax.Array, advantages: jax.Array, clip: float) -> jax.Array:
    """−mean min(r A, clip(r, 1 − ε, 1 + ε) A) with r = P(a; θ) / P(a; θ_old), for arrays `[batch]`.

    A ratio of a whole architecture, as the reward is one of it. The gradient is 0 where r > 1 + ε with A > 0, or
    r < 1 − ε with A < 0.
    """
    ratio = jnp.exp(log_probability - old)
    return -jnp.mean(jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - clip, 1 + clip) * advantages))


class PPO(PolicyGradient):
    """Several clipped steps of Adam for each batch of evaluations.

    The defaults are those reported for NASNet: an LSTM of 100 units, learning rate 3.5e-4, entropy weight 1e-5,
    baseline decay .95, batches of 20; the number of epochs is not published.

    Args:
      space, seed, settings: see `PolicyGradient`.
      clip: ε of the ratio.
      epochs: steps for each batch.
    """

    def __init__(
        self,
        space: DecisionSpace | Mapping[str, BaseDistribution],
        *,
        seed: int = 0,
        clip: float = 0.2,
        epochs: int = 4,
        **settings: Any,
    ):
        settings.setdefault("batch", 20)
        super().__init__(space, seed=seed, **settings)
        if not clip > 0:
            raise UserError(f"clip is {clip!r}; use a number above 0")
        self.clip, self.epochs = float(clip), at_least("epochs", epochs, 1)

    def update(self) -> Update:
        """The compiled update."""
        return _update(self.controller, self.learning, self.clip, self.epochs)


@cache
def _update(controller: Controller, learning: Learning, clip: float, epochs: int) -> Update:
    def loss(params, choices, advantages, old):
        return ppo_loss(batch_log_probability(controller, params, choices), old, advantages, clip)

    step = step_along(loss, learning.adam())

    def update(params, state, choices, advantages):
        old = batch_log_probability(controller, params, choices)

        def epoch(carry, _):
            return step(*carry, choices, advantages, old), None

        return lax.scan(epoch, (params, state), None, length=epochs)[0]

    return jax.jit(update)
