"""The decisions of a space as parameters of an Optuna study, and the values of a trial as choices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import Trial

from jdarts.errors import UserError
from jdarts.spaces.decisions import Choices, Decision, DecisionSpace, FreeChoices, checked_choices, labelled


@dataclass(frozen=True)
class ParameterSpace(FreeChoices):
    """The space of any Optuna objective with categorical and integer parameters; an architecture is its choices.

    Attributes:
      distributions: the distribution of every parameter by name, as in `study.ask(distributions)`.

    Raises `UserError` for a real parameter, which has no list of options, and for one with a single value.
    """

    distributions: Mapping[str, BaseDistribution]
    name: str = "parameters"

    def __post_init__(self):
        if not self.distributions:
            raise UserError("there are no parameters to search; give at least one distribution")
        assert self.decisions

    @cached_property
    def options(self) -> dict[str, tuple[Any, ...]]:
        """The values of every parameter."""
        found = {}
        for name, distribution in self.distributions.items():
            if isinstance(distribution, CategoricalDistribution):
                found[name] = tuple(distribution.choices)
            elif isinstance(distribution, IntDistribution) and not distribution.log:
                found[name] = tuple(range(distribution.low, distribution.high + 1, distribution.step))
            else:
                raise UserError(
                    f"parameter {name} is a {type(distribution).__name__}; this strategy needs categorical parameters "
                    "or whole numbers without log; use tpe or random"
                )
        return found

    def make_decisions(self) -> tuple[Decision, ...]:
        """One decision a parameter."""
        return tuple(labelled(name, f"parameters/{name}", values) for name, values in self.options.items())

    def decode(self, choices: Sequence[int]) -> Choices:
        """The choices themselves; raises `UserError` unless they are valid."""
        return checked_choices(self, choices)

    def encode(self, choices: Choices) -> Choices:
        """The choices themselves; raises `UserError` unless they are valid."""
        return checked_choices(self, choices)


class Parameters:
    """The translation between choices and the parameters of a trial.

    The option of a decision is its number, a categorical value of 0 to n−1; in a `ParameterSpace` it is the parameter's
    own value.
    """

    def __init__(self, space: DecisionSpace):
        self.names = tuple(decision.name for decision in space.decisions)
        if isinstance(space, ParameterSpace):
            self.distributions, values = dict(space.distributions), list(space.options.values())
        else:
            values = [tuple(range(decision.options)) for decision in space.decisions]
            self.distributions: dict[str, BaseDistribution] = {
                name: CategoricalDistribution(options) for name, options in zip(self.names, values, strict=True)
            }
        self._values = values
        self._indices = [{value: index for index, value in enumerate(options)} for options in values]

    def values(self, choices: Sequence[int]) -> dict[str, Any]:
        """The parameters of a trial with these choices."""
        return {name: options[choice] for name, options, choice in zip(self.names, self._values, choices, strict=True)}

    def suggest(self, trial: Trial) -> Choices | None:
        """The choices that the sampler of a running trial proposes, as its parameters; None as in `choices`."""
        values = {}
        for name, distribution in self.distributions.items():
            if isinstance(distribution, IntDistribution):
                values[name] = trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step)
            elif isinstance(distribution, CategoricalDistribution):
                values[name] = trial.suggest_categorical(name, distribution.choices)
        return self.choices(values)

    def choices(self, params: Mapping[str, Any]) -> Choices | None:
        """The choices of a trial with these parameters; None if one is missing or has another value."""
        try:
            return tuple(index[params[name]] for name, index in zip(self.names, self._indices, strict=True))
        except KeyError:
            return None
