"""The search: its state, its pure step, and the loops that run it.

    data = jdarts.data.load(config.data).for_search(config.data)
    search = make_search(config, space, data)
    state = search.init(jax.random.key(0))
    state, metrics = jax.jit(search.step)(state, search.arrays)

`step.py` contains the step (Algorithm 1), `objective.py` its losses, `batches.py` its batches. `run_search` runs a
whole search: in one loop (`single_loop.py`), or by the driver that the method names (`drivers/`). `population.py` runs
several searches in one program.
"""

from jdarts.search.run import run_search
from jdarts.search.search import Search, make_search
from jdarts.search.search_run import SearchRun
from jdarts.search.state import SearchState

__all__ = ["Search", "SearchRun", "SearchState", "make_search", "run_search"]
