"""Policies: distributions over tuples of choices, one decision after another, and samples by inversion."""

from abc import ABC, abstractmethod
from typing import Any

import jax
import jax.numpy as jnp

Params = Any

NEVER = -1e30
"""The log-probability of an option that a decision does not have."""


class Policy(ABC):
    """P(a₁, …, a_T; θ) = Π_t P(a_t | a_1, …, a_{t−1}; θ). Subclasses are hashable, as their functions are compiled.

    Attributes:
      options: the number of options of every decision.
    """

    options: tuple[int, ...]

    @abstractmethod
    def init(self, key: jax.Array) -> Params:
        """Initial parameters."""

    @abstractmethod
    def all_logs(self, params: Params, choices: jax.Array) -> jax.Array:
        """The log-probabilities of all options of every decision, given the choices before it, `[T, width]`.

        Options that a decision does not have are at `NEVER`.
        """

    @abstractmethod
    def sample(self, params: Params, uniforms: jax.Array) -> jax.Array:
        """Choices `[T]` from independent uniform numbers `[T]`, by inversion of the cumulative probabilities."""

    def log_probabilities(self, params: Params, choices: jax.Array) -> jax.Array:
        """log P(a_t | a_1, …, a_{t−1}) of a tuple `[T]`, for every decision `[T]`."""
        return jnp.take_along_axis(self.all_logs(params, choices), choices[:, None], axis=1)[:, 0]

    def entropies(self, params: Params, choices: jax.Array) -> jax.Array:
        """The entropy of P(· | a_1, …, a_{t−1}) for every decision of a tuple `[T]`, in nats, `[T]`."""
        logs = self.all_logs(params, choices)
        return -jnp.sum(jnp.exp(logs) * logs, axis=1)

    def bonuses(self, params: Params, choices: jax.Array) -> jax.Array:
        """The terms that ENAS adds to the reward, times a weight, one a decision, `[T]`: here the entropies."""
        return self.entropies(params, choices)

    def penalty(self, params: Params, choices: jax.Array) -> jax.Array:
        """A term of the loss of ENAS for one tuple, a scalar; here 0."""
        del params, choices
        return jnp.zeros(())


def sampled_bonuses(policy: Policy, params: Params, choices: jax.Array) -> jax.Array:
    """−p log p of every chosen option, `[T]`: `Policy.bonuses` of the ENAS release for macro and recurrent cells."""
    logs = policy.log_probabilities(params, choices)
    return -jnp.exp(logs) * logs


def inverted(logs: jax.Array, uniform: jax.Array) -> jax.Array:
    """The choices with log-probabilities `logs [..., width]` at uniform numbers `[...]`, int32 `[...]`."""
    last = jnp.sum(logs > NEVER / 2, axis=-1, dtype=jnp.int32) - 1  # rounding may leave the sum below `uniform`
    below = jnp.sum(jnp.cumsum(jnp.exp(logs), axis=-1) <= uniform[..., None], axis=-1, dtype=jnp.int32)
    return jnp.minimum(below, last)


def given(logs: jax.Array, choice: jax.Array) -> jax.Array:
    """The choices themselves: in place of `inverted` where the choices are known."""
    del logs
    return choice
