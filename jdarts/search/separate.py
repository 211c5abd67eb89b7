"""Several searches one after the other, for methods that one program cannot hold: drivers above the step, stop rules.

Folders, records and results are those of `jdarts.search.population`.
"""

import math
from collections.abc import Sequence
from typing import Any

from jdarts.benchmarks import load_table
from jdarts.config import Experiment
from jdarts.data import Dataset
from jdarts.data.streaming import StreamedData
from jdarts.devices.placement import Placement
from jdarts.errors import Diverged
from jdarts.genotypes import Genotype, parse
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import Reporter
from jdarts.search.found import Found, describe, genotype_file
from jdarts.search.hooks import Watch, unwatched
from jdarts.search.members import Member
from jdarts.search.population import of_genotype, same_members
from jdarts.search.run import run_search
from jdarts.search.step import METRICS
from jdarts.spaces.space import Space

RESULT = "genotype.txt"


def run_separately(
    config: Experiment,
    space: Space,
    data: Dataset | StreamedData,
    run: RunFolder,
    members: Sequence[Member],
    placement: Placement,
    *,
    resume: bool,
    reporter: Reporter,
    watch: Watch = unwatched,
) -> list[Found]:
    """Run all members, each to its end as a search by itself; a member that diverges stops nobody.

    With `resume`, members that have a result are not run again. Raises what `run_search` raises.
    """
    same_members(run, members, resume=resume)
    table = load_table(config.search.benchmark_table) if config.search.benchmark_table else None
    alone = Placement(placement.backend, placement.data, 1, 0, placement.devices[: placement.data])
    results = []
    for i, member in enumerate(members):
        folder = run.subfolder(member.name)
        genotype = _finished(folder) if resume else None
        if genotype is None:
            reporter.message(f"{member.name}: search {i + 1} of {len(members)}")
            try:
                own = member.config(config)
                genotype, _ = run_search(
                    own, space, data, folder, placement=alone, resume=resume, reporter=reporter, watch=watch
                )
            except Diverged as error:
                reporter.warning(f"{member.name}: {error}")
            else:
                folder.write_text(RESULT, genotype_file(own, genotype))
        results.append(Found(member, genotype, {**_last(folder), **of_genotype(genotype, table)}, {}))
    run.write_json("members.json", describe(results))
    return results


def _finished(folder: RunFolder) -> Genotype | None:
    file = folder.path / RESULT
    return parse(file.read_text().strip()) if file.exists() else None


def _last(folder: RunFolder) -> dict[str, float]:
    """The search's own numbers after its last epoch; none for methods without a supernet, or with several."""
    records: list[dict[str, Any]] = folder.records("metrics")
    return {name: records[-1].get(name, math.nan) for name in METRICS} if records else {}
