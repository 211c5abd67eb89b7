"""The seam between an estimate by training and the task for which architectures are trained: images or text.

`jdarts.estimation.image_children` and `jdarts.estimation.text_children` implement it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax

from jdarts.config import DataConfig, Experiment
from jdarts.errors import UserError
from jdarts.estimation.estimator import Budget
from jdarts.genotypes import excerpt
from jdarts.networks.of_genotype import TrainedOnImages


@dataclass(frozen=True)
class Fidelity:
    """A budget applied: the configuration of a training, and its data; `given` has the names in the budget."""

    config: Experiment
    data: Any
    given: frozenset[str] = frozenset()


class Child(Protocol):
    """The training of one genotype at one fidelity. Its functions are compiled once."""

    @property
    def epochs(self) -> int:
        """Epochs of the training."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch."""
        ...

    @property
    def examples(self) -> Any:
        """The training data on the device, the second argument of the steps of `ChildTask.step_at`."""
        ...

    def init(self, key: jax.Array, /) -> Any:
        """The state before the first step."""
        ...

    def step(self, state: Any, /) -> tuple[Any, Mapping[str, jax.Array]]:
        """`(state after a step, metrics)`; the metric `finite` is False once the training has diverged."""
        ...

    def end_epoch(self, state: Any) -> Any:
        """The state after an epoch; for trainings that validate at the end of each one."""
        ...

    def measured(self, state: Any) -> float:
        """The validation result by which architectures are compared, `ChildTask.measure`."""
        ...


class ChildTask(Protocol):
    """The parts of an estimate by training that depend on the task."""

    @property
    def measure(self) -> str:
        """The name of the value by which architectures are compared."""
        ...

    @property
    def fidelities(self) -> Mapping[str, str]:
        """The names that a budget may have, with their meanings."""
        ...

    def load(self, config: DataConfig) -> Any:
        """The data of a configuration."""
        ...

    def check_validation(self, config: Experiment) -> None:
        """Raise `UserError` without held-out data, and for settings that trials cannot have."""
        ...

    def apply(self, config: Experiment, data: Any, budget: Budget) -> Fidelity:
        """The configuration and the data at a budget with names of `fidelities`; `UserError` for a wrong value."""
        ...

    def check(self, architecture: Any, fidelity: Fidelity) -> None:
        """Raise `UserError` unless this architecture can be trained; nothing is compiled."""
        ...

    def children(self, genotype: Any, fidelity: Fidelity, numbers: Sequence[str] = ()) -> Callable[[Experiment], Child]:
        """`configuration -> training of a genotype`; they differ in the seed, and in real numbers with these names.

        They share one compiled step. Raises `staging.NOT_A_NUMBER_YET` if a number decides how it is built.
        """
        ...

    def step_at(self, genotype: Any, fidelity: Fidelity, values: Mapping[str, jax.Array]) -> Any:
        """The functions of a training with other, traced values: `init(key)` and `step(state, examples)`."""
        ...

    def numbers(self) -> list[str]:
        """The dotted names of the real numbers of a training."""
        ...

    def sizes(self, genotype: Any, fidelity: Fidelity) -> dict[str, float]:
        """`parameters` and `macs` of the network of a genotype."""
        ...

    def of_search(self, record: Mapping[str, Any]) -> float | None:
        """The measure in the record of an epoch of a search with shared weights; None if it has none."""
        ...


def check_trained(architecture: Any, space: str) -> TrainedOnImages:
    """The architecture, if jdarts builds a network of it; raises `UserError` otherwise."""
    if not isinstance(architecture, TrainedOnImages):
        raise UserError(
            f"space {space} has architectures that jdarts does not train, such as {excerpt(str(architecture))}; use a "
            "table, or another space"
        )
    return architecture


def whole(name: str, value: float) -> int:
    """The value of a budget that is a whole number of at least 1; raises `UserError` for another one."""
    if isinstance(value, bool) or value != int(value) or value < 1:
        raise UserError(f"budget {name} is {value:g}; use a whole number of at least 1")
    return int(value)


def kept_of(count: int, share: float) -> int:
    """The number of examples in a share of them, rounded up; raises `UserError` unless 0 < share ≤ 1."""
    if not 0 < share <= 1:
        raise UserError(f"budget data is {share:g}; use a share above 0 and at most 1")
    return math.ceil(share * count)
