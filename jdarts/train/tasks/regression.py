"""K numbers for every image: squared error, RMSE, MAE and R².

A network learns numbers in units of their standard deviation in the training images (`jdarts.data.targets.TargetData`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.config import DataConfig, TrainConfig
from jdarts.data.table import load_targets
from jdarts.data.targets import TargetDataset
from jdarts.errors import UserError
from jdarts.train.results import TaskResult
from jdarts.train.tasks.task import OfWholeImages, OutputScale, Sums, TaskTotals, refuse_smoothing


class Regression(OfWholeImages):
    """The task of float32 targets [N, K]."""

    name, measure, score, falls = "regression", "rmse", "rmse", True

    def load(self, config: DataConfig) -> TargetDataset:
        """Images and numbers."""
        return load_targets(config, "numbers")

    def check(self, settings: TrainConfig) -> None:
        """Numbers have no classes."""
        refuse_smoothing(settings, "regression")
        if settings.class_weights != "none":
            self.class_weights(np.zeros(0), 0)

    def class_weights(self, targets: np.ndarray, outputs: int) -> np.ndarray:
        """Raise `UserError`: numbers have no classes."""
        raise UserError("train.class_weights is balanced, but regression has no classes; set it to none")

    def loss(self, outputs: jax.Array, targets: jax.Array, weights: Any, smoothing: float) -> jax.Array:
        """The mean squared error over images and numbers, in standard deviations."""
        del weights, smoothing
        return jnp.mean(jnp.square(outputs - targets.astype(outputs.dtype)))

    def measured(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The root of the mean squared error of the batch, in standard deviations."""
        return jnp.sqrt(jnp.mean(jnp.square(outputs - targets.astype(outputs.dtype))))

    def sums(self, outputs: jax.Array, targets: jax.Array, counted: jax.Array) -> Sums:
        """For each number [K]: squared and absolute errors, and targets and their squares."""
        kept, targets = counted[:, None], targets.astype(outputs.dtype)
        parts = {
            "squared": jnp.square(outputs - targets),
            "absolute": jnp.abs(outputs - targets),
            "target": targets,
            "target_squared": jnp.square(targets),
        }
        return {name: jnp.sum(jnp.where(kept, part, 0), 0) for name, part in parts.items()}

    def figures(self, totals: TaskTotals, images: Any, scale: OutputScale) -> dict[str, float]:
        """Mean squared `loss` in standard deviations; `rmse` and `mae` in the original units; `r2`.

        RMSE is the root of the mean over all numbers; MAE and R² (the coefficient of determination) are means of those
        of each number. R² is NaN for targets that are all equal.
        """
        std = np.asarray(scale.std)
        spread = totals["target_squared"] - totals["target"] ** 2 / len(images)
        with np.errstate(divide="ignore", invalid="ignore"):
            r2 = np.where(spread > 0, 1 - totals["squared"] / spread, np.nan)
        return {
            "loss": float(np.mean(totals["squared"]) / len(images)),
            "rmse": float(np.sqrt(np.mean(totals["squared"] * std**2) / len(images))),
            "mae": float(np.mean(totals["absolute"] * std) / len(images)),
            "r2": float(np.mean(r2)),
        }

    def result(self, figures: Mapping[str, float], parameters: int, macs: int) -> TaskResult:
        """With all metrics of the test images."""
        return TaskResult(figures, parameters, macs)

    def values(self, outputs: jax.Array, scale: OutputScale) -> jax.Array:
        """The numbers in the original units."""
        return jnp.asarray(scale.mean, outputs.dtype) + jnp.asarray(scale.std, outputs.dtype) * outputs

    def prediction(self, values: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
        """The numbers by name."""
        return dict(zip(classes, values.tolist(), strict=True))

    def columns(self, classes: Sequence[str]) -> list[str]:
        """The names of the numbers."""
        return list(classes)

    def row(self, values: np.ndarray, classes: Sequence[str]) -> list[Any]:
        """The numbers of one image."""
        del classes
        return [f"{value:.6g}" for value in values]

    def entry(self, values: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
        """The numbers by name."""
        return self.prediction(values, classes)
