"""Search strategies over the decisions of a space, as samplers of Optuna: one file a strategy.

    space = spaces.get("nasbench201")
    strategy = strategies.by_name("regularized_evolution", space, seed=0, population=10, sample=3)
    study = strategies.run_study(space, strategy, estimator, trials=200)
    space.decode(strategies.choices_of(space, study.best_trial))

Every strategy works in every space of decisions, with every estimator (`jdarts.estimation`), and on any other Optuna
objective with categorical and integer parameters: `RegularizedEvolution({"depth": IntDistribution(1, 5), …})`. Any
sampler of Optuna works in any space.
"""

from jdarts.strategies.genetic import GeneticSearch
from jdarts.strategies.parameters import ParameterSpace
from jdarts.strategies.pnas import PNAS
from jdarts.strategies.ppo import PPO
from jdarts.strategies.random_search import RandomSearch
from jdarts.strategies.registry import DESCRIPTIONS, by_name, names
from jdarts.strategies.regularized_evolution import RegularizedEvolution
from jdarts.strategies.reinforce import Reinforce
from jdarts.strategies.simulation import simulate
from jdarts.strategies.strategy import Strategy
from jdarts.strategies.study import choices_of, open_study, run_study

__all__ = [
    "DESCRIPTIONS",
    "PNAS",
    "PPO",
    "GeneticSearch",
    "ParameterSpace",
    "RandomSearch",
    "RegularizedEvolution",
    "Reinforce",
    "Strategy",
    "by_name",
    "choices_of",
    "names",
    "open_study",
    "run_study",
    "simulate",
]
