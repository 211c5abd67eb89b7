"""Changes of a few decisions, for evolution.

A mutation is a function `(space, choices, rng) -> choices`; its result is valid.
"""

from collections.abc import Callable, Iterator

import numpy as np

from jdarts.errors import UserError
from jdarts.spaces.decisions import Choices, DecisionSpace

Mutation = Callable[[DecisionSpace, Choices, np.random.Generator], Choices]

_ATTEMPTS = 10_000


def one_decision(space: DecisionSpace, choices: Choices, rng: np.random.Generator) -> Choices:
    """Another option for one decision, both uniformly drawn.

    In NAS-Bench-201 it is another op on one edge, the mutation of that benchmark's evolution (Dong & Yang 2020).
    """

    def mutants() -> Iterator[Choices]:
        while True:
            place = int(rng.integers(len(choices)))
            yield _replaced(choices, place, _another(space.decisions[place].options, choices[place], rng))

    return _first_valid(space, mutants())


def nasnet(space: DecisionSpace, choices: Choices, rng: np.random.Generator, *, identity: float = 0.05) -> Choices:
    """The mutations of AmoebaNet (Real et al. 2019, arXiv:1802.01548, §2).

    A cell is drawn; with probability `identity` nothing changes. Otherwise one of the kinds of its decisions is drawn,
    and one decision of that kind. An input becomes another one (hidden-state mutation). Anything else becomes a
    uniformly drawn option, perhaps the same (op mutation).
    """
    parts = tuple(dict.fromkeys(decision.part for decision in space.decisions))

    def mutants() -> Iterator[Choices]:
        while True:
            part = parts[int(rng.integers(len(parts)))]
            if rng.random() < identity:
                yield choices
                continue
            kinds = tuple(dict.fromkeys(d.kind for d in space.decisions if d.part == part))
            kind = kinds[int(rng.integers(len(kinds)))]
            places = [i for i, d in enumerate(space.decisions) if d.part == part and d.kind == kind]
            place = places[int(rng.integers(len(places)))]
            options = space.decisions[place].options
            option = _another(options, choices[place], rng) if kind == "input" else int(rng.integers(options))
            yield _replaced(choices, place, option)

    return _first_valid(space, mutants())


MUTATIONS: dict[str, Mutation] = {"one_decision": one_decision, "nasnet": nasnet}


def _another(options: int, choice: int, rng: np.random.Generator) -> int:
    other = int(rng.integers(options - 1))
    return other + (other >= choice)


def _replaced(choices: Choices, place: int, option: int) -> Choices:
    return (*choices[:place], option, *choices[place + 1 :])


def _first_valid(space: DecisionSpace, mutants: Iterator[Choices]) -> Choices:
    for _, mutant in zip(range(_ATTEMPTS), mutants, strict=False):
        if space.is_valid(mutant):
            return mutant
    raise UserError(f"space {space.name}: none of {_ATTEMPTS} mutants of an architecture is valid")
