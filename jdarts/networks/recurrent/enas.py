"""The weight-sharing language models of ENAS (Pham et al. 2018, §2.1): of its first release and of enas_lm.

They run one architecture at a time, a token list. The weights of a node belong to its choices: there is a matrix for
each predecessor and activation. (melodyguan/enas, ptb_enas_child.py; google-research/enas_lm, child.py.)
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jdarts.errors import UserError
from jdarts.genotypes.recurrent import ENAS_FUNCTIONS
from jdarts.networks.recurrent.cell import FUNCTIONS
from jdarts.networks.recurrent.language_model import LanguageModel, Outputs
from jdarts.networks.recurrent.masks import CellMasks
from jdarts.networks.recurrent.norm import ENAS, Moments, batch_norm
from jdarts.networks.wiring import WholeVariables
from jdarts.ops.initializers import constant

_STEP_MOMENTS = tuple[Moments, Moments]
"""Running averages of the products, `[nodes + 1, 2 · units]`, and of the output, `[units]`."""


class EnasSupernet(WholeVariables, LanguageModel, kw_only=True):
    """The search network; `LanguageModel` lists the other attributes.

    Node i computes s_i = s_j + σ(c) · (f(h) − s_j) with [c, h] = norm(s_j W_ijf); the output is norm of the mean of
    some nodes. The batch norms, one for each node and one for the output, have scale and shift and the constants of the
    release; the final network has none (`RecurrentModel`). The network of enas_lm has `first=False`, `output="nodes"`
    and `norms=False`. Dropout is that of `LanguageModel`; the first release drops a word for one sequence of the batch,
    not for all.

    Attributes:
      steps: the number of nodes behind node 0.
      functions: the activations, by their numbers in token lists.
      first: node 0 has a matrix for each activation; otherwise one matrix, whatever its activation.
      output: the nodes whose mean is the output: those that no node reads, or all but node 0.
      norms: with batch norms.
    """

    steps: int = 11
    functions: tuple[str, ...] = ENAS_FUNCTIONS
    first: bool = True
    output: Literal["nodes", "loose_ends"] = "loose_ends"
    norms: bool = True

    @property
    def weight_axes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """`W0` has a matrix for each activation of node 0; `W` for each pair of nodes, as in `darts_rnn`, and
        activation."""
        options = len(self.functions)
        return (options if self.first else 1,), (self.steps * (self.steps + 1) // 2, options)

    def setup(self):
        """The parameters, and the running averages of the batch norms."""
        super().setup()
        if not self.norms:
            return
        of_products, of_output = (self.steps + 1, 2 * self.units), (self.units,)
        self.product_scale = self.param("product_scale", constant(1.0), of_products)
        self.product_shift = self.param("product_shift", constant(0.0), of_products)
        self.output_scale = self.param("output_scale", constant(1.0), of_output)
        self.output_shift = self.param("output_shift", constant(0.0), of_output)
        self.product_mean = self.variable("batch_stats", "mean", jnp.zeros, of_products)
        self.product_var = self.variable("batch_stats", "var", jnp.ones, of_products)
        self.output_mean = self.variable("batch_stats", "output_mean", jnp.zeros, of_output)
        self.output_var = self.variable("batch_stats", "output_var", jnp.ones, of_output)

    def __call__(self, tokens: jax.Array, hidden: jax.Array, arc: jax.Array, train: bool) -> Outputs:
        """The outputs for `tokens [time, batch]` after the hidden state `[batch, units]`.

        Args:
          tokens: whole numbers.
          hidden: hidden state.
          arc: token list `[2 · steps + 1]`, whole numbers as of `jdarts.genotypes.recurrent.enas_tokens`: the
            activation of node 0, then predecessor and activation of each node. It may be traced, so that one program
            runs every architecture; numbers out of range are not noticed.
          train: dropout, and batch norm by the statistics of the batch.

        Raises `UserError` for other shapes and types.
        """
        self.check_inputs(tokens, hidden)
        if arc.shape != (2 * self.steps + 1,) or not jnp.issubdtype(arc.dtype, jnp.integer):
            raise UserError(f"arc has shape {arc.shape} and type {arc.dtype}; give {2 * self.steps + 1} whole numbers")
        masks = self.cell_masks(tokens.shape[1], train)
        sources, functions = arc[1::2], arc[::2]
        rows = jnp.array([i * (i + 1) // 2 for i in range(self.steps)]) + sources
        weights = self.W0[functions[0] if self.first else 0], self.W[rows, functions[1:]]
        sampled = weights, sources, functions, self._averaged(sources)

        def step(carry, x):
            h, moments = self._cell(sampled, x, *carry, masks=masks, train=train)
            return (h, moments), h

        start = hidden.astype(self.W0.dtype), self._moments()
        (_, moments), raw = self.over_time(step, start, self.embed(tokens, train))
        if moments and train and self.is_mutable_collection("batch_stats") and not self.is_initializing():
            (self.product_mean.value, self.product_var.value), (self.output_mean.value, self.output_var.value) = moments
        return self.decode(raw, train)

    def _averaged(self, sources: jax.Array) -> jax.Array:
        """The weights of all nodes in the output, `[steps + 1]`; their sum is 1."""
        every = jnp.ones(self.steps + 1, self.W0.dtype)
        used = every.at[sources].set(0.0) if self.output == "loose_ends" else every.at[0].set(0.0)
        return used / used.sum()

    def _moments(self) -> _STEP_MOMENTS | tuple[()]:
        if not self.norms:
            return ()
        return (
            Moments(self.product_mean.value, self.product_var.value),
            Moments(self.output_mean.value, self.output_var.value),
        )

    def _cell(
        self, sampled, x: jax.Array, h: jax.Array, moments: _STEP_MOMENTS | tuple[()], *, masks: CellMasks, train: bool
    ) -> tuple[jax.Array, _STEP_MOMENTS | tuple[()]]:
        (W0, W), sources, functions, averaged = sampled
        product = jnp.concatenate([x * masks.x, h * masks.hidden], -1) @ W0
        s, moved = [], []
        for i in range(self.steps + 1):
            source = h if i == 0 else jnp.stack(s)[sources[i - 1]]
            product = product if i == 0 else source * masks.hidden @ W[i - 1]
            if moments:
                now = Moments(moments[0].mean[i], moments[0].var[i])
                product, now = batch_norm(product, now, ENAS, train=train, axis_name=self.axis_name)
                product = product * self.product_scale[i] + self.product_shift[i]
                moved.append(now)
            c, candidate = jnp.split(product, 2, axis=-1)
            activated = jnp.stack([FUNCTIONS[name](candidate) for name in self.functions])[functions[i]]
            s.append(source + jax.nn.sigmoid(c) * (activated - source))
        output = jnp.tensordot(averaged, jnp.stack(s), 1)
        if not moments:
            return output, ()
        output, of_output = batch_norm(output, moments[1], ENAS, train=train, axis_name=self.axis_name)
        output = output * self.output_scale + self.output_shift
        return output, (Moments(*map(jnp.stack, zip(*moved, strict=True))), of_output)
