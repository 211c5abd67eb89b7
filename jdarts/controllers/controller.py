"""Controllers: trainable distributions over tuples of choices, one decision after another.

A controller gives P(a₁, …, a_T; θ) = Π_t P(a_t | a_1, …, a_{t−1}; θ). Its LSTM (Zoph & Le 2017, arXiv:1611.01578) reads
the embedding of the choice before and predicts the next one. Decisions of one kind and number of options share
embeddings and output layer. Without LSTM every decision has a softmax of its own, as in NAS-Bench-201's REINFORCE.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts.controllers.policy import NEVER, Params, Policy, inverted
from jdarts.errors import UserError
from jdarts.spaces.decisions import Decision


@dataclass(frozen=True)
class Controller(Policy):
    """The settings of a controller; hashable, so that its compiled functions are shared.

    Attributes:
      options: the number of options of every decision.
      tables: for every decision the number of its embeddings and output layer.
      hidden: units of the LSTM; None for independent softmaxes.
      layers: layers of the LSTM.
      temperature: divides the logits.
      tanh: c of `c · tanh(logits)`, which bounds them, after the temperature; None for none.
      scale: all weights of the LSTM are drawn from U(−scale, scale).
    """

    options: tuple[int, ...]
    tables: tuple[int, ...]
    hidden: int | None = 100
    layers: int = 1
    temperature: float = 1.0
    tanh: float | None = None
    scale: float = 0.08

    def __post_init__(self):
        for name, value in (("hidden", self.hidden), ("layers", self.layers)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise UserError(f"{name} of the controller is {value!r}; use a whole number of at least 1")
        for name, value in (("temperature", self.temperature), ("tanh", self.tanh), ("scale", self.scale)):
            if value is not None and not value > 0:
                raise UserError(f"{name} of the controller is {value!r}; use a number above 0")

    @property
    def width(self) -> int:
        """The largest number of options."""
        return max(self.options)

    def init(self, key: jax.Array) -> Params:
        """Initial parameters."""
        if self.hidden is None:
            return jnp.zeros((len(self.options), self.width))
        return _Step(self).init(key, self.carry(), jnp.int32(0), jnp.int32(0))

    def carry(self) -> Any:
        """The state before the first decision: zeros."""
        if self.hidden is None:
            return ()
        return tuple((jnp.zeros(self.hidden), jnp.zeros(self.hidden)) for _ in range(self.layers))

    def all_logs(self, params: Params, choices: jax.Array) -> jax.Array:
        """The log-probabilities of all options of every decision, given the choices before it, `[T, width]`."""

        def step(state, decision):
            carry, before = state
            carry, logs = self._step(params, carry, before, decision)
            return (carry, choices[decision]), logs

        return lax.scan(step, (self.carry(), jnp.int32(-1)), jnp.arange(len(self.options)))[1]

    def sample(self, params: Params, uniforms: jax.Array) -> jax.Array:
        """Choices `[T]` from independent uniform numbers `[T]`, by inversion of the cumulative probabilities."""

        def step(state, decision):
            carry, before = state
            carry, logs = self._step(params, carry, before, decision)
            choice = inverted(logs, uniforms[decision])
            return (carry, choice), choice

        return lax.scan(step, (self.carry(), jnp.int32(-1)), jnp.arange(len(self.options)))[1]

    def _step(self, params: Params, carry: Any, before: jax.Array, decision: jax.Array) -> tuple[Any, jax.Array]:
        """One decision: the next state, and the log-probabilities of its options, `[width]`.

        `before` is the choice of the decision before, −1 at the first.
        """
        if self.hidden is None:
            logits = params[decision]
        else:
            tables = jnp.array(self.tables, jnp.int32)
            token = jnp.where(before < 0, 0, 1 + tables[decision - 1] * self.width + before)
            carry, logits = _apply(self, params, carry, token, tables[decision])
        logits = logits / self.temperature
        if self.tanh is not None:
            logits = self.tanh * jnp.tanh(logits)
        exists = jnp.arange(self.width) < jnp.array(self.options, jnp.int32)[decision]
        return carry, jax.nn.log_softmax(jnp.where(exists, logits, NEVER))


def _apply(controller: Controller, params: Params, *inputs: Any) -> Any:
    return _Step(controller).apply(params, *inputs)


class _Step(nn.Module):
    """One step of the LSTM. Token 0 is the beginning, the others are the options of all tables."""

    controller: Controller

    @nn.compact
    def __call__(self, carry, token: jax.Array, table: jax.Array):
        settings = self.controller
        assert settings.hidden is not None

        def init(key, shape, dtype=jnp.float32):
            return jax.random.uniform(key, shape, dtype, -settings.scale, settings.scale)

        tables = max(settings.tables) + 1
        embeddings = self.param("embeddings", init, (1 + tables * settings.width, settings.hidden))
        h = embeddings[token]
        states = []
        for layer in range(settings.layers):
            cell = nn.OptimizedLSTMCell(
                settings.hidden, kernel_init=init, recurrent_kernel_init=init, bias_init=init, name=f"layer_{layer}"
            )
            state, h = cell(carry[layer], h)
            states.append(state)
        kernel = self.param("kernel", init, (tables, settings.hidden, settings.width))
        bias = self.param("bias", nn.initializers.zeros, (tables, settings.width))
        return tuple(states), h @ kernel[table] + bias[table]


def controller_of(decisions: tuple[Decision, ...], **settings: Any) -> Controller:
    """A controller over these decisions, with other settings of `Controller` by name."""
    numbers: dict[tuple[str, int], int] = {}
    tables = tuple(numbers.setdefault((d.kind, d.options), len(numbers)) for d in decisions)
    return Controller(tuple(d.options for d in decisions), tables, **settings)
