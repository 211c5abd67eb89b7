"""The language model of a long short-term memory (Hochreiter & Schmidhuber 1997), to compare found cells with."""

import jax
import jax.numpy as jnp

from jdarts.kernels import product
from jdarts.networks.recurrent.language_model import CELL_RANGE, LanguageModel, Outputs
from jdarts.ops.initializers import constant, uniform


class LSTM(LanguageModel):
    """A language model with one LSTM layer; `LanguageModel` lists its attributes.

    With the masks of the other cells, m_x and m_h, the state c and the hidden state h,

        [i, f, g, o] = [m_x x, m_h h] W0 + b        c = σ(f + 1) c + σ(i) tanh(g)        h = σ(o) tanh(c)

    The bias b starts at zero, so that the gate of forgetting starts at σ(1) (Jozefowicz et al. 2015). `hidden` and
    each of `Outputs.states` are `[c, h]`, `[batch, 2 · units]`.
    """

    @property
    def state_size(self) -> int:
        """Numbers of the state: c and h."""
        return 2 * self.units

    def add_cell_parameters(self) -> None:
        """`W0 [embedding + units, 4 · units]` and the bias `[4 · units]`."""
        self.W0 = self.param("W0", uniform(CELL_RANGE), (self.embedding + self.units, 4 * self.units))
        self.cell_bias = self.param("cell_bias", constant(0.0), (4 * self.units,))

    def __call__(self, tokens: jax.Array, hidden: jax.Array, train: bool) -> Outputs:
        """The outputs for `tokens [time, batch]` after the state `[batch, 2 · units]`.

        Raises `UserError` for other shapes and tokens that are not whole numbers.
        """
        self.check_inputs(tokens, hidden)
        masks = self.cell_masks(tokens.shape[1], train)
        inputs = product(self.embed(tokens, train) * masks.x, self.W0[: self.embedding]) + self.cell_bias

        def step(state, of_x):
            c, h = jnp.split(state, 2, axis=-1)
            i, f, g, o = jnp.split(of_x + h * masks.hidden @ self.W0[self.embedding :], 4, axis=-1)
            c = jax.nn.sigmoid(f + 1) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            state = jnp.concatenate([c, h], axis=-1)
            return state, state

        _, states = self.over_time(step, hidden.astype(self.W0.dtype), inputs)
        return self.decode(states[..., self.units :], train)._replace(states=states)
