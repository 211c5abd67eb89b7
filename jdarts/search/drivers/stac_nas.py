"""StacNAS (Li et al., 2019): first a search among one op of each group, then among the ops of the winning group."""

from dataclasses import replace
from typing import Any, cast

import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.search.drivers.stages import with_cells
from jdarts.search.search_run import SearchRun
from jdarts.search.single_loop import run_single_loop
from jdarts.search.state import SearchState

STACNAS_GROUPS = {
    "max_pool_3x3": ("avg_pool_3x3", "max_pool_3x3", "none"),
    "skip_connect": ("skip_connect", "skip_connect", "none"),
    "sep_conv_3x3": ("sep_conv_3x3", "sep_conv_5x5", "none"),
    "dil_conv_3x3": ("dil_conv_3x3", "dil_conv_5x5", "none"),
}
"""The representative of each group and the candidates of the group. The second skip is the placeholder of the published
code, which gives all groups the same width; it derives to the same edge."""


def search(run: SearchRun) -> tuple[Genotype, SearchState]:
    """Search among the representatives, then, on every edge, among the candidates of its winning group."""
    space: Any = cast(Any, run.space)
    needed = {op for group in STACNAS_GROUPS.values() for op in group}
    if not all(needed <= set(ops) for table in space.tables.values() for ops in table):
        raise UserError(f"stac_nas needs the candidates {', '.join(sorted(needed))} on every edge; use darts_cnn")
    run, cells = run.split(), run.method.options["cells"]
    first = replace(space, **{c: ((*STACNAS_GROUPS, "none"),) * len(t) for c, t in space.tables.items()})
    stage = with_cells(run, cells[0]).stage("stage_0", space=first)
    outcome = run_single_loop(stage, title="stage 1 of 2")
    groups = list(STACNAS_GROUPS.values())
    winners = {
        c: tuple(groups[int(np.argmax(row[:-1]))] for row in np.asarray(outcome.state.alphas[c])) for c in first.tables
    }
    stage = with_cells(run, cells[1]).stage("stage_1", space=replace(space, **winners))
    outcome = run_single_loop(stage, title="stage 2 of 2")
    return outcome.genotype, outcome.state
