"""A search on a placement: one search, or several that differ in seeds and hyper-parameters, in one program."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jdarts.config import Experiment
from jdarts.config.swept import with_values
from jdarts.data.streaming import StreamedData
from jdarts.devices.advance import Advance, resident
from jdarts.devices.placement import (
    Placement,
    compile_init,
    compile_step,
    connect_processes,
    split_members,
)
from jdarts.errors import UserError
from jdarts.methods import Method
from jdarts.search.members import Member, stacked
from jdarts.search.search import Search, make_search
from jdarts.search.state import SearchState
from jdarts.search.streams import streamed_batches
from jdarts.spaces.space import Space
from jdarts.staging import NOT_A_NUMBER_YET


@dataclass(frozen=True)
class PlacedSearch:
    """One search, or several, on the devices of a placement.

    Attributes:
      init: `() -> state`.
      step: `state -> (state, metrics)`; metrics are scalars, means over the searches whose numbers are finite.
      snapshot: `state -> {"alphas": …, "sums": …, "finite": …}`, complete on the host of every process.
      steps_per_epoch: whole training batches in an epoch.
      method: the search method.
      others: `members -> placed search` of as many other members, which vary the same values, with the same step.
      search: the pure functions of one search of `config`, on one device.
    """

    init: Callable[[], SearchState]
    step: Callable[[SearchState], tuple[SearchState, dict[str, jax.Array]]]
    snapshot: Callable[[SearchState], dict[str, Any]]
    steps_per_epoch: int
    method: Method
    others: Callable[[Sequence[Member]], "PlacedSearch"]
    search: Search


def place_search(
    config: Experiment,
    space: Space,
    data: Any,
    placement: Placement,
    members: Sequence[Member] = (),
    method: Method | None = None,
) -> PlacedSearch:
    """One search (without members) or the searches `members` on the devices of `placement`.

    `method` is the method of a search without members; None is that of the configuration.

    Raises `UserError` if a swept hyper-parameter decides how the step is built.
    """
    connect_processes(placement)
    search = make_search(config, space, data, axis_name=placement.axis_name, method=method)

    def member_search(values) -> Search:
        if not values:
            return search
        return make_search(with_values(config, values), space, data, axis_name=placement.axis_name)

    def init_one(seed, values):
        return member_search(values).init(jax.random.key(seed))

    def step_one(state, arrays, values):
        return member_search(values).step(state, arrays)

    step_one.__name__ = search.step.__name__  # so that the compilation cache finds the program of a single search

    parts, batches = _batches(config, search, placement)
    init = compile_init(init_one, placement)
    step = compile_step(step_one, placement, streamed=parts, calls=config.search.epochs * search.steps_per_epoch)
    _check_sweep(init_one, _arguments(config, members, placement)[1], members)
    view, mean = _summaries(placement, bool(members))
    alone = make_search(config, space, data, method=method) if placement.axis_name else search

    def placed(members: Sequence[Member]) -> PlacedSearch:
        seeds, values = _arguments(config, members, placement)
        advance = Advance(
            step,
            batches,
            values,
            check_every=config.devices.check_replicas_every,
            metrics=mean,
            guard=partial(_refusing, values, members),
        )
        return PlacedSearch(
            lambda: init(seeds, values),
            advance,
            lambda state: jax.device_get(view(state)),
            search.steps_per_epoch,
            search.method,
            placed,
            alone,
        )

    return placed(members)


def _batches(config: Experiment, search: Search, placement: Placement) -> tuple[int, Any]:
    """`(micro-batches of a step, batches on the devices)`; 0 micro-batches if the data set itself is on the devices."""
    if isinstance(search.data, StreamedData):
        return config.search.microbatches, streamed_batches(config, search.data, search.method, placement)
    return 0, resident(search.arrays, placement)


def _arguments(config: Experiment, members: Sequence[Member], placement: Placement) -> tuple[Any, dict[str, Any]]:
    """The seeds and the values of the searches, on the devices."""
    given = stacked(members, jnp.result_type(float)) if members else (np.int32(config.seed), {})
    return split_members(given, placement)


def _summaries(placement: Placement, several: bool) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """`(view of a state, summary of metrics)`, complete on every host."""
    everywhere: Any = (
        {} if placement.backend == "jit" else {"out_shardings": NamedSharding(placement.mesh, PartitionSpec())}
    )
    view = jax.jit(partial(_view, axes=1 if several else 0), **everywhere)
    return view, jax.jit(_mean_over_members, **everywhere) if several else lambda metrics: metrics


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
    except NOT_A_NUMBER_YET:
        names = list(names)
        if not names:
            raise
        count = len({tuple(dict(member.values)[name] for name in names) for member in members})
        raise UserError(
            f"--sweep {', '.join(names)}: its value decides how the step is built, so one program cannot hold several; "
            f"run the {count} values one after the other"
        ) from None
