"""Which genotype of a run to take, and why: the last one, unless the search collapsed after a better one."""

from dataclasses import dataclass

from jdarts.analysis import indicators
from jdarts.genotype import Genotype
from jdarts.report.records import RunRecord, SearchRecord, genotype_changes

MOST_SKIPS = 0.5
"""The largest share of skips among the edges of a normal cell that is recommended."""


@dataclass(frozen=True)
class Recommendation:
    """A genotype, the epoch and the search that it comes from, and reasons as sentences."""

    genotype: Genotype
    epoch: int
    search: SearchRecord
    reasons: list[str]


def recommend(run: RunRecord) -> Recommendation | None:
    """The recommendation for a run; None while no epoch is finished.

    With several seeds, the seed with the highest validation accuracy of its supernet. Test accuracies play no part.
    """
    started = [search for search in run.searches if search.genotypes]
    if not started:
        return None
    search = max(started, key=lambda s: s.last("val_accuracy") or 0.0)
    stretches = genotype_changes(search)
    first, last, genotype = stretches[-1]
    total = run.config.search.epochs
    reasons = []
    if len(started) > 1:
        reasons.append(f"Seed {search.label} has the highest validation accuracy of {len(started)} seeds.")
    if skip_share(genotype) > MOST_SKIPS:
        sound = next((s for s in reversed(stretches) if skip_share(s[2]) <= MOST_SKIPS), None)
        final_skips, edges = skips(genotype)
        if sound is not None:
            first, last, genotype = sound
            reasons.append(
                f"The final normal cell has {final_skips} skip connections on {edges} edges, a sign of collapse; this "
                f"is the last genotype before it with at most {MOST_SKIPS:.0%} (epochs {first} to {last})."
            )
            return Recommendation(genotype, last, search, reasons + _accuracy(search, last))
        reasons.append(
            f"Every epoch's normal cell has more than {MOST_SKIPS:.0%} skip connections: do not trust this run."
        )
    else:
        state = "final" if last >= total else "newest"
        reasons.append(f"The {state} genotype, of epoch {last} of {total}, unchanged since epoch {first}.")
        count, edges = skips(genotype)
        reasons.append(f"{count} of {edges} edges of the normal cell are skip connections: no sign of collapse.")
    growth = [w for r in search.metrics for w in r.get("warnings") or () if w.get("rule") == "eigenvalue"]
    if growth:
        reasons.append(
            "The curvature by the alphas rose sharply (see warnings); RobustDARTS would have stopped earlier."
        )
    return Recommendation(genotype, last, search, reasons + _accuracy(search, last))


def skips(genotype: Genotype) -> tuple[int, int]:
    """`(skip connections, edges)` of the normal cell."""
    counts = indicators.op_counts(genotype)["normal"]
    return counts.get("skip_connect", 0), sum(counts.values())


def skip_share(genotype: Genotype) -> float:
    """Share of skip connections among the edges of the normal cell."""
    count, edges = skips(genotype)
    return count / edges if edges else 0.0


def _accuracy(search: SearchRecord, epoch: int) -> list[str]:
    epochs, values = search.series("val_accuracy")
    if epoch not in epochs:
        return []
    value = values[epochs.index(epoch)]
    return [f"The supernet's validation accuracy was {value:.2%} in that epoch (it ranks architectures only roughly)."]
