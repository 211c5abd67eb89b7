"""Streamed images in a search: the batches of the coming steps, and those of a finished step, read again."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jdarts.config import Experiment
from jdarts.data.streaming import BatchShare, Stream, StreamedData
from jdarts.devices import processes
from jdarts.devices.advance import StepBatches, streamed
from jdarts.devices.placement import Placement
from jdarts.methods import Method
from jdarts.search.search import Search
from jdarts.search.state import SearchState
from jdarts.search.task import Arrays


def open_splits(
    config: Experiment, data: StreamedData, method: Method, *, process: int = 0, processes: int = 1
) -> dict[str, Stream]:
    """The streams `train` (for the weights) and `val` (for the alphas) of process `process` of `processes`."""
    settings = config.search
    share = BatchShare(
        batch_size=settings.batch_size, microbatches=settings.microbatches, process=process, processes=processes
    )
    options: dict[str, Any] = {"size": config.data.streamed_side, "threads": config.data.read_threads}
    alphas = data.train if method.alpha_data == "train" else data.val
    return {
        "train": Stream(data.train, share, seed=2 * config.seed, **options),
        "val": Stream(alphas, share, seed=2 * config.seed + 1, **options),
    }


def last_arrays(config: Experiment, search: Search) -> Callable[[SearchState], Arrays]:
    """`state -> arrays` with which `search.draw` returns the batches of the last finished step.

    Images on the device are all in `arrays`. Streamed images are read again, the whole batch of `config`.
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


def streams_of(config: Experiment, data: StreamedData, method: Method) -> dict[str, Stream]:
    """The streams of this process's share of the training batches and of the alphas' batches."""
    return open_splits(config, data, method, process=jax.process_index(), processes=processes.count())


def streamed_batches(config: Experiment, data: StreamedData, method: Method, placement: Placement) -> StepBatches:
    """The global batches of both splits; each process reads its own rows."""
    settings = config.search
    streams = {f"{split}_": stream for split, stream in streams_of(config, data, method).items()}
    return streamed(streams, placement, batch_size=settings.batch_size, microbatches=settings.microbatches)
