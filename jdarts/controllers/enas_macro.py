"""The controller of ENAS macro: an op for every layer, then the set of earlier outputs that it reads.

Set selection (Pham et al. 2018, §2.3; Zoph & Le 2017, §3.3): layer l reads output k with the probability of a softmax
over the logits (−q, q), q = c · tanh(vᵀ tanh(W₁ a_k + W₂ h)), independently for all k < l. The next input of the LSTM
is the sum of the chosen anchors, divided by one more than their number (general_controller.py of the release).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jdarts.controllers.attention import AttentionSettings
from jdarts.controllers.policy import NEVER, Params, Policy, given, inverted, sampled_bonuses
from jdarts.errors import UserError


@dataclass(frozen=True)
class MacroController(Policy):
    """A distribution over the choices of `jdarts.spaces.EnasMacroSpace`, in their order.

    Attributes:
      network_layers: L, the layers of the network.
      ops: the number of ops of a layer.
      settings: of LSTM and attention.
      skip_target: ρ, the share of skips that the penalty pulls to.
      skip_weight: of the penalty in the loss.
      release_penalty: take σ(q) for the probability of a skip in the penalty, as the release does. The controller
        samples with σ(2q), so that σ(q) = 0.4 means a share of 0.31.
    """

    network_layers: int
    ops: int
    settings: AttentionSettings = field(default_factory=AttentionSettings)
    skip_target: float = 0.4
    skip_weight: float = 0.8
    release_penalty: bool = False

    def __post_init__(self):
        if not 0 < self.skip_target < 1:
            raise UserError(f"skip_target is {self.skip_target!r}; use a share between 0 and 1, such as 0.4")

    @cached_property
    def options(self) -> tuple[int, ...]:  # type: ignore[override]
        """Layer by layer: the ops, then 2 for each skip."""
        return tuple(n for layer in range(self.network_layers) for n in (self.ops, *(2,) * layer))

    def init(self, key: jax.Array) -> Params:
        """Initial parameters."""
        return self.settings.init(key, self.ops)

    def sample(self, params: Params, uniforms: jax.Array) -> jax.Array:
        """Choices `[T]` from independent uniform numbers `[T]`."""
        return self._walk(params, uniforms, inverted)[0]

    def all_logs(self, params: Params, choices: jax.Array) -> jax.Array:
        """The log-probabilities of all options of every decision of a tuple, `[T, width]`."""
        return self._walk(params, choices, given)[1]

    def bonuses(self, params: Params, choices: jax.Array) -> jax.Array:
        """−p log p of every chosen option, not the whole entropy, as in the release, `[T]`."""
        return sampled_bonuses(self, params, choices)

    def penalty(self, params: Params, choices: jax.Array) -> jax.Array:
        """`skip_weight` times KL(p, ρ), summed over the skips of a layer, averaged over the layers that have some."""
        if self.network_layers == 1:
            return jnp.zeros(())
        q = self._walk(params, choices, given)[2]
        logit = q if self.release_penalty else 2 * q
        skip, none = jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit)
        target = self.skip_target
        divergence = jnp.exp(skip) * (skip - np.log(target)) + jnp.exp(none) * (none - np.log1p(-target))
        earlier = np.tri(self.network_layers, k=-1)
        return self.skip_weight * jnp.sum(earlier * divergence) / (self.network_layers - 1)

    def _walk(
        self, params: Params, values: jax.Array, pick: Callable[..., jax.Array]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """All decisions in turn: choices `[T]`, their log-probabilities `[T, width]`, and the q of all skips `[L, L]`.

        `pick(logs, value)` makes a choice from the log-probabilities and the entry of `values [T]`.
        """
        settings, count = self.settings, self.network_layers

        def layer_choices(carry, inputs):
            state, x, anchors, keys = carry
            layer, row = inputs
            state, h = settings.lstm(params, state, x)
            op_logs = jax.nn.log_softmax(settings.bounded(h @ params["softmax"]))
            op = pick(op_logs, row[0]).astype(jnp.int32)
            state, h = settings.lstm(params, state, params["embeddings"][op])
            q = settings.attended(params, keys, h)
            skip_logs = jax.nn.log_softmax(jnp.stack([-q, q], axis=1))
            skips = pick(skip_logs, row[1:]).astype(jnp.int32)
            chosen = jnp.where(jnp.arange(count) < layer, skips, 0).astype(h.dtype)
            x = jnp.where(layer == 0, params["start"], chosen @ anchors / (1 + jnp.sum(chosen)))
            carry = state, x, anchors.at[layer].set(h), keys.at[layer].set(h @ params["keys"])
            return carry, (jnp.append(op, skips), self._padded(op_logs, skip_logs), q)

        nothing = jnp.zeros((count, settings.hidden), params["start"].dtype)
        start = settings.state(params), params["start"], nothing, nothing
        layers, columns = self._places
        rows = jnp.zeros((count, 1 + count), values.dtype).at[layers, columns].set(values)
        choices, logs, q = lax.scan(layer_choices, start, (jnp.arange(count), rows))[1]
        return choices[layers, columns], logs[layers, columns], q

    def _padded(self, op_logs: jax.Array, skip_logs: jax.Array) -> jax.Array:
        """The log-probabilities of one layer as `[1 + L, width]`."""
        width = max(self.ops, 2)
        pad = lambda logs: jnp.pad(logs, ((0, 0), (0, width - logs.shape[1])), constant_values=NEVER)  # noqa: E731
        return jnp.concatenate([pad(op_logs[None]), pad(skip_logs)])

    @property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Layer and column of every decision; column 0 is the op, 1 + k the skip from output k."""
        places = [(layer, column) for layer in range(self.network_layers) for column in range(1 + layer)]
        layers, columns = np.array(places).T
        return layers, columns
