"""Any of K labels for every image: a sigmoid and a binary cross-entropy for each label, F1."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jdarts.config import DataConfig, TrainConfig
from jdarts.data.table import load_targets
from jdarts.data.targets import TargetDataset
from jdarts.errors import UserError
from jdarts.train.results import TaskResult
from jdarts.train.tasks.task import (
    OfWholeImages,
    OutputScale,
    Prediction,
    Sums,
    TaskTotals,
    normal_mean,
    refuse_smoothing,
)


class MultiLabel(OfWholeImages):
    """The task of targets [N, K] that are 0 or 1. A label is predicted if its probability is at least one half."""

    name, measure, score, falls = "multilabel", "accuracy", "macro_f1", False

    def load(self, config: DataConfig) -> TargetDataset:
        """Images and labels."""
        return load_targets(config, "labels")

    def check(self, settings: TrainConfig) -> None:
        """Labels have no smoothing here."""
        refuse_smoothing(settings, "several labels")

    def class_weights(self, targets: np.ndarray, outputs: int) -> np.ndarray:
        """`[2, K]`: the weights of a label that is absent and of one that is present, each N / (2 · count)."""
        present = targets.sum(0, dtype=np.int64)
        counts = np.stack([len(targets) - present, present])
        if (counts == 0).any():
            label = int(np.argwhere(counts == 0)[0, 1])
            raise UserError(
                f"train.class_weights is balanced, but label {label} is the same in all training images; set it to none"
            )
        return (len(targets) / (2 * counts)).astype(np.float32)

    def loss(self, outputs: jax.Array, targets: jax.Array, weights: Any, smoothing: float) -> jax.Array:
        """The mean over images and labels of the binary cross-entropy, times the weights."""
        del smoothing
        losses = optax.sigmoid_binary_cross_entropy(outputs, targets.astype(outputs.dtype))
        if weights is None:
            return normal_mean(losses)
        absent, present = jnp.asarray(weights)
        return normal_mean(losses, jnp.where(targets == 1, present, absent))

    def measured(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The share of labels that are right."""
        return jnp.mean(((outputs >= 0) == (targets == 1)).astype(jnp.float32))

    def sums(self, outputs: jax.Array, targets: jax.Array, counted: jax.Array) -> Sums:
        """True and false positives and false negatives of each label [K], right images, and losses."""
        found, true, kept = outputs >= 0, targets == 1, counted[:, None]
        losses = jnp.mean(optax.sigmoid_binary_cross_entropy(outputs, targets.astype(outputs.dtype)), -1)
        parts = {"both": found & true, "only_found": found & ~true, "only_true": ~found & true}
        sums: Sums = {name: jnp.sum(part & kept, 0, dtype=jnp.int32) for name, part in parts.items()}
        exact = jnp.all(found == true, -1) & counted
        return sums | {"exact": jnp.sum(exact, dtype=jnp.int32), "loss": jnp.sum(jnp.where(counted, losses, 0))}

    def figures(self, totals: TaskTotals, images: Any, scale: OutputScale) -> dict[str, float]:
        """`loss`, `accuracy` of single labels, `exact_match` of all labels, `micro_f1` and `macro_f1`.

        F1 of a label that is neither present nor predicted is 0.
        """
        del scale
        both, wrong = totals["both"], totals["only_found"] + totals["only_true"]
        f1 = 2 * both / np.maximum(2 * both + wrong, 1)
        return {
            "loss": float(totals["loss"]) / len(images),
            "accuracy": float(1 - wrong.sum() / (len(images) * len(both))),
            "exact_match": float(totals["exact"]) / len(images),
            "micro_f1": float(2 * both.sum() / max(2 * both.sum() + wrong.sum(), 1)),
            "macro_f1": float(f1.mean()),
        }

    def result(self, figures: Mapping[str, float], parameters: int, macs: int) -> TaskResult:
        """With all metrics of the test images."""
        return TaskResult(figures, parameters, macs)

    def values(self, outputs: jax.Array, scale: OutputScale) -> jax.Array:
        """Probabilities of the labels."""
        del scale
        return jax.nn.sigmoid(outputs)

    def prediction(self, values: np.ndarray, classes: Sequence[str]) -> list[Prediction]:
        """The labels of probability one half and more."""
        return [Prediction(name, float(p)) for name, p in zip(classes, values, strict=True) if p >= 0.5]

    def columns(self, classes: Sequence[str]) -> list[str]:
        """The predicted labels, and the probabilities of all."""
        return ["labels", *classes]

    def row(self, values: np.ndarray, classes: Sequence[str]) -> list[Any]:
        """The cells of one image."""
        names = " ".join(each.name for each in self.prediction(values, classes))
        return [names, *(f"{value:.6f}" for value in values)]

    def entry(self, values: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
        """The predicted labels, and the probabilities of all."""
        names = [each.name for each in self.prediction(values, classes)]
        return {"labels": names, "probabilities": dict(zip(classes, values.tolist(), strict=True))}
