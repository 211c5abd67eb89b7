"""Evolution in generations: keep the best, mutate and cross them, rank again (Guo et al. 2020, algorithm 1)."""

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jdarts.errors import UserError
from jdarts.spaces.decisions import Choices, DecisionSpace, uniform

Scored = tuple[float, Choices]
Legal = Callable[[Choices], bool]

RANDOM_ATTEMPTS = 1_000


@dataclass(frozen=True)
class Generations:
    """Half of a generation are mutants, half are crossovers of the best architectures of all earlier generations.

    Candidate n belongs to generation n // population; the first generation is random. A candidate that is known or not
    legal is drawn again up to ten times, then replaced by a random one.

    DIFF: SPOS' code allows ten attempts for each candidate in total, so that one may use up those of another.

    Attributes:
      population: candidates of a generation.
      parents: the number of best architectures that mutate and cross.
      mutation: the probability with which a mutant draws each decision again.
    """

    population: int = 50
    parents: int = 10
    mutation: float = 0.1

    def candidate(
        self, space: DecisionSpace, number: int, earlier: Sequence[Scored], is_new: Legal, rng: np.random.Generator
    ) -> Choices | None:
        """The candidate of this number; `earlier` are those of earlier generations with their scores, in order.

        None if `RANDOM_ATTEMPTS` random architectures hold no new, legal one.
        """
        place = number % self.population
        order = heapq.nsmallest(self.parents, range(len(earlier)), key=lambda i: (-earlier[i][0], i))
        best = [earlier[i][1] for i in order]
        if best:
            for _ in range(10):
                child = self._child(space, best, place < self.population // 2, rng)
                if space.is_valid(child) and is_new(child):
                    return child
        for _ in range(RANDOM_ATTEMPTS):
            child = uniform(space, rng)
            if is_new(child):
                return child
        return None

    def _child(self, space: DecisionSpace, best: Sequence[Choices], mutant: bool, rng: np.random.Generator) -> Choices:
        def parent() -> Choices:
            return best[int(rng.integers(len(best)))]

        if mutant:
            return resampled(space, parent(), rng, probability=self.mutation)
        return crossover(parent(), parent(), rng)


def evolve(
    space: DecisionSpace,
    score: Callable[[Choices], float],
    settings: Generations,
    *,
    generations: int,
    seed: int,
    legal: Legal | None = None,
) -> Iterator[Scored]:
    """`(score, choices)` of every candidate of `generations` generations, in order, each evaluated once.

    Ends early where no further architecture is found. Raises `UserError` if there is none at all.

    Args:
      score: the larger the better; NaN raises `UserError`.
      seed: of all draws; candidate n has random numbers of its own.
      legal: False for choices that are never evaluated, such as networks with too many multiply–accumulates.
    """
    scored: list[Scored] = []
    known: set[Choices] = set()

    def is_new(choices: Choices) -> bool:
        return _canonical(space, choices) not in known and (legal is None or legal(choices))

    for number in range(generations * settings.population):
        earlier = scored[: number // settings.population * settings.population]
        choices = settings.candidate(space, number, earlier, is_new, np.random.default_rng((seed, number)))
        if choices is None and scored:
            return
        if choices is None:
            raise UserError(
                f"space {space.name}: none of {RANDOM_ATTEMPTS} random architectures is legal; allow larger ones"
            )
        found = score(choices)
        if math.isnan(found):
            raise UserError(f"candidate {number} scored nan and cannot be compared: {choices}")
        known.add(_canonical(space, choices))
        scored.append((found, choices))
        yield scored[-1]


def resampled(space: DecisionSpace, choices: Choices, rng: np.random.Generator, *, probability: float = 0.1) -> Choices:
    """Each decision drawn again with a probability (SPOS, Guo et al. 2020, arXiv:1904.00420); perhaps not valid."""
    drawn = rng.random(len(choices)) < probability
    return tuple(
        int(rng.integers(decision.options)) if again else choice
        for decision, choice, again in zip(space.decisions, choices, drawn, strict=True)
    )


def crossover(first: Choices, second: Choices, rng: np.random.Generator) -> Choices:
    """Each choice from either parent with equal probability; perhaps not valid."""
    from_first = rng.random(len(first)) < 0.5
    return tuple(a if taken else b for a, b, taken in zip(first, second, from_first, strict=True))


def _canonical(space: DecisionSpace, choices: Choices) -> Choices:
    return space.encode(space.decode(choices))
