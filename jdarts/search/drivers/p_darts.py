"""P-DARTS (Chen et al., ICCV 2019): three new supernets, each deeper and with fewer candidates than the one before."""

import math
from dataclasses import replace

from jdarts.derivation import limit_skips
from jdarts.genotypes import Genotype
from jdarts.methods.staged import fading
from jdarts.search.drivers.stages import narrowed, with_cells
from jdarts.search.search_run import SearchRun
from jdarts.search.single_loop import run_single_loop
from jdarts.search.state import SearchState

KEPT = (5 / 8, 3 / 5)
"""The share of the candidates kept from one stage to the next: 8, 5, 3 candidates in the DARTS space."""


def search(run: SearchRun) -> tuple[Genotype, SearchState]:
    """Search in three stages, then limit the skip connections of the normal cell."""
    method, space, options = run.method, run.space, run.method.options
    run, outcome = run.split(), None
    for stage, (rate, cells) in enumerate(zip(options["skip_dropout"], options["cells"], strict=True)):
        values = {**method.edge_values, "skip_dropout": fading(rate, options["frozen"])}
        staged = replace(method, edge_values=values)
        deeper = with_cells(run, cells).stage(f"stage_{stage}", space=space, method=staged)
        outcome = run_single_loop(deeper, title=f"stage {stage + 1} of 3")
        if stage < len(KEPT):
            count = len(next(iter(space.tables.values()))[0])
            keep = max(2, math.ceil(count * KEPT[stage]))
            space = narrowed(space, staged.deterministic_weights(space, outcome.state.alphas), keep)
    assert outcome is not None
    if options["skip_limit"] < 0 or "normal" not in space.tables:
        return outcome.genotype, outcome.state
    weights = method.deterministic_weights(space, outcome.state.alphas)
    return limit_skips(space, weights, options["skip_limit"]), outcome.state
