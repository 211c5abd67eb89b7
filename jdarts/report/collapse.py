"""The verdict on collapse. Every part of a report takes it from `verdict`, so that no page contradicts itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from jdarts.analysis import indicators
from jdarts.data.text import is_text
from jdarts.derivation import free_edges
from jdarts.errors import UserError
from jdarts.genotypes import Genotype, RecurrentGenotype, parse_result
from jdarts.methods import build
from jdarts.report.records import RunRecord, SearchRecord
from jdarts.search.found import untrained

_SIGNS = {  # rules of `jdarts.analysis.monitor.findings` that concern collapse
    "skips": "too many skip connections",
    "parameter-free": "too few edges with weights",
    "eigenvalue": "growing curvature",
    "dead": "a dead network",
}


@dataclass(frozen=True)
class Verdict:
    """The verdict on one search.

    Attributes:
      since: first epoch of the last unbroken stretch of epochs with mostly skips, if the search ended in one.
      signs: descriptions of other signs of collapse; a search with signs has not necessarily collapsed.
      skips, edges: of the normal cell of the search's result, or of its newest genotype.
    """

    since: int | None
    signs: tuple[str, ...]
    skips: int
    edges: int


def verdict(search: SearchRecord) -> Verdict | None:
    """Judge one search by its genotypes and its recorded warnings; None before its first genotype.

    A search has collapsed if more than `indicators.SKIP_SHARE` of the edges of its result's normal cell are skip
    connections. An earlier genotype of that kind and a warning of the collapse monitor are signs.
    """
    result = search.result
    if result is None:
        return None
    mostly = {r["epoch"]: skip_share(parse_result(r["genotype"])) > indicators.SKIP_SHARE for r in search.genotypes}
    since = _start_of_last_stretch(mostly) if skip_share(result) > indicators.SKIP_SHARE else None
    earlier = [epoch for epoch, is_mostly in mostly.items() if is_mostly and (since is None or epoch < since)]
    signs = [f"mostly skip connections in epochs {_ranges(earlier)}"] if earlier else []
    for record in search.metrics:
        for warning in record.get("warnings") or ():
            if (sign := _SIGNS.get(warning.get("rule"))) is not None:
                signs.append(f"{sign} (warning of epoch {record['epoch']})")
    return Verdict(since, tuple(signs), *skips(result))


def sentence(run: RunRecord) -> str:
    """The verdict on a run as one sentence; empty before the first genotype."""
    if never_moves(run):
        return f"Collapse is not judged: {run.config.search.method} does not train the alphas."
    if unsearched(run):
        return "Collapse is not judged: no normal cell is searched."
    if recurrent(run):
        return "Collapse is not judged: recurrent cells have no skip connections."
    judged = [(search, found) for search in run.searches if (found := verdict(search)) is not None]
    if not judged:
        return ""
    several = len(judged) > 1
    collapsed = [_collapsed(search, found, several) for search, found in judged if found.since is not None]
    if collapsed:
        return f"Collapsed: {'; '.join(collapsed)}."
    signs = [
        f"seed {search.label}: {', '.join(found.signs)}" if several else ", ".join(found.signs)
        for search, found in judged
        if found.signs
    ]
    if signs:
        return f"Signs of collapse: {'; '.join(signs)}."
    if several:
        return f"No sign of collapse in {len(judged)} seeds."
    ((_, found),) = judged
    return f"No sign of collapse: {found.skips} of {found.edges} edges of the normal cell are skip connections."


def summary(verdicts: Sequence[Verdict | None]) -> str:
    """The verdicts on all searches of a run as a cell of a table, e.g. `2 of 3, from epochs 7, 12`."""
    found = [v for v in verdicts if v is not None]
    if not found:
        return "–"
    since = sorted(v.since for v in found if v.since is not None)
    if since:
        return f"{len(since)} of {len(found)}, from epoch{'s' * (len(since) > 1)} {', '.join(map(str, since))}"
    signs = sum(bool(v.signs) for v in found)
    return f"signs in {signs} of {len(found)}" if signs else "no"


def never_moves(run: RunRecord) -> bool:
    """True if the method never changes its alphas, so that the genotypes derived from them mean nothing."""
    try:
        return bool(build(run.config.search.method, run.config.search.method_options).alphas_fixed)
    except UserError:  # a user's method that this process does not know
        return False


def unsearched(run: RunRecord) -> str:
    """`normal` if the networks of the search have no cell of that name, which is then noise; otherwise empty."""
    found = (genotype for search in run.searches if (genotype := search.result) is not None)
    genotype = next(found, None)
    if genotype is None or genotype.reduce is None or not untrained(run.config, genotype.cells):
        return ""
    return "normal"


def recurrent(run: RunRecord) -> bool:
    """True for a search of recurrent cells, on text."""
    return is_text(run.config.data.source)


def judges_cells(run: RunRecord) -> bool:
    """True if skip connections in the derived normal cells of all epochs mean something."""
    return not never_moves(run) and not unsearched(run) and not recurrent(run)


def warnings(run: RunRecord, search: SearchRecord) -> list[tuple[int, str]]:
    """`(epoch, text)` of the warnings that a search recorded.

    Leaves out those of collapse for alphas that never move, and those of the normal cell if it is not searched.
    """
    left_out = tuple(_SIGNS) if never_moves(run) else ("skips", "parameter-free") if unsearched(run) else ()
    return [
        (record["epoch"], str(warning.get("text")))
        for record in search.metrics
        for warning in record.get("warnings") or ()
        if warning.get("rule") not in left_out
    ]


def skips(genotype: Genotype) -> tuple[int, int]:
    """`(skip connections, edges)` of the normal cell, or of all normal cells together."""
    counts = indicators.normal_counts(genotype)
    return indicators.skip_count(counts), sum(counts.values())


def passing(genotype: Genotype) -> tuple[int, int]:
    """`(edges that pass their input on, edges)`: `skips`, or of a recurrent cell the nodes with identity."""
    if isinstance(genotype, RecurrentGenotype):
        return free_edges(genotype)["identities"], len(genotype.recurrent)
    return skips(genotype)


def skip_share(genotype: Genotype) -> float:
    """Share of skip connections among the edges of the normal cell."""
    count, edges = skips(genotype)
    return count / edges if edges else 0.0


def _start_of_last_stretch(mostly: dict[int, bool]) -> int:
    """The first epoch of the unbroken stretch at the end, or the last epoch if only the result has mostly skips."""
    since = max(mostly, default=0)
    for epoch in reversed(mostly):
        if not mostly[epoch]:
            break
        since = epoch
    return since


def _collapsed(search: SearchRecord, found: Verdict, several: bool) -> str:
    seed = f"seed {search.label}: " if several else ""
    return (
        f"{seed}{found.skips} of {found.edges} edges of the normal cell are skip connections, and more than half "
        f"have been since epoch {found.since}"
    )


def _ranges(epochs: Sequence[int]) -> str:
    """`3, 5–8`: runs of consecutive epochs."""
    parts: list[list[int]] = []
    for epoch in epochs:
        if parts and parts[-1][1] == epoch - 1:
            parts[-1][1] = epoch
        else:
            parts.append([epoch, epoch])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in parts)
