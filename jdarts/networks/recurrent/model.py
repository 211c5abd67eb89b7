"""The language model of a derived recurrent cell, trained from scratch (Liu et al. 2019, §3.2)."""

import jax

from jdarts.genotypes.recurrent import RecurrentGenotype
from jdarts.networks.recurrent.cell import derived_step
from jdarts.networks.recurrent.language_model import LanguageModel, Outputs


class RecurrentModel(LanguageModel, kw_only=True):
    """The language model of a genotype; `LanguageModel` lists the other attributes.

    Example::

        model = RecurrentModel(genotype=parse("DARTS_RNN"), vocabulary=10_000, embedding=850, units=850)
        hidden = model.initial_hidden(batch=64)
        variables = model.init(key, tokens, hidden, train=False)
        outputs = model.apply(variables, tokens, hidden, train=True, rngs={"dropout": key})
    """

    genotype: RecurrentGenotype

    @property
    def weight_axes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """`W` has a matrix for each node behind node 0."""
        return (), (len(self.genotype.recurrent),)

    def __call__(self, tokens: jax.Array, hidden: jax.Array, train: bool) -> Outputs:
        """The outputs for `tokens [time, batch]` after the hidden state `[batch, units]`.

        Raises `UserError` for other shapes and tokens that are not whole numbers.
        """
        self.check_inputs(tokens, hidden)
        masks = self.cell_masks(tokens.shape[1], train)

        def step(h, x):
            h = derived_step(self.genotype, self.W0, self.W, x, h, masks)
            return h, h

        _, raw = self.over_time(step, hidden.astype(self.W0.dtype), self.embed(tokens, train))
        return self.decode(raw, train)
