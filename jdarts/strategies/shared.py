"""One compiled step for all trials of hyper-parameters that differ only in real numbers or in the seed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from optuna.trial import Trial

from jdarts.config import Experiment
from jdarts.errors import UserError
from jdarts.staging import NOT_A_NUMBER_YET
from jdarts.strategies.tuning import with_values_of

Running = tuple[Trial, Experiment]
"""A trial and its configuration."""
Built = TypeVar("Built")
_REFUSED = (*NOT_A_NUMBER_YET, UserError, TypeError, ValueError)
"""Errors of code that needs the value of an argument: JAX's, and those of checks that cannot look into it."""


class Shared(Generic[Built]):
    """Builds the part of trials that is compiled, once for all trials that differ only in the seed and in real numbers.

    Args:
      base: the configuration without the values of a trial.
      varied: the names of the fields that trials vary.
      numbers: the names of real numbers that a compiled step may take as arguments.
      build: `(configuration, names) -> compiled part`, which takes the named numbers as arguments. Raises
        `NOT_A_NUMBER_YET` if the value of one decides how the step is built.
      traces: raises the same, but compiles nothing.
    """

    def __init__(
        self,
        base: Experiment,
        varied: Sequence[str],
        numbers: Sequence[str],
        build: Callable[[Experiment, Sequence[str]], Built],
        traces: Callable[[Experiment, Sequence[str]], Any],
    ):
        self._base, self._build, self._traces = base, build, traces
        self.names = [name for name in varied if name in numbers]
        self._last: tuple[Experiment, Built] | None = None

    def of(self, params: Mapping[str, Any]) -> Built:
        """The compiled part of a trial with these parameters; `names` are afterwards its arguments."""
        fixed = self.fixed(params)
        if self._last is None or self._last[0] != fixed:
            self._last = None  # so that its memory is free
            try:
                self._last = fixed, self._build(fixed, self.names)
            except _REFUSED:
                if not self.names:
                    raise
                kept = [name for name in self.names if self._is_argument(fixed, name)]
                self.names = kept if len(kept) < len(self.names) else []
                return self.of(params)
        return self._last[1]

    def fixed(self, params: Mapping[str, Any]) -> Experiment:
        """The configuration that trials with the same part share."""
        others = {name: value for name, value in params.items() if name not in self.names}
        return replace(with_values_of(self._base, others), seed=self._base.seed)

    def _is_argument(self, config: Experiment, name: str) -> bool:
        try:
            self._traces(config, [name])
        except _REFUSED:
            return False
        return True

    def groups(self, trials: Sequence[Running]) -> Iterator[tuple[Built, list[Running]]]:
        """`(compiled part, trials)` for all groups of trials that share one."""
        left = list(trials)
        while left:
            built, fixed = self.of(left[0][0].params), self.fixed(left[0][0].params)
            yield built, [each for each in left if self.fixed(each[0].params) == fixed]
            left = [each for each in left if self.fixed(each[0].params) != fixed]
