"""A task: what a search trains on. It supplies the loss, the batches and the optimiser of the weights.

`jdarts.search.images` classifies images; `jdarts.search.language` predicts the next word of a text. Everything else in
this package serves all tasks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax

from jdarts.config import Experiment
from jdarts.methods import Method
from jdarts.schedules import Clock
from jdarts.search.objective import Batch, Objective
from jdarts.search.state import SearchState
from jdarts.spaces.space import Space

Arrays = dict[str, jax.Array]


@dataclass(frozen=True, eq=False)
class Asked:
    """The search that a task is asked to supply with its parts.

    Attributes:
      config, space, method: settings, search space and search method.
      data: the examples.
      clock: `step -> Clock`.
      steps_per_epoch: training batches in an epoch.
      axis_name: mapped axis over which each batch is split.
    """

    config: Experiment
    space: Any
    method: Method
    data: Any
    clock: Callable[[jax.Array], Clock]
    steps_per_epoch: int
    axis_name: str | None = None


class Batches(Protocol):
    """The two batches of a search step. Every draw is a function of the state alone."""

    @property
    def steps_per_epoch(self) -> int:
        """Training batches in an epoch."""
        ...

    @property
    def one_at_a_time(self) -> str:
        """The reason that a step cannot see the training batches of later steps; empty if it can."""
        ...

    def draw(self, state: SearchState, arrays: Arrays) -> tuple[Batch, Batch]:
        """`(train_batch, alpha_batch)` of the step that `state` is about to take."""
        ...

    def validation(self, state: SearchState, arrays: Arrays) -> Batch:
        """A validation batch drawn by `state.key` and `state.step`, on which one candidate is scored."""
        ...

    def look_ahead(self, state: SearchState, arrays: Arrays, steps: int) -> Batch:
        """The training batches that this step and the next `steps` − 1 steps will draw, stacked."""
        ...


class SearchTask(Protocol):
    """The parts of a search that depend on what it trains on."""

    @property
    def score_name(self) -> str:
        """The name of the score of a candidate (`Objective.score`)."""
        ...

    def check(self, config: Experiment, space: Space, method: Method, data: Any) -> None:
        """Raise `UserError` if the task cannot serve this search."""
        ...

    def steps_per_epoch(self, config: Experiment, data: Any) -> int:
        """Training batches in an epoch; `UserError` if the data do not fill a batch."""
        ...

    def objective(self, asked: Asked) -> Objective:
        """The losses."""
        ...

    def batches(self, asked: Asked) -> Batches:
        """The batches."""
        ...

    def weight_optimizer(
        self,
        config: Any,
        epochs: int,
        steps_per_epoch: int,
        *,
        clip: bool = True,
        schedule: optax.Schedule | None = None,
    ) -> optax.GradientTransformation:
        """The optimiser of the weights, with the arguments of `jdarts.optimizers.weight_sgd`."""
        ...

    def enter(self, state: SearchState, batch: Batch) -> SearchState:
        """The state with settings of the weight optimiser that depend on the training batch."""
        ...

    def carried(self, config: Experiment) -> dict[str, Any]:
        """`SearchState.carried` before the first step."""
        ...

    def arrays(self, config: Experiment, data: Any) -> Arrays:
        """All examples of both splits, as arrays on the device."""
        ...

    def scored(self, config: Experiment, arrays: Arrays, key: jax.Array) -> tuple[jax.Array, ...]:
        """Validation examples on which candidates are compared, drawn by `key`."""
        ...

    def held_out(self, config: Experiment, arrays: Arrays) -> Iterator[tuple[jax.Array, ...]]:
        """All validation examples, in parts of one shape."""
        ...

    def as_batch(self, data: Any, *examples: jax.Array) -> Batch:
        """Examples of `scored` or `held_out` as a batch for `Objective.score`."""
        ...

    def readings(self, record: dict[str, float]) -> dict[str, float]:
        """Further entries for the record of an epoch, computed from its means."""
        ...

    def told(self, score: float) -> str:
        """The score of a candidate in words."""
        ...


def nothing_carried() -> dict[str, Any]:
    """`SearchState.carried` of a task whose batches are independent."""
    return {"train": (), "val": ()}


def on_device(data: Any, names: tuple[str, ...]) -> Arrays:
    """The fields `names` of the splits `data.train` and `data.val`, as `{split}_{name}`."""
    return {
        f"{split}_{name}": jnp.asarray(getattr(getattr(data, split), name))
        for split in ("train", "val")
        for name in names
    }
