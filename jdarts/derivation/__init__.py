"""From op weights, or from scores of candidates, to an architecture.

* `rules`: thresholds, pairs, the most probable ones, the best of several.
* `evolution`: generations of mutants and crossovers (SPOS).
* `front`: the Pareto front of several objectives (FairNAS).
"""

from jdarts.derivation.evolution import Generations, evolve
from jdarts.derivation.front import OnFront, pareto_front
from jdarts.derivation.rules import (
    all_architectures,
    best_of,
    best_pairs,
    dominant_ops,
    free_edges,
    free_shares,
    limit_skips,
    most_probable,
    random_genotypes,
    skips_in,
    threshold,
)

__all__ = [
    "Generations",
    "OnFront",
    "all_architectures",
    "best_of",
    "best_pairs",
    "dominant_ops",
    "evolve",
    "free_edges",
    "free_shares",
    "limit_skips",
    "most_probable",
    "pareto_front",
    "random_genotypes",
    "skips_in",
    "threshold",
]
