"""The tasks of networks of images: head, loss, metrics and predictions, behind one interface (`task.PredictionTask`).

* `classification`: one class an image. * `regression`: K numbers an image. * `multilabel`: any of K labels.
* `segmentation`: a class for every pixel.

A training takes the task of `train.task` and asks it for all that differs. A task of your own is one more object in
`TASKS`.
"""

from collections.abc import Mapping

from jdarts.train.tasks.classification import Classification
from jdarts.train.tasks.multilabel import MultiLabel
from jdarts.train.tasks.regression import Regression
from jdarts.train.tasks.segmentation import Segmentation
from jdarts.train.tasks.task import PredictionTask

TASKS: Mapping[str, PredictionTask] = {
    "classification": Classification(),
    "regression": Regression(),
    "multilabel": MultiLabel(),
    "segmentation": Segmentation(),
}
"""The values of `train.task`."""

__all__ = ["TASKS", "PredictionTask"]
