"""The Pareto front of a space by NSGA-II (Deb et al. 2002), with Optuna's sampler."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from jdarts.errors import UserError
from jdarts.spaces.decisions import Choices, DecisionSpace

Direction = Literal["maximize", "minimize"]
Values = tuple[float, ...]


@dataclass(frozen=True)
class OnFront:
    """An architecture that no other candidate dominates, with its values in the order of the objectives."""

    choices: Choices
    values: Values


def pareto_front(
    space: DecisionSpace,
    score: Callable[[Choices], Values],
    directions: Sequence[Direction],
    *,
    population: int,
    generations: int,
    seed: int,
    excess: Callable[[Choices], float] | None = None,
) -> list[OnFront]:
    """The front of `population · generations` candidates, sorted by the first objective, the best first.

    Each architecture is scored once, however often it is proposed.

    Args:
      score: the values of an architecture, one for each of `directions`.
      excess: how far an architecture is above a limit, 0 or less for a legal one. Others are not scored; they count as
        worse than every legal one, and the more so the larger their excess.

    Raises `UserError` if no candidate is legal.
    """
    import optuna

    known: dict[Choices, Values] = {}
    sampler = optuna.samplers.NSGAIISampler(population_size=population, seed=seed)
    with _quiet(optuna):
        study = optuna.create_study(directions=list(directions), sampler=sampler)
        for _ in range(population * generations):
            trial = study.ask()
            choices = tuple(trial.suggest_categorical(each.name, list(range(each.options))) for each in space.decisions)
            above = max(0.0, excess(choices)) if excess else 0.0
            trial.set_constraint("limit", above)
            if not above and choices not in known:
                known[choices] = score(choices)
            study.tell(trial, [0.0] * len(directions) if above else known[choices])
    if not known:
        raise UserError(
            f"space {space.name}: none of {population * generations} candidates keeps the limit; allow larger ones"
        )
    kept = [each for each in known if not any(_dominates(known[other], known[each], directions) for other in known)]
    sign = -1 if directions[0] == "maximize" else 1
    return [OnFront(each, known[each]) for each in sorted(kept, key=lambda each: (sign * known[each][0], each))]


def _dominates(a: Values, b: Values, directions: Sequence[Direction]) -> bool:
    """True if a is at least as good as b in all objectives, and better in one."""
    signs = [1 if each == "maximize" else -1 for each in directions]
    differences = [sign * (x - y) for sign, x, y in zip(signs, a, b, strict=True)]
    return min(differences) >= 0 and max(differences) > 0


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Without Optuna's line for every trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
