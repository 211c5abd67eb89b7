"""Settings of searches and trainings on text."""

from dataclasses import dataclass
from typing import Annotated, Any

from jdarts.config.ranges import (
    CheckpointCount,
    CountOrOff,
    Epochs,
    Fraction,
    NonNegative,
    Positive,
    PositiveInt,
    Range,
    check_fields,
)
from jdarts.config.section import Section


class _Dropouts:
    """The probabilities of dropout of a language model, as fields `dropout_PLACE`."""

    def dropouts(self) -> dict[str, Any]:
        """The probabilities, by the names of `jdarts.networks.recurrent`."""
        places = ("output", "hidden", "x", "input", "embedding")
        return {f"dropout_{place}": getattr(self, f"dropout_{place}") for place in places}


@dataclass(frozen=True)
class LanguageSearchConfig(Section, _Dropouts):
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


@dataclass(frozen=True)
class LanguageTrainConfig(Section, _Dropouts):
    """Training a derived recurrent cell from scratch; the defaults are those of DARTS on Penn Treebank."""

    epochs: Epochs = 1600
    """Readings of the training text, on average (paper; the DARTS code stops after 8000 at the latest)."""
    batch_size: PositiveInt = 64
    """Columns into which the training text is cut."""
    units: PositiveInt = 850
    """Size of the hidden state and of the word vectors."""
    bptt: Annotated[int, Range(2, 10_000)] = 35
    """Usual number of words in a window of text; the windows of the steps have random lengths around it."""
    learning_rate: Positive = 20.0
    """Of a window of bptt words; in proportion to the length for other windows."""
    gradient_clip: NonNegative = 0.25
    """Global-norm threshold applied before weight decay; 0 switches clipping off."""
    weight_decay: NonNegative = 8e-7
    activation: NonNegative = 0.0
    """Weight of the mean square of the output behind its dropout, added to the loss (alpha in the DARTS code)."""
    slowness: NonNegative = 1e-3
    """Weight of the mean squared change of the hidden state, added to the loss (beta)."""
    nonmono: PositiveInt = 5
    """Averaging of the weights begins after an epoch whose validation loss is above the lowest one of all epochs
    but the last `nonmono` before it."""
    dropout_output: Fraction = 0.75
    """Dropout of the output (dropout in the DARTS code)."""
    dropout_hidden: Fraction = 0.25
    """Dropout of the states inside the cell (dropouth)."""
    dropout_x: Fraction = 0.75
    """Dropout of the cell's input (dropoutx)."""
    dropout_input: Fraction = 0.2
    """Dropout of the word vectors (dropouti)."""
    dropout_embedding: Fraction = 0.1
    """Dropout of whole words (dropoute)."""
    val_batch_size: PositiveInt = 10
    """Columns into which the validation text is cut."""
    test_batch_size: PositiveInt = 1
    """Columns into which the test text is cut."""
    rollbacks: CountOrOff = 10
    """Returns to the best weights, after the loss exploded, that are allowed in a run; one more, and the run fails."""
    checkpoint_every: PositiveInt = 1
    """Save the whole state every N epochs."""
    checkpoint_every_steps: CountOrOff = 0
    """Also save every N steps inside an epoch; 0 is off."""
    keep_checkpoints: CheckpointCount = 3

    def __post_init__(self):
        check_fields(self, "language_train.")
