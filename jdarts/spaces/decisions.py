"""Architectures as tuples of integers: the decisions of a space, and the choices that make up one architecture.

A strategy without a relaxation (random search, evolution, controllers, predictors, NSGA-II) knows no more of a space
than its list of decisions. It proposes one option for each, and the space decodes them into an architecture:

    space = spaces.get("nasbench201")
    space.decisions[0]                          # Decision(name='edge_0_1', options=5, group='cell/op')
    space.decode((3, 1, 3, 1, 1, 3)).to_text()  # '|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+…'
    space.encode(parse("|nor_conv_3x3~0|+…"))   # (3, 1, 3, 1, 1, 3)
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import excerpt

Choices = tuple[int, ...]
"""One option for every decision of a space, counted from 0."""

_ATTEMPTS = 100_000


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
      name: unique in its space; the name of the parameter in a study.
      options: the number of options, at least 2.
      group: `part/kind`. The part is a cell or another section of the network (`normal`, `reduce`); the kind says what
        is chosen (`input`, `op`). Evolution mutates by part and kind, and a controller shares embeddings and output
        layers among the decisions of a kind.
      labels: the names of the options, as in `sep_conv_3x3`; without them, the numbers of the options.

    Raises `UserError` for fewer than 2 options, for another number of labels and for a group of another form.
    """

    name: str
    options: int
    group: str
    labels: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.labels:
            object.__setattr__(self, "labels", tuple(map(str, range(self.options))))
        if len(self.labels) != self.options:
            raise UserError(f"decision {self.name} has {self.options} options and {len(self.labels)} labels")
        if self.options < 2:
            raise UserError(f"decision {self.name} has {self.options} options; leave out what cannot be decided")
        part, slash, kind = self.group.partition("/")
        if not (part and slash and kind):
            raise UserError(f"decision {self.name} has the group {self.group!r}; it must be part/kind, as in normal/op")

    @property
    def part(self) -> str:
        """The section of the network, as in `normal`."""
        return self.group.partition("/")[0]

    @property
    def kind(self) -> str:
        """The kind of choice, as in `op`."""
        return self.group.partition("/")[2]


NO_YES = ("no", "yes")
"""The labels of a decision whether something is there."""


def labelled(name: str, group: str, values: Sequence[Any]) -> Decision:
    """The decision among `values`, whose options are named after them."""
    return Decision(name, len(values), group, tuple(map(str, values)))


class DecisionSpace(Protocol):
    """A space whose architectures are tuples of choices.

    Architectures are hashable values with a method `to_text()`. Two tuples may be the same architecture, for instance
    with the two inputs of a node swapped; `encode` then gives the canonical one.
    """

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions, in the order of the choices."""
        ...

    @property
    def size(self) -> int:
        """The number of different architectures."""
        ...

    def is_valid(self, choices: Sequence[int], /) -> bool:
        """True if the choices are in range and describe an architecture."""
        ...

    def decode(self, choices: Sequence[int], /) -> Any:
        """The architecture; raises `UserError` unless the choices are valid."""
        ...

    def encode(self, architecture: Any, /) -> Choices:
        """The canonical choices of an architecture; raises `UserError` for one of another space."""
        ...


class FreeChoices(ABC):
    """The base of spaces in which every tuple of choices in range is an architecture."""

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions, in the order of the choices."""
        return self._decisions

    @cached_property
    def _decisions(self) -> tuple[Decision, ...]:
        return self.make_decisions()

    @abstractmethod
    def make_decisions(self) -> tuple[Decision, ...]:
        """The decisions; called once."""

    @property
    def size(self) -> int:
        """The number of different architectures; here, different choices make different architectures."""
        return combinations(self.decisions)

    def is_valid(self, choices: Sequence[int]) -> bool:
        """True if the choices are in range."""
        return in_range(self.decisions, choices)


def in_range(decisions: Sequence[Decision], choices: Sequence[int]) -> bool:
    """True if there is one whole number for every decision, each less than its number of options."""
    return len(choices) == len(decisions) and all(
        isinstance(choice, (int, np.integer)) and not isinstance(choice, bool) and 0 <= choice < decision.options
        for choice, decision in zip(choices, decisions, strict=True)
    )


def checked_choices(space: DecisionSpace, choices: Sequence[int]) -> Choices:
    """The choices as a tuple of ints; raises `UserError` that names the first decision that is out of range."""
    if not isinstance(choices, (tuple, list, np.ndarray)):
        raise UserError(f"choices is {excerpt(choices)}; expected a tuple of {len(space.decisions)} whole numbers")
    if len(choices) != len(space.decisions):
        raise UserError(f"there are {len(choices)} choices; space {space.name} has {len(space.decisions)} decisions")
    for choice, decision in zip(choices, space.decisions, strict=True):
        if not in_range((decision,), (choice,)):
            raise UserError(
                f"decision {decision.name} of space {space.name} is {excerpt(choice)}; "
                f"choose a whole number of 0 to {decision.options - 1}"
            )
    if not space.is_valid(choices):
        raise UserError(f"the choices {excerpt(tuple(choices), 200)} describe no architecture of space {space.name}")
    return tuple(int(choice) for choice in choices)


def is_canonical(space: DecisionSpace, choices: Sequence[int]) -> bool:
    """True if the choices are valid and those that `encode` gives for their architecture."""
    return space.is_valid(choices) and space.encode(space.decode(choices)) == tuple(choices)


def combinations(decisions: Sequence[Decision]) -> int:
    """The number of tuples of choices, valid or not."""
    return math.prod(decision.options for decision in decisions)


def all_canonical(space: DecisionSpace) -> Iterator[Choices]:
    """Every architecture of a small space once, by its canonical choices, in lexicographic order."""
    for choices in itertools.product(*(range(decision.options) for decision in space.decisions)):
        if is_canonical(space, choices):
            yield choices


def uniform(space: DecisionSpace, rng: np.random.Generator) -> Choices:
    """Independent uniform choices, drawn again until they are valid.

    Raises `UserError` if none of 100,000 draws is valid.
    """
    options = np.array([decision.options for decision in space.decisions])
    for _ in range(_ATTEMPTS):
        choices = tuple(rng.integers(options).tolist())
        if space.is_valid(choices):
            return choices
    raise UserError(f"space {space.name}: none of {_ATTEMPTS} random tuples of choices is valid")
