"""The controller of a run of REINFORCE or PPO: entropy and baseline after updates, derived again from the trials."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.report.charts import Scales, Series, line_chart
from jdarts.report.trials.record import TrialRun
from jdarts.strategies.history import Evaluation, History
from jdarts.strategies.policy_gradient import PolicyGradient
from jdarts.strategies.registry import by_name

STRATEGIES = ("reinforce", "ppo")
CHECKPOINTS = 40
"""The number of updates after which the entropy is computed, at most."""


@dataclass(frozen=True)
class ControllerState:
    """The controller after `trials` complete trials: entropy in nats, and baseline of the rewards."""

    trials: int
    entropy: float
    baseline: float


def controller_curves(run: TrialRun) -> str:
    """Charts of entropy and baseline; empty for other strategies and before the first update."""
    if run.strategy not in STRATEGIES or run.tunes:
        return ""
    try:
        strategy = strategy_of(run)
        states = list(states_of(run, strategy))
    except UserError as error:
        return f"Not available: {error}"
    if not states:
        return ""
    x = [state.trials for state in states]
    most = sum(math.log(decision.options) for decision in strategy.space.decisions)
    entropy = Series("entropy", x, [state.entropy for state in states], "s0")
    uniform = Series("all choices equally likely", [x[0], x[-1]], [most] * 2, "s6", 1)
    charts = [
        line_chart("Entropy of the controller", [entropy, uniform], Scales("nats", "complete trials", from_zero=True))
    ]
    if strategy.learning.baseline_decay < 1:
        baseline = Series("baseline", x, [state.baseline for state in states], "s2")
        charts.append(line_chart("Baseline of the rewards", [baseline], Scales("reward", "complete trials")))
    return f'<div class="charts">{"".join(charts)}</div>'


def strategy_of(run: TrialRun) -> PolicyGradient:
    """The strategy of a run with a controller; raises `UserError` for a space or an option that is not known here."""
    space = spaces.configured_decisions(run.config.space)
    strategy = by_name(run.strategy, space, seed=run.config.seed, **dict(run.plan.get("options", {})))
    assert isinstance(strategy, PolicyGradient)
    return strategy


def states_of(run: TrialRun, strategy: PolicyGradient) -> Iterator[ControllerState]:
    """The states after some updates, the last one included, evenly over the trials.

    The updates are those that the search made: the controller depends only on the seed and on the trials in the order
    of their ends.
    """
    evaluations = evaluations_of(run, strategy)
    batch = strategy.learning.batch
    updates = len(evaluations) // batch
    every = max(1, -(-updates // CHECKPOINTS))
    history = History()
    for number, evaluation in enumerate(evaluations[: updates * batch], start=1):
        history.append(evaluation)
        update, rest = divmod(number, batch)
        if rest == 0 and (update % every == 0 or update == updates):
            yield ControllerState(number, strategy.entropy(history), strategy.learned(history).baseline)


def evaluations_of(run: TrialRun, strategy: PolicyGradient) -> list[Evaluation]:
    """The evaluations of a run as the strategy sees them."""
    sign = 1.0 if run.objectives[0].maximize else -1.0
    found = []
    for trial in run.complete:
        choices, values = strategy.parameters.choices(trial["params"]), run.values(trial)
        if choices is not None and values is not None:
            found.append(Evaluation(trial["number"], choices, sign * values[0]))
    return found
