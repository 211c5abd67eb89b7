"""Several searches one after the other, for methods that do not fit in one program: with drivers or stop rules.

Folders, records and results are like those of `jdarts.search.population`.
"""

import math
from collections.abc import Sequence
from typing import Any

from jdarts.devices.placement import Placement
from jdarts.errors import Diverged
from jdarts.genotypes import Genotype, parse_result
from jdarts.methods import configured
from jdarts.runs.folder import RunFolder
from jdarts.search.found import Found, describe, genotype_file
from jdarts.search.members import Member
from jdarts.search.population import of_genotype, same_members
from jdarts.search.run import run_search
from jdarts.search.search_run import SearchRun
from jdarts.search.state import METRICS

RESULT = "genotype.txt"


def run_separately(run: SearchRun, members: Sequence[Member], placement: Placement) -> list[Found]:
    """Run all members, each as a single search; a member that diverges does not stop the others.

    With `run.resume`, members that have a result are not run again. Raises the errors of `run_search`.
    """
    config, reporter = run.config, run.reporter
    same_members(run.folder, members, resume=run.resume)
    table = run.table
    alone = Placement(placement.backend, placement.data, 1, 0, placement.devices[: placement.data])
    results = []
    for i, member in enumerate(members):
        own = member.config(config)
        stage = run.stage(member.name, config=own, method=configured(own.search))
        genotype = _finished(stage.folder) if run.resume else None
        if genotype is None:
            reporter.message(f"{member.name}: search {i + 1} of {len(members)}")
            try:
                genotype, _ = run_search(stage, alone)
            except Diverged as error:
                reporter.warning(f"{member.name}: {error}")
            else:
                stage.folder.write_text(RESULT, genotype_file(own, genotype))
        numbers = of_genotype(genotype, run.space.random_genotype(0), table)
        results.append(Found(member, genotype, {**_last(stage.folder), **numbers}, {}))
    run.folder.write_json("members.json", describe(results))
    return results


def _finished(folder: RunFolder) -> Genotype | None:
    file = folder.path / RESULT
    return parse_result(file.read_text().strip()) if file.exists() else None


def _last(folder: RunFolder) -> dict[str, float]:
    """The metrics of the last epoch; empty for methods with no supernet or several."""
    records: list[dict[str, Any]] = folder.records("metrics")
    return {name: records[-1].get(name, math.nan) for name in METRICS} if records else {}
