"""Training derived networks from scratch: here on images; `jdarts.train.language` on text.

    result = run_training(config, genotype, load_data(config.data), run_folder, reporter=SilentReporter())
    result.test_accuracy, result.parameters            # the test images are read once, at the end

`make_training` gives the pure functions of a training instead: `init`, `step`, and the arrays of the images.
"""

from jdarts.train.driver import TrainResult, run_training
from jdarts.train.step import Training, TrainState, evaluate, make_training

__all__ = ["TrainResult", "TrainState", "Training", "evaluate", "make_training", "run_training"]
