"""Evolution in generations: keep the best, mutate and cross them, rank again.

The constants are those of SPOS (Guo et al. 2020, arXiv:1904.00420, algorithm 1 and code).
"""

from collections.abc import Callable, Mapping

from optuna.distributions import BaseDistribution

from jdarts.derivation.evolution import RANDOM_ATTEMPTS, Generations
from jdarts.errors import UserError
from jdarts.spaces.decisions import Choices, DecisionSpace
from jdarts.strategies.history import Derived, Evaluation, History
from jdarts.strategies.strategy import Strategy, at_least, fraction


class GeneticSearch(Strategy):
    """Trial n is candidate n of `jdarts.derivation.evolution.Generations`. No architecture is evaluated twice.

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
        known = self._known(history), {self._canonical(choices) for choices in history.running}
        first = number // self.population * self.population
        earlier = sorted((e for e in history.evaluations if e.number < first), key=lambda e: e.number)

        def is_new(choices: Choices) -> bool:
            if any(self._canonical(choices) in part for part in known):
                return False
            return self.legal is None or self.legal(choices)

        settings = Generations(self.population, self.parents, self.mutation)
        scored = [(e.score, e.choices) for e in earlier]
        child = settings.candidate(self.space, number, scored, is_new, self.rng(number))
        if child is None:
            raise UserError(
                f"space {self.space.name}: no legal architecture that is not yet evaluated was found in "
                f"{RANDOM_ATTEMPTS} random ones; {len(known[0])} are evaluated: use fewer trials"
            )
        return child

    def _canonical(self, choices: Choices) -> Choices:
        return self.space.encode(self.space.decode(choices))

    def _with(self, known: set[Choices], evaluations: list[Evaluation]) -> set[Choices]:
        known.update(self._canonical(e.choices) for e in evaluations)
        return known
