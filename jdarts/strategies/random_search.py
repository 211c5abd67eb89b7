"""Random search: independent uniform choices (Li & Talwalkar 2019, arXiv:1902.07638)."""

from jdarts.spaces.decisions import Choices, uniform
from jdarts.strategies.history import History
from jdarts.strategies.strategy import Strategy


class RandomSearch(Strategy):
    """Uniform choices, drawn again until they are valid.

    Every architecture of the DARTS spaces and of NAS-Bench-201 has the same probability.
    """

    uses_scores = False

    def propose(self, history: History, number: int) -> Choices:
        """A random architecture, whatever the history."""
        return uniform(self.space, self.rng(number))
