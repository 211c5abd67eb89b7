"""Training derived networks from scratch: here on images; `jdarts.train.language` on text.

    result = run_training(config, genotype, load_data(config.data), run_folder, reporter=SilentReporter())
    result.test_accuracy, result.parameters            # the test images are read once, at the end

`make_training` gives the pure functions of a training instead: `init`, `step`, and the arrays of the images.

* `step`: the pure functions of a training, for one replica. * `training`: compiled, on one device or a placement.
* `placing`: its devices. * `driver`: the run. * `tasks`: head, loss and metrics. * `transfer`, `frozen`: a trained
network as the start. * `best`: the best epoch. * `trained`: the network that a run leaves.
"""

from jdarts.train.driver import run_training
from jdarts.train.placing import place_training
from jdarts.train.results import TaskResult, TrainResult
from jdarts.train.step import TrainState, TrainStep, check_augmentation, train_step
from jdarts.train.training import PlacedTraining, Training, evaluate, make_training, make_trainings

__all__ = [
    "PlacedTraining",
    "TaskResult",
    "TrainResult",
    "TrainState",
    "TrainStep",
    "Training",
    "check_augmentation",
    "evaluate",
    "make_training",
    "make_trainings",
    "place_training",
    "run_training",
    "train_step",
]
