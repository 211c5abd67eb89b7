"""The weight-sharing language model of ENAS (Pham et al. 2018, §2.1; melodyguan/enas, ptb_enas_child.py).

It runs one architecture at a time, a token list. The weights of a node belong to its choices: there is a matrix for
each predecessor and activation.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jdarts.errors import UserError
from jdarts.genotypes.recurrent import ENAS_FUNCTIONS
from jdarts.networks.recurrent.cell import FUNCTIONS
from jdarts.networks.recurrent.language_model import LanguageModel, Outputs
from jdarts.networks.recurrent.masks import CellMasks
from jdarts.networks.recurrent.norm import ENAS, Moments, batch_norm
from jdarts.ops.initializers import constant

_STEP_MOMENTS = tuple[Moments, Moments]
"""Running averages of the products, `[nodes + 1, 2 · units]`, and of the output, `[units]`."""


class EnasSupernet(LanguageModel, kw_only=True):
    """The search network; `LanguageModel` lists the other attributes.

    Node i computes s_i = s_j + σ(c) · (f(h) − s_j) with [c, h] = norm(s_j W_ijf); the output is norm of the mean of the
    nodes that no node reads. The batch norms, one for each node and one for the output, have scale and shift and the
    constants of the release; the final network has none (`RecurrentModel`). Dropout is that of `LanguageModel`; the
    release drops a word for one sequence of the batch, not for all.

    Attributes:
      steps: the number of nodes behind node 0.
      functions: the activations, by their numbers in token lists.
    """

    steps: int = 11
    functions: tuple[str, ...] = ENAS_FUNCTIONS

    @property
    def weight_axes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """`W0` has a matrix for each activation; `W` for each pair of nodes, as in `darts_rnn`, and activation."""
        options = len(self.functions)
        return (options,), (self.steps * (self.steps + 1) // 2, options)

    def setup(self):
        """The parameters, and the running averages of the batch norms."""
        super().setup()
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
        weights = self.W0[functions[0]], self.W[rows, functions[1:]]
        loose = jnp.ones(self.steps + 1, self.W0.dtype).at[sources].set(0.0)

        def step(carry, x):
            h, moments = self._cell((weights, sources, functions, loose), x, *carry, masks=masks, train=train)
            return (h, moments), h

        moments = (
            Moments(self.product_mean.value, self.product_var.value),
            Moments(self.output_mean.value, self.output_var.value),
        )
        (_, moments), raw = lax.scan(step, (hidden.astype(self.W0.dtype), moments), self.embed(tokens, train))
        if train and self.is_mutable_collection("batch_stats") and not self.is_initializing():
            (self.product_mean.value, self.product_var.value), (self.output_mean.value, self.output_var.value) = moments
        return self.decode(raw, train)

    def _cell(
        self, sampled, x: jax.Array, h: jax.Array, moments: _STEP_MOMENTS, *, masks: CellMasks, train: bool
    ) -> tuple[jax.Array, _STEP_MOMENTS]:
        (W0, W), sources, functions, loose = sampled
        of_products, of_output = moments
        product = jnp.concatenate([x * masks.x, h * masks.hidden], -1) @ W0
        s, moved = [], []
        for i in range(self.steps + 1):
            source = h if i == 0 else jnp.stack(s)[sources[i - 1]]
            product = product if i == 0 else source * masks.hidden @ W[i - 1]
            now = Moments(of_products.mean[i], of_products.var[i])
            product, now = batch_norm(product, now, ENAS, train=train, axis_name=self.axis_name)
            c, candidate = jnp.split(product * self.product_scale[i] + self.product_shift[i], 2, axis=-1)
            activated = jnp.stack([FUNCTIONS[name](candidate) for name in self.functions])[functions[i]]
            s.append(source + jax.nn.sigmoid(c) * (activated - source))
            moved.append(now)
        output = jnp.tensordot(loose / loose.sum(), jnp.stack(s), 1)
        output, of_output = batch_norm(output, of_output, ENAS, train=train, axis_name=self.axis_name)
        output = output * self.output_scale + self.output_shift
        return output, (Moments(*map(jnp.stack, zip(*moved, strict=True))), of_output)
