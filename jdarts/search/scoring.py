"""Comparing candidates with shared weights, for derivations that look at images (SETN, RSPS, DARTS-PT)."""

from collections.abc import Callable
from typing import Any

import jax

from jdarts.search.state import SearchState
from jdarts.search.step import Search

SCORED_IMAGES = 512  # of the validation split, as in the benchmark's code


def held_out(search: Search) -> Callable[[SearchState], float]:
    """`state -> accuracy` of the relaxed network (weights as they are derived from) on all images of the validation
    split, with running averages in the batch norms: for single-level searches, where nothing learns from that split.
    """
    images, labels = search.arrays["val_images"], search.arrays["val_labels"]

    def measure(state: SearchState) -> float:
        p = search.method.deterministic_weights(search.space, state.alphas)
        size, right = min(SCORED_IMAGES, len(labels)), 0.0
        for first in range(0, len(labels) - size + 1, size):
            rows = slice(first, first + size)
            right += float(search.compiled_score(state, p, images[rows], labels[rows], False))
        return right / (len(labels) // size)

    return measure


def scorer(search: Search, state: SearchState, key: jax.Array, *, train: bool = False) -> Callable[[Any], float]:
    """`op_weights -> accuracy` with the weights of `state` on one batch of validation images, drawn by `key`.

    `train` normalises by the statistics of that batch, otherwise by running averages.
    """
    images, labels = search.arrays["val_images"], search.arrays["val_labels"]
    rows = jax.random.permutation(key, len(labels))[:SCORED_IMAGES]
    score = search.compiled_score
    return lambda op_weights: float(score(state, op_weights, images[rows], labels[rows], train))
