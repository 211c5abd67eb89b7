"""Searching: `SearchState`, the pure step, and the driver that runs it.

    data = jdarts.data.load(config.data).for_search(config.data)
    search = make_search(config, space, data)
    state = search.init(jax.random.key(0))
    state, metrics = jax.jit(search.step)(state, search.arrays)

`init` and `make_step` give the two functions one at a time.
"""

from collections.abc import Callable

import jax

from jdarts.config import Experiment
from jdarts.data import SearchData
from jdarts.search.run import run_search
from jdarts.search.state import SearchState
from jdarts.search.step import Search, make_search
from jdarts.spaces.space import Space

__all__ = ["Search", "SearchState", "init", "make_search", "make_step", "run_search"]


def init(key: jax.Array, config: Experiment, space: Space, data: SearchData) -> SearchState:
    """The initial state of a search: weights, alphas, optimiser states and the key of every later draw."""
    return make_search(config, space, data).init(key)


def make_step(
    config: Experiment, space: Space, data: SearchData
) -> Callable[[SearchState], tuple[SearchState, dict[str, jax.Array]]]:
    """The pure step `state -> (state, metrics)`, with the data on the device bound to it."""
    search = make_search(config, space, data)
    return lambda state: search.step(state, search.arrays)
