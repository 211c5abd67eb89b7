"""The parts that the controllers of ENAS share (Pham et al. 2018; melodyguan/enas).

An LSTM without biases reads one choice after another. Earlier nodes or layers are chosen by attention: each leaves an
anchor, its hidden state a, and a logit is vᵀ tanh(W₁ a + W₂ h) with the present hidden state h.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jdarts.controllers.policy import Params
from jdarts.errors import UserError


@dataclass(frozen=True)
class AttentionSettings:
    """The settings of a controller with attention.

    Attributes:
      hidden: units of the LSTM.
      layers: layers of the LSTM.
      temperature: divides the logits.
      tanh: c of `c · tanh(logits)`, after the temperature.
      scale: all weights are drawn from U(−scale, scale).

    Raises `UserError` for other values.
    """

    hidden: int = 64
    layers: int = 1
    temperature: float = 1.0
    tanh: float = 1.5
    scale: float = 0.1

    def __post_init__(self):
        for name in ("hidden", "layers"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"{name} of the controller is {value!r}; use a whole number of at least 1")
        for name in ("temperature", "tanh", "scale"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} of the controller is {getattr(self, name)!r}; use a number above 0")

    def init(self, key: jax.Array, ops: int) -> Params:
        """The parameters that the controllers have, for `ops` ops."""
        size = self.hidden
        shapes = {
            "start": (size,),
            "embeddings": (ops, size),
            "softmax": (size, ops),
            "keys": (size, size),
            "queries": (size, size),
            "attention": (size,),
        }
        shapes |= {f"lstm_{layer}": (2 * size, 4 * size) for layer in range(self.layers)}
        keys = jax.random.split(key, len(shapes))
        return {
            name: jax.random.uniform(k, shape, minval=-self.scale, maxval=self.scale)
            for k, (name, shape) in zip(keys, shapes.items(), strict=True)
        }

    def state(self, params: Params) -> Any:
        """The state of the LSTM before the first step: zeros."""
        zeros = jnp.zeros_like(params["start"])
        return ((zeros, zeros),) * self.layers

    def lstm(self, params: Params, state: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        """One step: the next state, and the hidden state of the last layer `[hidden]`. The gates are i, f, o, g."""
        states = []
        for layer, (c, h) in enumerate(state):
            i, f, o, g = jnp.split(jnp.concatenate([x, h]) @ params[f"lstm_{layer}"], 4)
            c = jax.nn.sigmoid(i) * jnp.tanh(g) + jax.nn.sigmoid(f) * c
            x = jax.nn.sigmoid(o) * jnp.tanh(c)
            states.append((c, x))
        return tuple(states), x

    def attended(self, params: Params, keys: jax.Array, h: jax.Array) -> jax.Array:
        """The bounded logits of all anchors with these keys W₁ a `[anchors, hidden]`, `[anchors]`."""
        return self.bounded(jnp.tanh(keys + h @ params["queries"]) @ params["attention"])

    def bounded(self, logits: jax.Array, reduce: float = 1.0) -> jax.Array:
        """The logits after temperature and tanh; `reduce` divides the bound of the tanh."""
        return self.tanh / reduce * jnp.tanh(logits / self.temperature)
