"""A space without the architectures that cost too much."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from jdarts.spaces.decisions import Choices, Decision, DecisionSpace

_REMEMBERED = 100_000


class LimitedSpace:
    """The architectures of `space` for which `fits(architecture)` is true; the decisions stay the same.

    Strategies draw again until the choices are valid. A sampler of Optuna may propose others, whose trials are pruned.
    """

    def __init__(self, space: DecisionSpace, fits: Callable[[Any], bool]):
        self._space = space
        self._fits = lru_cache(_REMEMBERED)(lambda choices: fits(space.decode(choices)))

    def __getattr__(self, name: str) -> Any:
        """Other attributes of the space, such as the growth of progressive spaces."""
        if name.startswith("_"):  # before `__init__`, as in a copy
            raise AttributeError(name)
        return getattr(self._space, name)

    @property
    def name(self) -> str:
        """The name of the space."""
        return self._space.name

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The decisions of the space."""
        return self._space.decisions

    @property
    def size(self) -> int:
        """The number of architectures of the space; how many of them fit is not known."""
        return self._space.size

    def is_valid(self, choices: Sequence[int]) -> bool:
        """True if the choices describe an architecture that fits."""
        return self._space.is_valid(choices) and self._fits(tuple(int(choice) for choice in choices))

    def decode(self, choices: Sequence[int]) -> Any:
        """The architecture of the choices, even of one that does not fit."""
        return self._space.decode(choices)

    def encode(self, architecture: Any) -> Choices:
        """The canonical choices of an architecture."""
        return self._space.encode(architecture)
