"""The tasks of networks of images: head, loss, metrics and predictions, behind one interface (`task.TrainedTask`).

* `classification`: one class an image. * `regression`: K numbers an image. * `multilabel`: any of K labels.
* `segmentation`: a class for every pixel. * `detection`: objects with classes and boxes.

A training takes the task of `train.task` and asks it for all that differs. A task of your own is one more object in
`TASKS`.
"""

from collections.abc import Mapping

from jdarts.config import Experiment
from jdarts.errors import UserError
from jdarts.train.tasks.classification import Classification
from jdarts.train.tasks.detection import Detection
from jdarts.train.tasks.multilabel import MultiLabel
from jdarts.train.tasks.regression import Regression
from jdarts.train.tasks.segmentation import Segmentation
from jdarts.train.tasks.task import TrainedTask

TASKS: Mapping[str, TrainedTask] = {
    "classification": Classification(),
    "regression": Regression(),
    "multilabel": MultiLabel(),
    "segmentation": Segmentation(),
    "detection": Detection(),
}
"""The values of `train.task`."""

__all__ = ["TASKS", "TrainedTask", "require_classification"]


def require_classification(config: Experiment) -> None:
    """Raise `UserError` if another task is set; searches classify."""
    if config.train.task != "classification":
        raise UserError(
            f"train.task is {config.train.task}, but searches classify images; train the genotype that a search has "
            "found for this task (jdarts train)"
        )
