"""Estimates on text with the weights of a trained supernet of recurrent cells.

The supernet reads the validation text along the path of the architecture, as a language model does: in columns, window
by window, with the hidden state carried on and without dropout.
"""

import time
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import staging
from jdarts.config import Experiment
from jdarts.data.text import TextData, columns
from jdarts.errors import UserError, unknown
from jdarts.estimation.children import whole
from jdarts.estimation.estimator import Budget, Score
from jdarts.genotypes import excerpt
from jdarts.genotypes.recurrent import RecurrentGenotype
from jdarts.losses import perplexity
from jdarts.networks.recurrent.size import count_language_model
from jdarts.search.language import LanguageObjective
from jdarts.search.search import Search
from jdarts.search.state import SearchState
from jdarts.train.language.step import language_model

INHERITED_TEXT_BUDGET = {"words": "words of the validation text, in whole windows of all columns; all by default"}
"""The names of a budget of `InheritedText`."""


class InheritedText:
    """Scores recurrent cells with the shared weights of one trained supernet of their space.

    The validation text is cut into `search.batch_size` columns and read in whole windows of `language_search.bptt`
    words; a remainder is left out. The weights have not learned from this text; the alphas of a bilevel search have.
    Batch norms take the statistics of the columns at each time step, as in the training of the supernet, so that they
    need no recalibration for a path.

    A score has `perplexity`, `parameters` and `macs` (for one word) of the language model at the size of
    `config.language_train`, and `seconds`, the time of the evaluation. Its cost contains the compilation, too. The
    architecture is an input of the compiled function, so that only the first one compiles.

    Args:
      config: its sections `search` and `language_search` must be the settings of the trained search.
      search: the pure functions of the search.
      state: the weights, running averages and alphas.

    Raises `UserError` if the validation text does not fill a window.
    """

    values = ("perplexity", "parameters", "macs", "seconds")
    """The names of the values of a score."""

    def __init__(self, config: Experiment, search: Search, state: SearchState):
        assert isinstance(search.data, TextData) and isinstance(search.objective, LanguageObjective)
        self._config, self._search, self._state = config, search, state
        self._data, self._objective = search.data, search.objective
        self._columns = columns(self._data.valid, config.search.batch_size).T
        self._window = config.language_search.bptt
        self._base = search.method.deterministic_weights(search.space, state.alphas)
        if not self._windows:
            raise UserError(
                f"the validation text has {self._columns.shape[1]} words in each of search.batch_size = "
                f"{len(self._columns)} columns, less than a window of {self._window} words and the next one"
            )

    def __call__(self, architecture: Any, budget: Budget) -> Score:
        """The score of a genotype, or of its choices; raises `UserError` for one of another space."""
        started = time.monotonic()
        genotype, count = self._genotype(architecture), self._count(budget)
        p, hidden = self.op_weights(genotype), self._hidden
        program = self._program
        compiled, losses = time.monotonic(), []
        for tokens, targets in self._batches(count):
            loss, hidden = program(p, hidden, tokens, targets, self._state)
            losses.append(loss)
        mean = float(np.mean(np.asarray(jnp.stack(losses), np.float64)))  # of windows of equal length
        sizes, now = self.costs(genotype, budget), time.monotonic()
        return Score({"perplexity": perplexity(mean), **sizes, "seconds": now - compiled}, now - started)

    def check(self, architecture: Any, budget: Budget) -> None:
        """Raise `UserError` unless this architecture can be scored at this budget; nothing is compiled."""
        self._genotype(architecture)
        self._count(budget)

    def op_weights(self, architecture: Any) -> dict[str, jax.Array]:
        """The op weights of the path of an architecture."""
        return {**self._base, **self._search.space.one_hot(self._genotype(architecture))}

    @cached_property
    def _program(self) -> staging.Program:
        """The compiled `(op weights, hidden, tokens, targets, state) -> (mean loss, hidden)`."""
        p, (window, *_) = self.op_weights(self._search.space.random_genotype(0)), self._batches(1)
        return staging.compile(self._read, p, self._hidden, *window, self._state)

    def _read(self, p: Any, hidden: Any, tokens: Any, targets: Any, state: Any) -> tuple[jax.Array, jax.Array]:
        batch = {"tokens": tokens, "targets": targets, "hidden": hidden}
        batch |= {"batch_stats": state.batch_stats, "step": state.step}
        return self._objective.read(state.weights, p, batch, True)

    def _batches(self, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The first windows: tokens and targets, `[batch, window]` each."""
        for first in range(0, count * self._window, self._window):
            text = self._columns[:, first : first + self._window + 1]
            yield text[:, :-1], text[:, 1:]

    @property
    def _hidden(self) -> jax.Array:
        return jnp.zeros((len(self._columns), self._config.language_search.units), self._state.weights.dtype)

    @property
    def _windows(self) -> int:
        return (self._columns.shape[1] - 1) // self._window

    def _genotype(self, architecture: Any) -> RecurrentGenotype:
        space = self._search.space
        genotype = space.decode(architecture) if isinstance(architecture, tuple) else architecture
        if not isinstance(genotype, RecurrentGenotype):
            raise UserError(f"{excerpt(str(genotype))} is no genotype of {space.name}, the space of the supernet")
        space.encode(genotype)
        return genotype

    def _count(self, budget: Budget) -> int:
        """The number of windows of a budget."""
        for name in budget:
            if name not in INHERITED_TEXT_BUDGET:
                raise unknown("budget", name, INHERITED_TEXT_BUDGET)
        one = len(self._columns) * self._window
        words = whole("words", budget["words"]) if "words" in budget else one * self._windows
        if not one <= words <= len(self._data.valid):
            raise UserError(
                f"budget words is {words}; use a whole number of {one} (a window of all columns) to "
                f"{len(self._data.valid)} (the validation text)"
            )
        return min(words // one, self._windows)

    def costs(self, architecture: Any, budget: Budget) -> dict[str, float]:
        """The parameters, and the multiply–accumulates for one word, of the language model of `language_train`."""
        del budget
        genotype = self._genotype(architecture)
        model = language_model(self._config.language_train, genotype, len(self._data.vocabulary))
        count = count_language_model(model)
        return {"parameters": count.parameters, "macs": count.macs}
