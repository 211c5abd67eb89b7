"""A search on a placement: one search, or several that differ in seeds and hyper-parameters, in one program."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jdarts.config import Experiment
from jdarts.data.streaming import StreamedData
from jdarts.devices.placement import (
    Placement,
    StepFunction,
    check_replicas,
    compile_init,
    compile_step,
    connect_processes,
    replicate,
    split_members,
)
from jdarts.errors import UserError
from jdarts.methods import Method
from jdarts.search.members import Member, stacked, with_values
from jdarts.search.search import Search, make_search
from jdarts.search.state import SearchState
from jdarts.search.streams import streamed_batches
from jdarts.spaces.space import Space


@dataclass(frozen=True)
class PlacedSearch:
    """One search, or several, on the devices of a placement.

    Attributes:
      init: `() -> state`.
      step: `state -> (state, metrics)`; metrics are scalars, means over the searches whose numbers are finite.
      snapshot: `state -> {"alphas": …, "sums": …, "finite": …}`, complete on the host of every process.
      steps_per_epoch: whole training batches in an epoch.
      method: the search method.
      search: the pure functions of one search of `config`, on one device.
    """

    init: Callable[[], SearchState]
    step: Callable[[SearchState], tuple[SearchState, dict[str, jax.Array]]]
    snapshot: Callable[[SearchState], dict[str, Any]]
    steps_per_epoch: int
    method: Method
    search: Search


def place_search(
    config: Experiment,
    space: Space,
    data: Any,
    placement: Placement,
    members: Sequence[Member] = (),
) -> PlacedSearch:
    """One search (without members) or the searches `members` on the devices of `placement`.

    Raises `UserError` if a swept hyper-parameter decides how the step is built.
    """
    connect_processes(placement)
    search = make_search(config, space, data, axis_name=placement.axis_name)

    def member_search(values) -> Search:
        return (
            make_search(with_values(config, values), space, data, axis_name=placement.axis_name) if values else search
        )

    def init_one(seed, values):
        return member_search(values).init(jax.random.key(seed))

    def step_one(state, arrays, values):
        return member_search(values).step(state, arrays)

    step_one.__name__ = search.step.__name__  # so that the compilation cache finds the program of a single search

    seeds, values = stacked(members, jnp.result_type(float)) if members else (np.int32(config.seed), {})
    seeds, values = split_members((seeds, values), placement)
    streamed = isinstance(data, StreamedData)
    batches = streamed_batches(config, data, search.method, placement) if streamed else Resident(search, placement)
    steps = config.search.epochs * search.steps_per_epoch
    init = compile_init(init_one, placement)
    parts = config.search.microbatches if streamed else 0
    step = compile_step(step_one, placement, streamed=parts, calls=steps)
    _check_sweep(init_one, values, members)
    everywhere: Any = (
        {} if placement.backend == "jit" else {"out_shardings": NamedSharding(placement.mesh, PartitionSpec())}
    )
    view = jax.jit(partial(_view, axes=1 if members else 0), **everywhere)
    mean = jax.jit(_mean_over_members, **everywhere) if members else None
    return PlacedSearch(
        lambda: init(seeds, values),
        Advance(step, batches, values, members, mean, config.devices.check_replicas_every),
        lambda state: jax.device_get(view(state)),
        search.steps_per_epoch,
        search.method,
        make_search(config, space, data) if placement.axis_name else search,
    )


class Advance:
    """`state -> (state, metrics)`: one compiled step on the next batch.

    Args:
      step: `(state, batch, values) -> (state, metrics)`, compiled.
      batches: `number of a step -> iterator of batches`, starting with that step's.
      values: values of the swept hyper-parameters, by name.
      mean: takes the mean of the metrics over the members; None without members.
      check_every: number of steps between two comparisons of the replicas; 0 for no comparisons.
    """

    def __init__(
        self,
        step: StepFunction,
        batches: Callable[[int], Iterator[Any]],
        values: dict[str, Any],
        members: Sequence[Member],
        mean: Callable[[Any], Any] | None,
        check_every: int,
    ):
        self._step, self._batches, self._values, self._members = step, batches, values, members
        self._mean, self._check_every = mean, check_every
        self._arrays: Iterator[Any] | None = None
        self._taken = 0

    def __call__(self, state: SearchState) -> tuple[SearchState, dict[str, jax.Array]]:
        """Take one step."""
        if self._arrays is None:  # the first state tells the step at which a resumed run continues
            self._arrays = self._batches(int(np.max(jax.device_get(state.step.addressable_shards[0].data))))
        batch = next(self._arrays)
        with _refusing(self._values, self._members):
            state, metrics = self._step(state, batch, self._values)
        self._taken += 1
        if self._check_every and self._taken % self._check_every == 0:
            check_replicas(state)
        return state, metrics if self._mean is None else self._mean(metrics)


class Resident:
    """The data set on the devices of a placement: the same arrays for every step."""

    def __init__(self, search: Search, placement: Placement):
        self._arrays = replicate(search.arrays, placement)

    def __call__(self, step: int) -> Iterator[Any]:
        """An endless iterator of the same arrays for every step."""
        del step
        return itertools.repeat(self._arrays)


def _mean_over_members(metrics: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Means of the metrics over the members whose metrics are all finite."""
    finite = metrics["finite"].astype(bool)
    for name, value in metrics.items():
        finite &= jnp.isfinite(value) if name != "finite" else True
    count = jnp.maximum(jnp.sum(finite), 1)
    means = {name: jnp.sum(jnp.where(finite, value, 0)) / count for name, value in metrics.items() if name != "finite"}
    return {**means, "finite": jnp.any(finite)}


def _view(state: Any, axes: int) -> dict[str, Any]:
    """The parts of a state that records need, and `finite` per member; leaves have `axes` leading axes of members."""
    leaves = jax.tree.leaves((state.alphas, state.weights))
    finite = [jnp.all(jnp.isfinite(leaf), tuple(range(axes, leaf.ndim))) for leaf in leaves]
    return {"alphas": state.alphas, "sums": state.sums, "finite": jnp.all(jnp.stack(finite), axis=0)}


def _check_sweep(init_one, values, members: Sequence[Member]) -> None:
    """Raise `UserError` for swept hyper-parameters whose values Python needs to build the functions of a search."""
    for name in values:
        with _refusing([name], members):
            one = {name: jax.ShapeDtypeStruct((), values[name].dtype)}
            jax.eval_shape(init_one, jax.ShapeDtypeStruct((), jnp.int32), one)


@contextlib.contextmanager
def _refusing(names: Iterable[str], members: Sequence[Member]) -> Iterator[None]:
    """Turn JAX's errors about the value of a traced number into a `UserError` about the swept hyper-parameter."""
    try:
        yield
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        names = list(names)
        if not names:
            raise
        count = len({tuple(dict(member.values)[name] for name in names) for member in members})
        raise UserError(
            f"--sweep {', '.join(names)}: its value decides how the step is built, so one program cannot hold several; "
            f"run the {count} values one after the other"
        ) from None
