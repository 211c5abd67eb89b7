"""The controller of ENAS micro: two inputs and two ops for every node of a normal and a reduction cell.

Inputs are chosen by attention over the anchors of the earlier nodes; those of the two inputs of the cell are zeros
with keys of their own. The reduction cell continues from the last state of the normal cell (Pham et al. 2018, §2.4;
micro_controller.py of the release).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jdarts.controllers.attention import AttentionSettings
from jdarts.controllers.policy import NEVER, Params, Policy, given, inverted

_CELLS, _INPUTS, _PER_NODE = 2, 2, 4
_PREFERRED = 2  # the first two ops, separable convolutions, are preferred at the start
_BIAS, _FIXED_BIAS = 10.0, 0.25


@dataclass(frozen=True)
class MicroController(Policy):
    """A distribution over the choices of `jdarts.spaces.EnasMicroSpace`, in their order.

    The logits of the ops have a learned bias, which starts at 10 for the first two ops and at 0 for the others, and in
    the normal cell a fixed one of ±0.25.

    Attributes:
      nodes: of a cell, without its inputs.
      ops: the number of ops.
      settings: of LSTM and attention.
      op_tanh_reduce: divides the bound of the tanh for ops.
    """

    nodes: int
    ops: int
    settings: AttentionSettings = field(default_factory=lambda: AttentionSettings(tanh=1.1))
    op_tanh_reduce: float = 2.5

    @cached_property
    def options(self) -> tuple[int, ...]:  # type: ignore[override]
        """Node by node: the earlier nodes twice, the ops twice; for the normal cell, then for the reduction cell."""
        cell = [n for node in range(self.nodes) for n in (node + _INPUTS, node + _INPUTS, self.ops, self.ops)]
        return tuple(cell) * _CELLS

    def init(self, key: jax.Array) -> Params:
        """Initial parameters."""
        return {**self.settings.init(key, self.ops), "bias": self._preference(_BIAS, 0.0)}

    def sample(self, params: Params, uniforms: jax.Array) -> jax.Array:
        """Choices `[T]` from independent uniform numbers `[T]`."""
        return self._walk(params, uniforms, inverted)[0]

    def all_logs(self, params: Params, choices: jax.Array) -> jax.Array:
        """The log-probabilities of all options of every decision of a tuple, `[T, width]`."""
        return self._walk(params, choices, given)[1]

    def _preference(self, preferred: float, others: float) -> jax.Array:
        return jnp.where(np.arange(self.ops) < _PREFERRED, preferred, others)

    def _walk(self, params: Params, values: jax.Array, pick: Callable[..., jax.Array]) -> tuple[jax.Array, jax.Array]:
        """All decisions in turn: choices `[T]` and their log-probabilities `[T, width]`.

        `pick(logs, value)` makes a choice from the log-probabilities and the entry of `values [T]`.
        """

        def cell_choices(state, inputs):
            bias, rows = inputs
            return self._cell(params, state, bias, rows, pick)

        fixed = self._preference(_FIXED_BIAS, -_FIXED_BIAS).astype(params["start"].dtype)
        rows = values.reshape(_CELLS, self.nodes, _PER_NODE)
        biases = jnp.stack([fixed, jnp.zeros_like(fixed)])
        choices, logs = lax.scan(cell_choices, self.settings.state(params), (biases, rows))[1]
        return choices.reshape(-1), logs.reshape(choices.size, -1)

    def _cell(
        self, params: Params, state: Any, bias: jax.Array, rows: jax.Array, pick: Callable[..., jax.Array]
    ) -> tuple[Any, tuple[jax.Array, jax.Array]]:
        """The decisions of one cell: the next state, choices `[nodes, 4]` and their logs `[nodes, 4, width]`."""
        settings = self.settings
        anchors = jnp.zeros((self.nodes + _INPUTS, settings.hidden), params["start"].dtype)
        keys = anchors
        for node in range(_INPUTS):
            state, h = settings.lstm(params, state, params["start"])
            keys = keys.at[node].set(h @ params["keys"])

        def node_choices(carry, inputs):
            state, anchors, keys = carry
            node, row = inputs
            x, choices, logs = params["start"], [], []
            for i in range(_PER_NODE):
                state, h = settings.lstm(params, state, x)
                if i < _INPUTS:
                    logits = settings.attended(params, keys, h)
                    logits = jnp.where(jnp.arange(len(keys)) < node, logits, NEVER)
                else:
                    logits = settings.bounded(h @ params["softmax"] + params["bias"], self.op_tanh_reduce) + bias
                logs.append(jax.nn.log_softmax(logits))
                choices.append(pick(logs[-1], row[i]).astype(jnp.int32))
                x = (anchors if i < _INPUTS else params["embeddings"])[choices[-1]]
            state, h = settings.lstm(params, state, x)
            carry = state, anchors.at[node].set(h), keys.at[node].set(h @ params["keys"])
            return carry, (jnp.stack(choices), jnp.stack([self._padded(each) for each in logs]))

        numbers = jnp.arange(_INPUTS, _INPUTS + self.nodes)
        (state, _, _), found = lax.scan(node_choices, (state, anchors, keys), (numbers, rows))
        return state, found

    def _padded(self, logs: jax.Array) -> jax.Array:
        width = max(self.ops, self.nodes + _INPUTS)
        return jnp.pad(logs, (0, width - len(logs)), constant_values=NEVER)
