"""The discretisation gap: the supernet's accuracy with soft op weights minus its accuracy with only the derived ops."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jdarts.analysis.compiling import compile_pieces
from jdarts.analysis.live import LiveSearch
from jdarts.genotypes import Genotype
from jdarts.hypergrad import Loss
from jdarts.ops.batch_norm import BatchNorm


def evaluate(loss: Callable, w: Any, op_weights: Any, batches: Sequence[Any]) -> dict[str, float]:
    """Mean loss and accuracy over equal batches; `loss` is compiled and returns `(value, {"accuracy": …})`."""
    found = [loss(w, op_weights, batch) for batch in batches]
    return {
        "loss": float(np.mean([float(value) for value, _ in found])),
        "accuracy": float(np.mean([float(aux["accuracy"]) for _, aux in found])),
    }


def recalibrated(train_loss: Callable, w: Any, op_weights: Any, batches: Sequence[Any], *, passes: int = 1) -> Any:
    """Batch-norm statistics for these op weights: the plain mean over `batches`, without the old averages.

    `train_loss` is a compiled loss in training mode. A batch norm moves its averages by `momentum` towards the
    statistics of the batch. Starting from zero, the moved averages divided by `momentum` are these statistics. Where
    the norm is applied `passes` times in a forward pass, they are divided by 1 − (1 − momentum)^passes: the weighted
    mean of the statistics of all applications.
    """
    weight = BatchNorm.momentum if passes == 1 else 1 - (1 - BatchNorm.momentum) ** passes
    total = None
    for batch in batches:
        zeros = jax.tree.map(lambda s: s * 0, batch["batch_stats"])
        moved = train_loss(w, op_weights, {**batch, "batch_stats": zeros})[1]["batch_stats"]
        total = moved if total is None else jax.tree.map(lambda a, b: a + b, total, moved)
    return jax.tree.map(lambda s: s / (len(batches) * weight), total)


def discretisation_gap(
    live: LiveSearch, *, genotype: Genotype | None = None, batches: Sequence[Any] | None = None, recalibration: int = 8
) -> dict[str, Any]:
    """Supernet accuracy with soft and with one-hot op weights, with and without batch-norm recalibration.

    `genotype` defaults to the derived genotype, `batches` to all whole validation batches. `recalibration` is the
    number of training batches whose statistics replace the running statistics. The keys of the result are `soft`,
    `one_hot`, `soft_recalibrated`, `one_hot_recalibrated` (each with loss and accuracy), `gap` and `gap_recalibrated`
    (differences of accuracies, soft minus one-hot).
    """
    op_weights = live.op_weights
    genotype = genotype or live.genotype
    chosen = {**op_weights, **live.space.one_hot(genotype)}
    batches = live.whole("val") if batches is None else batches
    size = live.config.search.batch_size
    most = len(live.examples.rows("train", size, None))
    train_batches = live.batches(max(1, min(recalibration, most)), split="train")
    evaluation, training = (_compiled(live.loss(train=train, takes="op_weights")) for train in (False, True))
    found: dict[str, Any] = {"genotype": genotype.to_text()}
    for name, p in (("soft", op_weights), ("one_hot", chosen)):
        found[name] = evaluate(evaluation, live.w, p, batches)
        stats = recalibrated(training, live.w, p, train_batches, passes=live.examples.norms_a_pass)
        fresh = [{**batch, "batch_stats": stats} for batch in batches]
        found[f"{name}_recalibrated"] = evaluate(evaluation, live.w, p, fresh)
    found["gap"] = found["soft"]["accuracy"] - found["one_hot"]["accuracy"]
    found["gap_recalibrated"] = found["soft_recalibrated"]["accuracy"] - found["one_hot_recalibrated"]["accuracy"]
    return found


@functools.lru_cache(maxsize=16)
def _compiled(loss: Loss) -> Callable:
    """The compiled loss, cached by loss."""
    return compile_pieces(loss)
