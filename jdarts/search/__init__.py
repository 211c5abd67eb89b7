"""Searching: `SearchState`, the pure step, and what runs it.

    data = jdarts.data.load(config.data).for_search(config.data)
    search = make_search(config, space, data)
    state = search.init(jax.random.key(0))
    state, metrics = jax.jit(search.step)(state, search.arrays)

The step is in `step.py` (Algorithm 1), its losses in `objective.py`, its draws in `batches.py`. `run_search` runs a
whole search: one loop (`single_loop.py`), or the driver that a method names (`drivers/`). Several searches in one
program are in `population.py`.
"""

from jdarts.search.run import run_search
from jdarts.search.search import Search, make_search
from jdarts.search.search_run import SearchRun
from jdarts.search.state import SearchState

__all__ = ["Search", "SearchRun", "SearchState", "make_search", "run_search"]
