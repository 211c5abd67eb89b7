"""The way in which the architectures of a space grow, one stage of decisions after another, for progressive search."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import excerpt
from jdarts.spaces.decisions import Choices, DecisionSpace


class Stage(NamedTuple):
    """One step of growth.

    Attributes:
      places: the decisions that it sets, by their index.
      options: the values that it can give them, each once, `[options, places]`.
    """

    places: tuple[int, ...]
    options: np.ndarray


@dataclass(frozen=True)
class Growth:
    """Stages of growth from a base.

    Attributes:
      stages: in their order.
      base: what decisions are before their stage, one option for each.
      counter: the index of a decision that counts the stages, of which later ones then do not exist; None if an
        architecture is complete after every stage, with the options of the base for later decisions.
    """

    stages: tuple[Stage, ...]
    base: Choices
    counter: int | None = None

    @cached_property
    def stage_of(self) -> np.ndarray:
        """The stage of each decision, from 1, `[decisions]`; 0 for the counter."""
        found = np.zeros(len(self.base), int)
        for number, stage in enumerate(self.stages, start=1):
            found[list(stage.places)] = number
        if self.counter is not None:
            found[self.counter] = 0
        return found

    def levels(self, choices: np.ndarray) -> np.ndarray:
        """The stage that each of the architectures `[architectures, decisions]` has reached, from 1."""
        if self.counter is not None:
            return choices[:, self.counter] + 1
        return np.maximum(1, np.max((choices != np.array(self.base)) * self.stage_of, axis=1))

    def extended(self, parents: np.ndarray, level: int) -> np.ndarray:
        """All extensions of architectures `[parents, decisions]` by the stage of this number, parent by parent."""
        stage = self.stages[level - 1]
        children = np.repeat(parents, len(stage.options), axis=0)
        children[:, list(stage.places)] = np.tile(stage.options, (len(parents), 1))
        return children

    def first(self) -> np.ndarray:
        """The architectures of the first stage, `[architectures, decisions]`."""
        return self.extended(np.array([self.base]), 1)


@runtime_checkable
class GrowingSpace(Protocol):
    """A space that contains smaller architectures of its kind."""

    @property
    def growth(self) -> Growth:
        """The stages, from the smallest architectures to the largest."""
        ...


def growth_of(space: DecisionSpace, base: int | Sequence[int] | None = None) -> Growth:
    """The growth of a space: its own, or one decision a stage, with the options of `base` for later decisions.

    Args:
      space: a space of decisions.
      base: an architecture, or the option of all its decisions; by default option 0, such as identity in all layers of
        NAS-Bench-Macro.

    Raises `UserError` for a base of a space with a growth of its own, and for one that is no architecture.
    """
    if isinstance(space, GrowingSpace):
        if base is not None:
            raise UserError(f"space {space.name} has smaller architectures of its own; leave out base")
        return space.growth
    chosen: Any = 0 if base is None else base
    start = tuple(chosen) if isinstance(chosen, (tuple, list, np.ndarray)) else (chosen,) * len(space.decisions)
    if not space.is_valid(start):
        raise UserError(f"the base {excerpt(start)} is no architecture of space {space.name}; give another one")
    stages = []
    for place, decision in enumerate(space.decisions):
        options = [option for option in range(decision.options) if not stages or option != start[place]]
        stages.append(Stage((place,), np.array(options)[:, None]))
    return Growth(tuple(stages), start)


def choices_of_rows(rows: Any) -> list[Choices]:
    """The rows of an array `[architectures, decisions]` as tuples."""
    return [tuple(row) for row in np.asarray(rows).tolist()]
