"""Evolution in generations: keep the best, mutate and cross them, rank again.

The constants are those of SPOS (Guo et al. 2020, arXiv:1904.00420, algorithm 1 and code).
"""

import heapq
from collections.abc import Callable, Mapping

import numpy as np
from optuna.distributions import BaseDistribution

from jdarts.errors import UserError
from jdarts.spaces.decisions import Choices, DecisionSpace, uniform
from jdarts.strategies.history import Derived, Evaluation, History
from jdarts.strategies.mutations import crossover, resampled
from jdarts.strategies.strategy import Strategy, at_least, fraction

_RANDOM_ATTEMPTS = 1_000


class GeneticSearch(Strategy):
    """Half of a generation are mutants, half are crossovers of the best architectures of all earlier generations.

    Trial n belongs to generation n // population; the first generation is random. No architecture is evaluated twice. A
    candidate that is known or not legal is drawn again up to ten times, then replaced by a random one.

    DIFF: SPOS' code allows ten attempts for each candidate in total, so that one may use up those of another.

    Args:
      space, seed: see `Strategy`.
      population: candidates of a generation.
      parents: the number of best architectures that mutate and cross.
      mutation: the probability with which a mutant draws each decision again.
      legal: a function of the choices that is False for those never to evaluate, such as networks above 330M MACs.
    """

    def __init__(
        self,
        space: DecisionSpace | Mapping[str, BaseDistribution],
        *,
        seed: int = 0,
        population: int = 50,
        parents: int = 10,
        mutation: float = 0.1,
        legal: Callable[[Choices], bool] | None = None,
    ):
        super().__init__(space, seed=seed)
        self.population = at_least("population", population, 2)
        self.parents = at_least("parents", parents, 1)
        self.mutation = fraction("mutation", mutation)
        self.legal = legal
        self._known = Derived[set[Choices]](set, self._with)

    def propose(self, history: History, number: int) -> Choices:
        """The candidate of this number in its generation."""
        rng, generation, place = self.rng(number), number // self.population, number % self.population
        known = self._known(history), {self._canonical(choices) for choices in history.running}
        earlier = [e for e in history.evaluations if e.number < generation * self.population]
        best = heapq.nsmallest(self.parents, earlier, key=lambda e: (-e.score, e.number))
        if best:
            for _ in range(10):
                child = self._child(best, place < self.population // 2, rng)
                if self._is_new(child, known):
                    return child
        for _ in range(_RANDOM_ATTEMPTS):
            child = uniform(self.space, rng)
            if self._is_new(child, known):
                return child
        raise UserError(
            f"space {self.space.name}: no legal architecture that is not yet evaluated was found in "
            f"{_RANDOM_ATTEMPTS} random ones; {len(known[0])} are evaluated: use fewer trials"
        )

    def _child(self, best: list[Evaluation], mutant: bool, rng: np.random.Generator) -> Choices:
        def parent() -> Choices:
            return best[int(rng.integers(len(best)))].choices

        if mutant:
            return resampled(self.space, parent(), rng, probability=self.mutation)
        return crossover(parent(), parent(), rng)

    def _is_new(self, choices: Choices, known: tuple[set[Choices], ...]) -> bool:
        if not self.space.is_valid(choices) or any(self._canonical(choices) in part for part in known):
            return False
        return self.legal is None or self.legal(choices)

    def _canonical(self, choices: Choices) -> Choices:
        return self.space.encode(self.space.decode(choices))

    def _with(self, known: set[Choices], evaluations: list[Evaluation]) -> set[Choices]:
        known.update(self._canonical(e.choices) for e in evaluations)
        return known
