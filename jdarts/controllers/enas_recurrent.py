"""The controllers of ENAS for recurrent cells: for every node the earlier node that it reads, and its activation.

The earlier node is chosen by attention over the anchors of all earlier nodes; the anchor of a node is the hidden state
with which it makes this choice. A fixed term −(i − j)²/6 in the logits prefers near nodes, and the next input of the
LSTM is the chosen anchor, divided by 0.1 + i − j (Pham et al. 2018, §2.1; ptb_enas_controller.py of the release, and
enas_lm).

The releases differ in two points. In the first one node 0 chooses its activation and leaves an anchor. In enas_lm node
0 has an anchor and a key of zeros, and the embeddings of the activations are also the output layer.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jdarts.controllers.attention import AttentionSettings
from jdarts.controllers.policy import NEVER, Params, Policy, given, inverted, sampled_bonuses

_DISTANCE, _NEAREST = 6.0, 0.1


@dataclass(frozen=True)
class RecurrentController(Policy):
    """A distribution over the choices of `jdarts.spaces.RecurrentSpace`, in their order.

    Attributes:
      nodes: N, behind node 0.
      ops: the number of activations.
      settings: of LSTM and attention.
      first: node 0 has a choice, as in the first release; otherwise the controller is that of enas_lm.
    """

    nodes: int
    ops: int
    settings: AttentionSettings = field(default_factory=lambda: AttentionSettings(temperature=5.0, tanh=2.5))
    first: bool = False

    @cached_property
    def options(self) -> tuple[int, ...]:  # type: ignore[override]
        """The ops of node 0, if it has a choice, then node by node the earlier nodes, if several, and the ops."""
        later = [count for node in range(2, self.nodes + 1) for count in (node, self.ops)]
        return (*((self.ops,) if self.first else ()), self.ops, *later)

    def init(self, key: jax.Array) -> Params:
        """Initial parameters."""
        params = self.settings.init(key, self.ops)
        return params if self.first else {name: leaf for name, leaf in params.items() if name != "softmax"}

    def sample(self, params: Params, uniforms: jax.Array) -> jax.Array:
        """Choices `[T]` from independent uniform numbers `[T]`."""
        return self._walk(params, uniforms, inverted)[0]

    def all_logs(self, params: Params, choices: jax.Array) -> jax.Array:
        """The log-probabilities of all options of every decision of a tuple, `[T, width]`."""
        return self._walk(params, choices, given)[1]

    def bonuses(self, params: Params, choices: jax.Array) -> jax.Array:
        """−p log p of every chosen option, not the whole entropy, as in the release, `[T]`."""
        return sampled_bonuses(self, params, choices)

    def _walk(self, params: Params, values: jax.Array, pick: Callable[..., jax.Array]) -> tuple[jax.Array, jax.Array]:
        """All decisions in turn: choices `[T]` and their log-probabilities `[T, width]`.

        `pick(logs, value)` makes a choice from the log-probabilities and the entry of `values [T]`.
        """
        zeros = jnp.zeros((self.nodes + 1, self.settings.hidden), params["start"].dtype)
        carry, head = (self.settings.state(params), params["start"], zeros, zeros), []
        if self.first:
            carry, head = self._node_zero(params, carry, values[0], pick)
        values = values[len(head) :]
        rows = jnp.concatenate([jnp.zeros_like(values[:1]), values]).reshape(self.nodes, 2)  # node 1 reads node 0

        def node(carry, inputs):
            number, row = inputs
            carry, source, input_logs = self._source(params, carry, number, row[0], pick)
            carry, op, op_logs = self._op(params, carry, row[1], pick)
            return carry, (jnp.stack([source, op]), jnp.stack([input_logs, op_logs]))

        _, (choices, logs) = lax.scan(node, carry, (jnp.arange(1, self.nodes + 1), rows))
        choices, logs = choices.reshape(-1)[1:], logs.reshape(2 * self.nodes, -1)[1:]
        for choice, own in head:
            choices, logs = jnp.append(choice, choices), jnp.concatenate([own[None], logs])
        return choices, logs

    def _node_zero(self, params: Params, carry: Any, value: jax.Array, pick: Callable[..., jax.Array]) -> Any:
        """The carry after node 0, and the list of its choice with its log-probabilities."""
        state, start, anchors, keys = carry
        state, h = self.settings.lstm(params, state, start)
        carry = state, start, anchors.at[0].set(h), keys.at[0].set(h @ params["keys"])
        carry, op, logs = self._op(params, carry, value, pick)
        return carry, [(op, logs)]

    def _source(
        self, params: Params, carry: Any, node: jax.Array, value: jax.Array, pick: Callable[..., jax.Array]
    ) -> tuple[Any, jax.Array, jax.Array]:
        """One choice of an earlier node: carry, choice, and log-probabilities `[width]`."""
        state, x, anchors, keys = carry
        state, h = self.settings.lstm(params, state, x)
        earlier = jnp.arange(self.nodes + 1)
        logits = self.settings.attended(params, keys, h) - (node - earlier) ** 2 / _DISTANCE
        logs = jax.nn.log_softmax(jnp.where(earlier < node, logits, NEVER))[: self.nodes]
        source = pick(logs, value).astype(jnp.int32)
        x = anchors[source] / (_NEAREST + node - source)
        return (state, x, anchors.at[node].set(h), keys.at[node].set(h @ params["keys"])), source, self._padded(logs)

    def _op(
        self, params: Params, carry: Any, value: jax.Array, pick: Callable[..., jax.Array]
    ) -> tuple[Any, jax.Array, jax.Array]:
        """One choice of an activation: carry, choice, and log-probabilities `[width]`."""
        state, x, anchors, keys = carry
        state, h = self.settings.lstm(params, state, x)
        output = params["softmax"] if self.first else params["embeddings"].T
        logs = jax.nn.log_softmax(self.settings.bounded(h @ output))
        op = pick(logs, value).astype(jnp.int32)
        return (state, params["embeddings"][op], anchors, keys), op, self._padded(logs)

    def _padded(self, logs: jax.Array) -> jax.Array:
        width = max(self.ops, self.nodes)
        return jnp.pad(logs, (0, width - len(logs)), constant_values=NEVER)
