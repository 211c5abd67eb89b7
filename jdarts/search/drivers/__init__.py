"""Drivers: methods that need more than one loop, one file per method. They call `run_single_loop`.

A driver is the function `search` of its file, `run -> (genotype, last state or None)`. A method names its driver in
`Method.driver`.
"""

from collections.abc import Callable, Mapping

from jdarts.genotypes import Genotype
from jdarts.search.drivers import (
    cdarts,
    darts_ada,
    darts_pt,
    drnas,
    enas,
    gold_nas,
    p_darts,
    r_darts,
    random_search,
    stac_nas,
)
from jdarts.search.search_run import SearchRun
from jdarts.search.state import SearchState

Driver = Callable[[SearchRun], tuple[Genotype, SearchState | None]]

DRIVERS: Mapping[str, Driver] = {
    "cdarts": cdarts.search,
    "darts_ada": darts_ada.search,
    "darts_pt": darts_pt.search,
    "drnas": drnas.search,
    "enas": enas.search,
    "gold_nas": gold_nas.search,
    "p_darts": p_darts.search,
    "r_darts": r_darts.search,
    "random_search": random_search.search,
    "stac_nas": stac_nas.search,
}

ON_PLACEMENTS = frozenset({"p_darts", "stac_nas"})
"""Drivers whose loops may run on many devices and with streamed images: between two loops they only read the alphas."""
