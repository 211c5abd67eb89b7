"""Searching: `SearchState`, the pure step, and the driver that runs it.

search = make_search(config, space, data.for_search(config.data))
state = search.init(jax.random.key(0))
state, metrics = jax.jit(search.step)(state, search.arrays)
"""

from jdarts.search.driver import run_search
from jdarts.search.state import SearchState
from jdarts.search.step import Search, make_search

__all__ = ["Search", "SearchState", "make_search", "run_search"]
