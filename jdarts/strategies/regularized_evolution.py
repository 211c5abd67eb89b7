"""Regularised (aging) evolution (Real et al. 2019, arXiv:1802.01548, algorithm 1): the strategy of AmoebaNet."""

from collections.abc import Mapping

from optuna.distributions import BaseDistribution

from jdarts.errors import unknown
from jdarts.spaces.decisions import Choices, DecisionSpace, uniform
from jdarts.strategies.history import History
from jdarts.strategies.mutations import MUTATIONS, Mutation
from jdarts.strategies.strategy import Strategy, at_least


class RegularizedEvolution(Strategy):
    """A child of the best of a random sample of the youngest architectures.

    The population is the `population` architectures that were evaluated last; the oldest leaves when a new one enters,
    however good it is. The first `population` are random and count as evaluations. The members of a tournament are
    drawn with replacement, as in the authors' code.

    Args:
      space, seed: see `Strategy`.
      population, sample: P = 100 and S = 25 of the paper; NAS-Bench-201 uses 10 and 3, the paper's toy 100 and 10.
      mutation: `one_decision` or `nasnet`, or a function `(space, choices, rng) -> choices`.
    """

    def __init__(
        self,
        space: DecisionSpace | Mapping[str, BaseDistribution],
        *,
        seed: int = 0,
        population: int = 100,
        sample: int = 25,
        mutation: str | Mutation = "one_decision",
    ):
        super().__init__(space, seed=seed)
        self.population = at_least("population", population, 1)
        self.sample = at_least("sample", sample, 1)
        if isinstance(mutation, str) and mutation not in MUTATIONS:
            raise unknown("mutation", mutation, MUTATIONS)
        self.mutation: Mutation = MUTATIONS[mutation] if isinstance(mutation, str) else mutation

    def propose(self, history: History, number: int) -> Choices:
        """A random architecture until the population is full, then a mutant of the winner of a tournament."""
        rng = self.rng(number)
        if len(history.evaluations) < self.population:
            return uniform(self.space, rng)
        members = history.evaluations[-self.population :]
        tournament = rng.integers(self.population, size=self.sample).tolist()
        parent = max((members[i] for i in tournament), key=lambda member: member.score)
        return self.mutation(self.space, parent.choices, rng)
