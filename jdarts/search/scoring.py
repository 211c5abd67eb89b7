"""Accuracies of candidates with shared weights, for derivations that evaluate images (SETN, RSPS, DARTS-PT)."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import jax

from jdarts import staging
from jdarts.data import SearchData
from jdarts.data.augment import normalize
from jdarts.methods import Method
from jdarts.networks.counting import Count
from jdarts.networks.of_genotype import count_network
from jdarts.search.hooks import EpochEnd, Hook
from jdarts.search.search import Search
from jdarts.search.state import SearchState


def held_out(search: Search, method: Method) -> tuple[Hook, ...]:
    """The hook that records `held_out_accuracy` in a single-level search, which does not learn from validation images.

    It is the accuracy of the relaxed network, with the op weights of the derivation, on all images of the validation
    split, with running averages in the batch norms. There is no hook for a bilevel search, which records
    `val_accuracy`, for streamed images, or if single-level training uses all images.
    """
    single = search.hypergradient == "single_level" and method.alpha_data is None
    if not single or not isinstance(search.data, SearchData) or search.data.single:
        return ()
    parts = list(search.task.held_out(search.config, search.arrays))

    def measure(end: EpochEnd) -> dict[str, float]:
        state, p = end.state(), method.deterministic_weights(search.space, end.alphas)
        scores = [float(search.compiled_score(state, p, *part)) for part in parts]
        return {"held_out_accuracy": sum(scores) / len(scores)}

    return (measure,)


def scorer(search: Search, state: SearchState, key: jax.Array, *, train: bool = False) -> Callable[[Any], float]:
    """`op_weights -> score` with the weights of `state` on validation examples (`SearchTask.scored`), drawn by `key`.

    With `train`, or if the method says so, batch norms use the statistics of those examples, otherwise the running
    averages; or, if the method says so, those of training batches (`Recalibrated`).
    """
    train = train or bool(search.method.batch_statistics)
    examples, score = search.task.scored(search.config, search.arrays, key), search.compiled_score
    if search.method.recalibration is not None:
        return Recalibrated(search, state, examples, key)
    return lambda op_weights: float(score(state, op_weights, *examples, train=train))


class Recalibrated:
    """Scores of paths of a supernet of images, each with the batch-norm statistics of its own.

    The statistics of a path are the means over `method.recalibration` training batches, the same without augmentation
    for all paths (Guo et al. 2020, §3.3); for 0 batches the running averages. Compiled once for all paths.

    Args:
      examples: validation images and labels.
      key: draws the training images.

    Attributes:
      front: records of the candidates that a derivation for several objectives leaves here, for the run folder.
    """

    front: Sequence[Mapping[str, Any]] = ()

    def __init__(self, search: Search, state: Any, examples: tuple[jax.Array, ...], key: jax.Array):
        self._search, self._state, self._examples = search, state, examples
        images = search.arrays["train_images"]
        size = min(search.config.search.batch_size, len(images))
        batches = min(search.method.recalibration or 0, len(images) // size)
        rows = jax.random.permutation(jax.random.fold_in(key, 1), len(images))[: batches * size]
        self._rows = rows.reshape(batches, size)

    def __call__(self, op_weights: Any) -> float:
        """The score of a path, `{matrix: [layers, ops]}`, one-hot."""
        moments, score = _programs(self._search, self._rows.shape[1], len(self._examples[0]))
        statistics, images = self._state.batch_stats, self._search.arrays["train_images"]
        if len(self._rows):
            statistics = sum(moments(self._state, op_weights, images[rows]) for rows in self._rows) / len(self._rows)
        return float(score(self._state.replace(batch_stats=statistics), op_weights, *self._examples))

    def macs(self, architecture: Any) -> int:
        """Multiply–accumulates of a network of the space, for one image of the search."""
        return self.size(architecture).macs

    def size(self, architecture: Any) -> Count:
        """Parameters and multiply–accumulates of a network of the space, for one image of the search."""
        shape, config = self._search.data.image_shape, self._search.config
        return count_network(
            architecture,
            channels=config.space.channels,
            cells=config.space.cells,
            classes=self._search.data.num_classes,
            image_size=(shape[0], shape[1]),
        )


@lru_cache(maxsize=2)
def _programs(search: Search, batch: int, scored: int) -> tuple[staging.Program, staging.Program]:
    """`(state, path, images) -> statistics` and `(state, path, images, labels) -> score`, compiled in pieces."""

    def moments(state, op_weights, images):
        normal = normalize(images, mean=search.data.mean, std=search.data.std)
        inputs = {"images": normal, "batch_stats": state.batch_stats, "step": state.step}
        objective: Any = search.objective
        return objective.batch_statistics(state.weights, op_weights, inputs)

    state = jax.eval_shape(search.init, jax.random.key(0))
    path = search.space.one_hot(search.space.random_genotype(0))
    images, labels = search.arrays["train_images"], search.arrays["train_labels"]
    return (
        staging.compile(moments, state, path, _like(images, batch)),
        staging.compile(search.score, state, path, _like(images, scored), _like(labels, scored)),
    )


def _like(array: jax.Array, rows: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((rows, *array.shape[1:]), array.dtype)
