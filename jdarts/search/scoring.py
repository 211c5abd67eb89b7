"""Accuracies of candidates with shared weights, for derivations that evaluate images (SETN, RSPS, DARTS-PT)."""

from collections.abc import Callable
from typing import Any

import jax

from jdarts.data import SearchData
from jdarts.methods import Method
from jdarts.search.hooks import EpochEnd, Hook
from jdarts.search.search import Search
from jdarts.search.state import SearchState

SCORED_IMAGES = 512  # images of the validation split, as in the code of NAS-Bench-201


def held_out(search: Search, method: Method) -> tuple[Hook, ...]:
    """The hook that records `held_out_accuracy` in a single-level search, which does not learn from validation images.

    It is the accuracy of the relaxed network, with the op weights of the derivation, on all images of the validation
    split, with running averages in the batch norms. There is no hook for a bilevel search, which records
    `val_accuracy`, for streamed images, or if single-level training uses all images.
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

    With `train`, batch norms use the statistics of that batch, otherwise the running averages.
    """
    images, labels = search.arrays["val_images"], search.arrays["val_labels"]
    rows = jax.random.permutation(key, len(labels))[:SCORED_IMAGES]
    score = search.compiled_score
    return lambda op_weights: float(score(state, op_weights, images[rows], labels[rows], train))
