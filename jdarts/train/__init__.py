"""Training derived networks from scratch: here on images; `jdarts.train.language` on text."""

from jdarts.train.driver import TrainResult, run_training
from jdarts.train.step import Training, TrainState, evaluate, make_training

__all__ = ["TrainResult", "TrainState", "Training", "evaluate", "make_training", "run_training"]
