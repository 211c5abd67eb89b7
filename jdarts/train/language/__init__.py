"""Training the language model of a derived recurrent cell from scratch (Liu et al. 2019, §3.2 and code).

SGD with clipping, windows of random length, locked dropout, penalties of activations and their changes, averaging of
the weights once the validation loss stops falling, and a return to the best weights when the loss explodes.

* `windows`: lengths and positions of the windows.
* `averaging`: NT-ASGD. * `step`: the pure functions of a training. * `driver`: the run.

Where this differs from the DARTS code:

* Windows are computed at one of a few lengths and masked, so that few programs are compiled.
* An epoch has a fixed number of steps, in which the text is read once on average. The hidden state becomes zero
  whenever the text ends, not at the start of an epoch.
* A mean loss is over all predicted words. The DARTS code divides the sum by one time step more than it has.
* While averaging, PyTorch's ASGD takes each step with the learning rate of the window before; here a step has that of
  its own window.
* After an explosion the run goes on with the next window. The DARTS code returns to the epoch of the best weights, so
  that it may never end.
"""

from jdarts.train.language.driver import (
    LanguageTrainResult,
    check_language_training,
    recurrent_cell,
    run_language_training,
    train_language_model,
)
from jdarts.train.language.step import (
    LanguageTraining,
    LanguageTrainState,
    evaluate,
    language_model,
    make_language_training,
    make_language_trainings,
)

__all__ = [
    "LanguageTrainResult",
    "LanguageTrainState",
    "LanguageTraining",
    "check_language_training",
    "evaluate",
    "language_model",
    "make_language_training",
    "make_language_trainings",
    "recurrent_cell",
    "run_language_training",
    "train_language_model",
]
