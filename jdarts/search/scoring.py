"""Comparing candidates with shared weights, for derivations that look at images (SETN, RSPS, DARTS-PT)."""

from collections.abc import Callable
from typing import Any

import jax

from jdarts.data import SearchData
from jdarts.methods import Method
from jdarts.search.hooks import EpochEnd, Hook
from jdarts.search.search import Search
from jdarts.search.state import SearchState

SCORED_IMAGES = 512  # of the validation split, as in the benchmark's code


def held_out(search: Search, method: Method) -> tuple[Hook, ...]:
    """The hook that records `held_out_accuracy`, for single-level searches: nothing learns from their validation split.

    It is the accuracy of the relaxed network (weights as they are derived from) on all images of that split, with
    running averages in the batch norms. No hook for a bilevel search, whose `val_accuracy` is kept, for streamed
    images, and for a split that single-level training has taken.
    """
    single = search.hypergradient == "single_level" and method.alpha_data is None
    if not single or not isinstance(search.data, SearchData) or search.data.single:
        return ()
    images, labels = search.arrays["val_images"], search.arrays["val_labels"]

    def measure(end: EpochEnd) -> dict[str, float]:
        state, p = end.state(), method.deterministic_weights(search.space, end.alphas)
        size, right = min(SCORED_IMAGES, len(labels)), 0.0
        for first in range(0, len(labels) - size + 1, size):
            rows = slice(first, first + size)
            right += float(search.compiled_score(state, p, images[rows], labels[rows], False))
        return {"held_out_accuracy": right / (len(labels) // size)}

    return (measure,)


def scorer(search: Search, state: SearchState, key: jax.Array, *, train: bool = False) -> Callable[[Any], float]:
    """`op_weights -> accuracy` with the weights of `state` on one batch of validation images, drawn by `key`.

    `train` normalises by the statistics of that batch, otherwise by running averages.
    """
    images, labels = search.arrays["val_images"], search.arrays["val_labels"]
    rows = jax.random.permutation(key, len(labels))[:SCORED_IMAGES]
    score = search.compiled_score
    return lambda op_weights: float(score(state, op_weights, images[rows], labels[rows], train))
