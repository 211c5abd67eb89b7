"""The weight-sharing language model of the recurrent DARTS space (Liu et al. 2019, §2.2 and code)."""

import jax
import jax.numpy as jnp

from jdarts.errors import UserError
from jdarts.genotypes.recurrent import RECURRENT_OPS
from jdarts.networks.recurrent.cell import mean, mixed_node, node_0
from jdarts.networks.recurrent.language_model import LanguageModel, Outputs
from jdarts.networks.recurrent.masks import CellMasks
from jdarts.networks.recurrent.norm import PYTORCH, Moments, batch_norm
from jdarts.networks.wiring import WholeVariables


class RecurrentSupernet(WholeVariables, LanguageModel, kw_only=True):
    """The search network; `LanguageModel` lists the other attributes.

    Every node reads all earlier ones through all activations. One batch norm without scale and shift follows node 0 and
    every other node. In training it takes the statistics of the batch at each time step; its running averages move,
    application by application, only when the collection `batch_stats` is mutable.

    Attributes:
      steps: the number of nodes behind node 0.
    """

    steps: int = 8

    @property
    def weight_axes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """`W` has a matrix for each node behind node 0, whichever node it reads."""
        return (), (self.steps,)

    @property
    def rows(self) -> int:
        """The number of rows of the op weights: one for each pair of nodes."""
        return self.steps * (self.steps + 1) // 2

    def setup(self):
        """The parameters, and the running averages of batch norm."""
        super().setup()
        self.mean = self.variable("batch_stats", "mean", jnp.zeros, (self.units,))
        self.var = self.variable("batch_stats", "var", jnp.ones, (self.units,))

    def __call__(self, tokens: jax.Array, hidden: jax.Array, op_weights: jax.Array, train: bool) -> Outputs:
        """The outputs for `tokens [time, batch]` after the hidden state `[batch, units]`.

        Args:
          tokens: whole numbers.
          hidden: hidden state.
          op_weights: `p [rows, 5]`, one column for each of `RECURRENT_OPS`. Node 1 has the first row, node 2 the next
            two, and so on; the rows of a node are in the order of the nodes that it reads.
          train: dropout, and batch norm by the statistics of the batch.

        Raises `UserError` for other shapes and tokens that are not whole numbers.
        """
        self.check_inputs(tokens, hidden)
        if op_weights.shape != (self.rows, len(RECURRENT_OPS)):
            raise UserError(f"op_weights has shape {op_weights.shape}; it needs {(self.rows, len(RECURRENT_OPS))}")
        p, masks = op_weights.astype(self.W0.dtype), self.cell_masks(tokens.shape[1], train)

        def step(carry, x):
            h, moments = self._cell(p, x, *carry, masks=masks, train=train)
            return (h, moments), h

        start = (hidden.astype(self.W0.dtype), Moments(self.mean.value, self.var.value))
        (_, moments), raw = self.over_time(step, start, self.embed(tokens, train))
        if train and self.is_mutable_collection("batch_stats") and not self.is_initializing():
            self.mean.value, self.var.value = moments
        return self.decode(raw, train)

    def _cell(self, p, x, h, moments: Moments, *, masks: CellMasks, train: bool) -> tuple[jax.Array, Moments]:
        s_0, moments = self._norm(node_0(self.W0, x, h, masks), moments, train)
        s = [s_0]
        for i in range(self.steps):
            row = i * (i + 1) // 2
            s_i, moments = self._norm(mixed_node(p[row : row + i + 1], self.W[i], s, masks), moments, train)
            s.append(s_i)
        return mean(s[1:]), moments

    def _norm(self, s: jax.Array, moments: Moments, train: bool) -> tuple[jax.Array, Moments]:
        return batch_norm(s, moments, PYTORCH, train=train, axis_name=self.axis_name)
