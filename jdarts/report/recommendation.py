"""The recommended genotype of a run, with reasons: the result, unless the search collapsed after a better one."""

import math
from dataclasses import dataclass

from jdarts.analysis import indicators
from jdarts.genotypes import Genotype
from jdarts.report.collapse import never_moves, recurrent, sentence, skip_share, unsearched, verdict
from jdarts.report.records import RunRecord, SearchRecord, genotype_changes
from jdarts.search.found import untrained


@dataclass(frozen=True)
class Recommendation:
    """A genotype, the epoch and the search that it comes from, and the reasons as sentences.

    `without` is `normal` if that cell is noise and must not be shown, otherwise empty.
    """

    genotype: Genotype
    epoch: int
    search: SearchRecord
    reasons: list[str]
    without: str = ""


def recommend(run: RunRecord) -> Recommendation | None:
    """The recommendation for a run; None while no genotype is meaningful.

    Of several seeds, take the one whose supernet has the highest validation accuracy, or of text the lowest perplexity.
    Test accuracies play no part.
    """
    fixed = never_moves(run)
    started = [search for search in run.searches if search.genotypes and (search.found or not fixed)]
    if not started:
        return None
    if recurrent(run):
        search, best = min(started, key=lambda s: s.last("val_perplexity") or math.inf), "lowest validation perplexity"
    else:
        search, best = max(started, key=lambda s: s.last("val_accuracy") or 0.0), "highest validation accuracy"
    reasons = []
    if len(started) > 1:
        reasons.append(f"Seed {search.label} has the {best} of {len(started)} seeds.")
    genotype, epoch, origin = _result(run, search)
    if without := unsearched(run):
        reason = untrained(run.config, genotype.cells)
        notes = [origin, f"Its normal cell is left out, since it is noise from the initialisation: {reason}."]
        return Recommendation(genotype, epoch, search, [*reasons, *notes, *_measured(search, epoch)], without)
    before = None if fixed else _before_collapse(search)
    genotype, epoch, origin = before or (genotype, epoch, origin)
    notes = [origin, sentence(run), *_measured(search, epoch)]
    if skip_share(genotype) > indicators.SKIP_SHARE:
        notes.append("No epoch has a cell with fewer skip connections: do not use the cells of this run.")
    return Recommendation(genotype, epoch, search, reasons + [text for text in notes if text])


def _result(run: RunRecord, search: SearchRecord) -> tuple[Genotype, int, str]:
    """The genotype that the search returned, or the newest one of an unfinished search, with its epoch and reason."""
    result, total = search.result, run.config.search.epochs
    assert result is not None  # the search has genotypes
    stretches = genotype_changes(search)
    first, last, _ = next((s for s in reversed(stretches) if s[2] == result), stretches[-1])
    if search.genotypes[-1].get("compared"):
        method = run.config.search.method
        return result, last, f"The best of the architectures that {method} compared after epoch {last} of {total}."
    if search.found and stretches[-1][2] != result:
        return result, last, f"The genotype that the search returned, derived after epoch {last} of {total}."
    state = "final" if search.found or last >= total else "newest"
    return result, last, f"The {state} genotype, of epoch {last} of {total}, unchanged since epoch {first}."


def _before_collapse(search: SearchRecord) -> tuple[Genotype, int, str] | None:
    """The last genotype before the collapse; None if the search did not collapse or collapsed from the start."""
    found = verdict(search)
    if found is None or found.since is None:
        return None
    stretches = genotype_changes(search)
    good = next((s for s in reversed(stretches) if skip_share(s[2]) <= indicators.SKIP_SHARE), None)
    if good is None:
        return None
    first, last, genotype = good
    span = f"epoch {last}" if first == last else f"epochs {first} to {last}"
    most = f"{indicators.SKIP_SHARE:.0%}"
    return genotype, last, f"The last genotype with at most {most} skip connections, of {span}, before the collapse."


def _measured(search: SearchRecord, epoch: int) -> list[str]:
    """The validation result of the supernet in an epoch, in a sentence."""
    for name, shown in (("perplexity", "{:.4g}"), ("accuracy", "{:.2%}")):
        epochs, values = search.series(f"val_{name}")
        if epoch in epochs:
            value = shown.format(values[epochs.index(epoch)])
            return [f"The supernet's validation {name} was {value} in that epoch; it ranks architectures only roughly."]
    return []
