"""REINFORCE (Williams 1992) with a controller, the strategy of NAS (Zoph & Le 2017, arXiv:1611.01578, eq. 4)."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jdarts.strategies.controller import Controller, Params
from jdarts.strategies.policy_gradient import Learning, PolicyGradient, Update, batch_log_probability


def reinforce_loss(controller: Controller, params: Params, choices: jax.Array, advantages: jax.Array) -> jax.Array:
    """−(1/m) Σ_k (R_k − b) Σ_t log P(a_t | a_<t; θ); its gradient is minus the estimate of ∇J."""
    return -jnp.mean(advantages * batch_log_probability(controller, params, choices))


class Reinforce(PolicyGradient):
    """One step of Adam along the REINFORCE gradient for each batch of evaluations.

    With an LSTM the defaults are those of NASNet where Zoph & Le's are not public. NAS-Bench-201 (Dong & Yang 2020)
    uses `hidden=None, learning_rate=0.01, baseline_decay=0.9, entropy_weight=0, batch=1`; see
    `jdarts.bench.table_searches` for its other learning rates.
    """

    def update(self) -> Update:
        """The compiled update."""
        return _update(self.controller, self.learning)


@cache
def _update(controller: Controller, learning: Learning) -> Update:
    return jax.jit(step_along(lambda params, *batch: reinforce_loss(controller, params, *batch), learning))


def step_along(loss: Callable[..., jax.Array], learning: Learning) -> Callable[..., tuple[Params, Any]]:
    """One step of Adam: `(params, state, *batch)` to new parameters and state."""
    optimizer = learning.adam()

    def update(params, state, *batch):
        changes, state = optimizer.update(jax.grad(loss)(params, *batch), state, params)
        return optax.apply_updates(params, changes), state

    return update
