"""One class for every image: softmax cross-entropy and accuracy."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jdarts.config import DataConfig, TrainConfig
from jdarts.data import Dataset, load
from jdarts.data.streamed_training import StreamedDataset, open_streamed_dataset
from jdarts.losses import accuracy, cross_entropies, cross_entropy
from jdarts.train.results import TrainResult
from jdarts.train.tasks.task import OfWholeImages, OutputScale, Prediction, Sums, TaskTotals, balanced, normal_mean


class Classification(OfWholeImages):
    """The task of `jdarts.data.Dataset` and `StreamedDataset`: int32 targets [N]."""

    name, measure, score, falls = "classification", "accuracy", "accuracy", False

    def load(self, config: DataConfig) -> Dataset | StreamedDataset:
        """The images of `config`, in memory or streamed."""
        return open_streamed_dataset(config) if config.source.startswith("stream:") else load(config)

    def check(self, settings: TrainConfig) -> None:
        """Everything is allowed."""

    def class_weights(self, targets: np.ndarray, outputs: int) -> np.ndarray:
        """`[K]`."""
        return balanced(np.bincount(targets, minlength=outputs), "training image")

    def loss(self, outputs: jax.Array, targets: jax.Array, weights: Any, smoothing: float) -> jax.Array:
        """Mean cross-entropy; each image times the weight of its class."""
        if weights is None:
            return cross_entropy(outputs, targets, smoothing)
        return normal_mean(cross_entropies(outputs, targets, smoothing), jnp.asarray(weights)[targets])

    def measured(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The accuracy."""
        return accuracy(outputs, targets)

    def sums(self, outputs: jax.Array, targets: jax.Array, counted: jax.Array) -> Sums:
        """`right` counts the images whose class has the largest logit; `loss` is the sum of their cross-entropies.

        `right_5` counts those whose class is among the five largest, of more than five classes.
        """
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, targets)
        right = (jnp.argmax(outputs, -1) == targets) & counted
        sums = {"right": jnp.sum(right, dtype=jnp.int32), "loss": jnp.sum(jnp.where(counted, losses, 0))}
        if outputs.shape[-1] > 5:
            among = jnp.any(jax.lax.top_k(outputs, 5)[1] == targets[:, None], axis=-1)
            sums["right_5"] = jnp.sum(among & counted, dtype=jnp.int32)
        return sums

    def figures(self, totals: TaskTotals, images: Any, scale: OutputScale) -> dict[str, float]:
        """`accuracy`, mean `loss`, and `top5_accuracy` of more than five classes."""
        del scale
        names = {"right": "accuracy", "right_5": "top5_accuracy"}
        return {names.get(name, name): float(total) / len(images) for name, total in totals.items()}

    def result(self, figures: Mapping[str, float], parameters: int, macs: int) -> TrainResult:
        """With the test accuracy."""
        return TrainResult(figures["accuracy"], figures["loss"], parameters, macs, figures.get("top5_accuracy"))

    def values(self, outputs: jax.Array, scale: OutputScale) -> jax.Array:
        """Probabilities of the classes."""
        del scale
        return jax.nn.softmax(outputs)

    def prediction(self, values: np.ndarray, classes: Sequence[str]) -> Prediction:
        """The most probable class."""
        return Prediction(classes[int(values.argmax())], float(values.max()))

    def columns(self, classes: Sequence[str]) -> list[str]:
        """The most probable class, its probability, and those of all classes."""
        return ["class", "probability", *classes]

    def row(self, values: np.ndarray, classes: Sequence[str]) -> list[Any]:
        """The cells of one image."""
        best = self.prediction(values, classes)
        return [best.name, f"{best.probability:.6f}", *(f"{value:.6f}" for value in values)]

    def entry(self, values: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
        """Class, probability and the probabilities of all classes."""
        best = self.prediction(values, classes)
        everything = dict(zip(classes, values.tolist(), strict=True))
        return {"class": best.name, "probability": best.probability, "probabilities": everything}
