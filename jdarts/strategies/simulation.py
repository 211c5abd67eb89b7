"""Many searches on a function of the choices, such as a table, without Optuna's bookkeeping.

The proposals are those of the same strategy in an Optuna study of one worker, trial by trial.
"""

from collections.abc import Callable

from jdarts.spaces.decisions import Choices
from jdarts.strategies.history import Evaluation, History
from jdarts.strategies.strategy import Strategy


def simulate(strategy: Strategy, score: Callable[[Choices], float], trials: int) -> list[Evaluation]:
    """The evaluations of a search of that many trials; `score` is finite, and larger is better."""
    history = History()
    for number in range(trials):
        choices = strategy.propose(history, number)
        history.append(Evaluation(number, choices, float(score(choices))))
    return history.evaluations
