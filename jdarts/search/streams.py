"""Streamed images in a search: which of them a step sees, and those of a finished step once more."""

from collections.abc import Callable

import jax.numpy as jnp

from jdarts.config import Experiment
from jdarts.data.streaming import Stream, StreamedData
from jdarts.methods import Method
from jdarts.search.state import SearchState
from jdarts.search.step import Arrays, Search


def open_splits(
    config: Experiment, data: StreamedData, method: Method, *, process: int = 0, processes: int = 1
) -> dict[str, Stream]:
    """The streams `train` (for the weights) and `val` (for the alphas), as process `process` of `processes` reads
    them.
    """
    options = {
        "size": config.data.streamed_side,
        "batch_size": config.search.batch_size,
        "microbatches": config.search.microbatches,
        "process": process,
        "processes": processes,
        "threads": config.data.read_threads,
    }
    alphas = data.train if method.alpha_data == "train" else data.val
    return {
        "train": Stream(data.train, seed=2 * config.seed, **options),
        "val": Stream(alphas, seed=2 * config.seed + 1, **options),
    }


def last_arrays(config: Experiment, search: Search) -> Callable[[SearchState], Arrays]:
    """`state -> arrays` with which `search.draw` gives the batches of the last finished step again.

    For images on the device these are all of them; streamed ones are read once more, the whole batch of `config`.
    """
    data = search.data
    if not isinstance(data, StreamedData):
        return lambda state: search.arrays
    splits = open_splits(config, data, search.method)

    def read(state: SearchState) -> Arrays:
        step = max(int(state.step) - 1, 0)
        return {
            f"{split}_{name}": jnp.asarray(rows)
            for split, stream in splits.items()
            for name, rows in stream.batch(step).items()
        }

    return read
