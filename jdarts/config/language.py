"""Settings of searches and trainings on text."""

from dataclasses import dataclass
from typing import Annotated

from jdarts.config.ranges import Fraction, NonNegative, PositiveInt, Range, check_fields
from jdarts.config.section import Section


@dataclass(frozen=True)
class LanguageSearchConfig(Section):
    """The supernet of recurrent cells and the text that it reads; the defaults are those of DARTS on Penn Treebank."""

    units: PositiveInt = 300
    """Size of the hidden state and of the word vectors."""
    bptt: Annotated[int, Range(2, 10_000)] = 35
    """Words in a window of text, through which the gradient is propagated."""
    slowness: NonNegative = 1e-3
    """Weight of the mean squared change of the hidden state, added to the loss of the weights."""
    dropout_output: Fraction = 0.75
    """Dropout of the output (dropout in the DARTS code)."""
    dropout_hidden: Fraction = 0.25
    """Dropout of the states inside the cell (dropouth)."""
    dropout_x: Fraction = 0.75
    """Dropout of the cell's input (dropoutx)."""
    dropout_input: Fraction = 0.2
    """Dropout of the word vectors (dropouti)."""
    dropout_embedding: Fraction = 0.0
    """Dropout of whole words (dropoute)."""

    def __post_init__(self):
        check_fields(self, "language_search.")

    def dropouts(self) -> dict[str, float]:
        """The probabilities, by the names of `jdarts.networks.recurrent`."""
        places = ("output", "hidden", "x", "input", "embedding")
        return {f"dropout_{place}": getattr(self, f"dropout_{place}") for place in places}
