"""Strategies by name: jdarts' own, and samplers of Optuna as they are."""

import importlib.util
import inspect
from collections.abc import Callable
from typing import Any

import optuna
from optuna.samplers import BaseSampler

from jdarts.errors import UserError, unknown
from jdarts.genotypes import excerpt
from jdarts.spaces.decisions import DecisionSpace, combinations
from jdarts.strategies.genetic import GeneticSearch
from jdarts.strategies.parameters import Parameters
from jdarts.strategies.pnas import PNAS
from jdarts.strategies.pnas import SETTINGS as PREDICTOR_SETTINGS
from jdarts.strategies.policy_gradient import SETTINGS
from jdarts.strategies.ppo import PPO
from jdarts.strategies.random_search import RandomSearch
from jdarts.strategies.regularized_evolution import RegularizedEvolution
from jdarts.strategies.reinforce import Reinforce

DESCRIPTIONS = {
    "random": "uniform random architectures (Li & Talwalkar 2019, arXiv:1902.07638)",
    "regularized_evolution": "aging evolution of AmoebaNet (Real et al. 2019, arXiv:1802.01548)",
    "genetic": "mutation and crossover of the best, in generations (SPOS, Guo et al. 2020, arXiv:1904.00420)",
    "reinforce": "a controller trained by REINFORCE (NAS, Zoph & Le 2017, arXiv:1611.01578)",
    "ppo": "a controller trained by PPO (NASNet, Zoph et al. 2018, arXiv:1707.07012)",
    "pnas": "from small to large cells by a predictor (Liu et al. 2018, arXiv:1712.00559)",
    "nsga2": "NSGA-II of Optuna, for several objectives (Deb et al. 2002)",
    "tpe": "tree-structured Parzen estimator of Optuna (Bergstra et al. 2011)",
    "gp": "Gaussian process of Optuna; needs torch",
    "grid": "every tuple of choices in random order, by Optuna",
}
_OWN: dict[str, Callable[..., BaseSampler]] = {
    "random": RandomSearch,
    "regularized_evolution": RegularizedEvolution,
    "genetic": GeneticSearch,
    "reinforce": Reinforce,
    "ppo": PPO,
    "pnas": PNAS,
}
_OPTUNA: dict[str, Callable[..., BaseSampler]] = {
    "nsga2": optuna.samplers.NSGAIISampler,
    "tpe": optuna.samplers.TPESampler,
    "gp": optuna.samplers.GPSampler,
    "grid": optuna.samplers.GridSampler,
}
_LARGEST_GRID = 1_000_000  # Optuna lists all points at once


def names() -> tuple[str, ...]:
    """The names of all strategies."""
    return tuple(DESCRIPTIONS)


def by_name(name: str, space: DecisionSpace, *, seed: int = 0, **options: Any) -> BaseSampler:
    """The strategy of that name for a space, with options of its class by name.

    Raises `UserError` for an unknown name or option, a value that is not allowed, a grid of more than a million points
    and a package that is not installed.
    """
    if name not in DESCRIPTIONS:
        raise unknown("strategy", name, DESCRIPTIONS, page="jdarts search --help")
    make = _OWN.get(name) or _OPTUNA[name]
    known = _options(make)
    for option in options:
        if option not in known:
            raise unknown(f"option of strategy {name}", option, known, page="jdarts search --help")
        if isinstance(options[option], str) and "str" not in known[option]:
            raise UserError(
                f"option {option} of strategy {name} is {excerpt(options[option])}; its type is {known[option]}"
            )
    if name in _OWN:
        return make(space, seed=seed, **options)
    if name == "grid":
        return _grid(space, seed)
    if name == "gp":
        check_torch()
    try:
        return make(seed=seed, **options)
    except (TypeError, ValueError) as error:
        raise UserError(f"strategy {name}: {error}") from None


def _options(make: Callable[..., BaseSampler]) -> dict[str, str]:
    """The options of a strategy by name, with their types as text."""
    found: dict[str, str] = {}
    for cls in make.__mro__ if isinstance(make, type) else ():
        if "__init__" in vars(cls):
            parameters = inspect.signature(cls.__init__).parameters.values()
            found |= {p.name: _type(p) for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
            if all(p.kind != p.VAR_KEYWORD for p in parameters):
                break
    if make in (Reinforce, PPO):
        found |= {name: "a number" for name in SETTINGS}
    if make is PNAS:
        found |= {name: "a number" for name in PREDICTOR_SETTINGS}
    hidden = ("self", "space", "search_space", "seed", "settings")
    return {name: kind for name, kind in found.items() if name not in hidden}


def _type(parameter: inspect.Parameter) -> str:
    hint = parameter.annotation
    return hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))


def _grid(space: DecisionSpace, seed: int) -> BaseSampler:
    points = combinations(space.decisions)
    if points > _LARGEST_GRID:
        raise UserError(
            f"a grid over space {space.name} has {points:.3g} points, at most {_LARGEST_GRID} are possible; use random"
        )
    values = {name: d.choices for name, d in Parameters(space).distributions.items()}  # type: ignore[attr-defined]
    return optuna.samplers.GridSampler(values, seed=seed)


def check_torch() -> None:
    """Raise `UserError` unless PyTorch, with which Optuna's Gaussian process computes, is installed."""
    if importlib.util.find_spec("torch") is None:
        raise UserError("gp needs PyTorch; pip install torch, or use tpe")
