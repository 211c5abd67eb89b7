"""The parts of a language model around its cell: embedding, recurrence over time, decoder."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts.config.swept import is_off
from jdarts.devices.replicas import Share
from jdarts.errors import UserError
from jdarts.kernels import product
from jdarts.networks.recurrent.masks import CellMasks, check_rate, keep_mask
from jdarts.ops.initializers import constant, uniform

_EMBEDDING_RANGE = 0.1
CELL_RANGE = 0.04
"""The matrices of a cell start uniform between −0.04 and 0.04."""


_UNROLL: ContextVar[int] = ContextVar("time_unroll", default=1)


@contextmanager
def time_unrolled(count: int) -> Iterator[None]:
    """Trace loops over time, inside the `with` block, with `count` time steps in their body.

    The values stay the same. XLA's cost analysis counts the body of a loop once, so that the difference of two such
    programs is the cost of a time step (`jdarts.search.plan`).
    """
    token = _UNROLL.set(count)
    try:
        yield
    finally:
        _UNROLL.reset(token)


class Outputs(NamedTuple):
    """The outputs of a language model for `tokens [time, batch]`.

    Attributes:
      logits: `[time, batch, vocabulary]` of the next token.
      states: `[time, batch, state_size]`, the states that go from one time step to the next.
      raw: `[time, batch, units]`, the outputs of the cell, for slowness (temporal activation) regularisation. The
        cells of DARTS and ENAS have no other state.
      dropped: `raw` behind the output dropout, for activation regularisation.
    """

    logits: jax.Array
    states: jax.Array
    raw: jax.Array
    dropped: jax.Array

    @property
    def hidden(self) -> jax.Array:
        """The state behind the last token, `[batch, state_size]`."""
        return self.states[-1]


class LanguageModel(nn.Module):
    """The base of language models with one recurrent layer; a subclass adds the cell.

    It computes in the type of its parameters. In training it needs the rng `dropout`; the masks are drawn once a call
    and constant over its time steps.

    Attributes:
      vocabulary: number of words.
      embedding: size of the word vectors (`emsize`).
      units: size of the hidden state (`nhid`).
      tied: the decoder is the transposed embedding; needs `embedding == units`.
      decoder_bias: the decoder has a bias (DARTS: yes, ENAS: no).
      dropout_embedding: probability of dropping a word of the vocabulary wherever it occurs (`dropoute`).
      dropout_input: locked dropout of the word vectors (`dropouti`).
      dropout_x: dropout of the cell's input (`dropoutx`).
      dropout_hidden: dropout of the states that the cell's products read (`dropouth`).
      dropout_output: locked dropout of the output (`dropout`).
      axis_name: mapped axis over which the batch is split; masks are then those of the global batch.
    """

    vocabulary: int
    embedding: int
    units: int
    tied: bool = True
    decoder_bias: bool = True
    dropout_embedding: float = 0.0
    dropout_input: float = 0.0
    dropout_x: float = 0.0
    dropout_hidden: float = 0.0
    dropout_output: float = 0.0
    axis_name: str | None = None

    @property
    def weight_axes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The axes of `W0` and of `W` before those of a matrix product."""
        raise NotImplementedError

    def setup(self):
        """Parameters `embedding_table`, `decoder`, `bias`, and those of the cell."""
        self._check()
        n = self.units
        self.embedding_table = self.param(
            "embedding_table", uniform(_EMBEDDING_RANGE), (self.vocabulary, self.embedding)
        )
        if not self.tied:
            self.decoder = self.param("decoder", uniform(_EMBEDDING_RANGE), (self.vocabulary, n))
        if self.decoder_bias:
            self.bias = self.param("bias", constant(0.0), (self.vocabulary,))
        self.add_cell_parameters()

    def add_cell_parameters(self) -> None:
        """The parameters of the cell: `W0` of its input, `W` of its nodes."""
        n, (of_input, of_nodes) = self.units, self.weight_axes
        self.W0 = self.param("W0", uniform(CELL_RANGE), (*of_input, self.embedding + n, 2 * n))
        self.W = self.param("W", uniform(CELL_RANGE), (*of_nodes, n, 2 * n))

    @property
    def state_size(self) -> int:
        """Numbers of the state that goes from one time step to the next: the hidden state."""
        return self.units

    def initial_hidden(self, batch: int, dtype: Any = None) -> jax.Array:
        """Zeros, `[batch, state_size]`, in the default type of floating-point numbers unless `dtype` says otherwise."""
        return jnp.zeros((batch, self.state_size), dtype or jnp.result_type(float))

    def check_inputs(self, tokens: jax.Array, hidden: jax.Array) -> None:
        """Raise `UserError` unless tokens are whole numbers `[time, batch]` and the state `[batch, state_size]`."""
        if not jnp.issubdtype(tokens.dtype, jnp.integer) or tokens.ndim != 2 or not tokens.size:
            raise UserError(
                f"tokens have shape {tokens.shape} and type {tokens.dtype}; give whole numbers [time, batch]"
            )
        if hidden.shape != (tokens.shape[1], self.state_size):
            size = "units" if self.state_size == self.units else "state_size"
            raise UserError(
                f"hidden has shape {hidden.shape}; it needs {(tokens.shape[1], self.state_size)}, [batch, {size}]"
            )

    def embed(self, tokens: jax.Array, train: bool) -> jax.Array:
        """Word vectors `[time, batch, embedding]`, in training with dropout by word and locked dropout."""
        vectors = self.embedding_table[tokens]
        words = self._mask(train, self.dropout_embedding, (self.vocabulary, 1))
        if words is not None:
            vectors = vectors * words[tokens]
        locked = self._rows(train, self.dropout_input, (tokens.shape[1], self.embedding))
        return vectors if locked is None else vectors * locked

    def cell_masks(self, batch: int, train: bool) -> CellMasks:
        """The cell's masks for a sequence."""
        x = self._rows(train, self.dropout_x, (batch, self.embedding))
        hidden = self._rows(train, self.dropout_hidden, (batch, self.units))
        return CellMasks(1.0 if x is None else x, 1.0 if hidden is None else hidden)

    def over_time(self, step: Any, start: Any, inputs: jax.Array) -> tuple[Any, jax.Array]:
        """`lax.scan` of a time step over `inputs [time, …]`: the carry behind the last one, and all outputs."""
        return lax.scan(step, start, inputs, unroll=_UNROLL.get())

    def decode(self, raw: jax.Array, train: bool) -> Outputs:
        """The outputs of a network whose states are the outputs of its cell, `[time, batch, units]`."""
        locked = self._rows(train, self.dropout_output, raw.shape[1:])
        dropped = raw if locked is None else raw * locked
        logits = product(dropped, (self.embedding_table if self.tied else self.decoder).T)
        if self.decoder_bias:
            logits = logits + self.bias
        return Outputs(logits, raw, raw, dropped)

    def _rows(self, train: bool, rate: float, shape: tuple[int, ...]) -> jax.Array | None:
        """A mask `[batch, …]`: this replica's rows of the mask of the global batch."""
        if self._keeps_all(train, rate):
            return None
        share = Share(self.axis_name)
        return share.of(self._drawn(rate, (share.total(shape[0]), *shape[1:])))

    def _mask(self, train: bool, rate: float, shape: tuple[int, ...]) -> jax.Array | None:
        return None if self._keeps_all(train, rate) else self._drawn(rate, shape)

    def _keeps_all(self, train: bool, rate: float) -> bool:
        return not train or is_off(rate) or self.is_initializing()

    def _drawn(self, rate: float, shape: tuple[int, ...]) -> jax.Array:
        return keep_mask(self.make_rng("dropout"), rate, shape, self.W0.dtype)

    def _check(self) -> None:
        for name in ("vocabulary", "embedding", "units"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"{name} is {value!r}; it must be a whole number of at least 1")
        if self.tied and self.embedding != self.units:
            raise UserError(
                f"embedding is {self.embedding} and units is {self.units}; a tied decoder needs equal sizes: make them "
                "equal, or set tied = False"
            )
        for name in ("embedding", "input", "x", "hidden", "output"):
            check_rate(f"dropout_{name}", getattr(self, f"dropout_{name}"))
