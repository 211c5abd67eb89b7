"""Accuracies of candidates with shared weights, for derivations that evaluate images (SETN, RSPS, DARTS-PT)."""

from collections.abc import Callable
from typing import Any

import jax

from jdarts.data import SearchData
from jdarts.methods import Method
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

    With `train`, batch norms use the statistics of those examples, otherwise the running averages.
    """
    examples, score = search.task.scored(search.config, search.arrays, key), search.compiled_score
    return lambda op_weights: float(score(state, op_weights, *examples, train=train))
