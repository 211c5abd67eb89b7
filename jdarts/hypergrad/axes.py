"""Losses over a mapped axis whose replicas each hold a part of the batch.

Inside `jax.pmap`, `jax.vmap(axis_name=…)` and `jax.shard_map` a replica sees its part of the batch. The objective is
the mean of the replicas' losses, so its derivatives must be the means of the replicas' derivatives. JAX reduces these
by types: `shard_map(check_vma=True)` sums the gradient of a replicated array over the axis; `pmap`, `vmap` and
`shard_map(check_vma=False)` return only the replica's share of it. `over_axis` makes a loss whose value and derivatives
of any order are right in both cases; `check_reduced` finds losses whose gradient would be a share.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jdarts.devices.replicas import averaging_gradients, is_typed, pmean
from jdarts.errors import UserError
from jdarts.hypergrad.microbatch import SHARED_ENTRIES
from jdarts.hypergrad.types import AxisName, Loss, PyTree, split_arrays
from jdarts.jax_versions import mapped_axes, varying_axes
from jdarts.staging.trace import CALLS

_REDUCING = {"psum", "pmax", "pmin", "all_gather"}  # their results are the same on all replicas
_COMMUNICATING = {*_REDUCING, "ppermute", "all_to_all", "reduce_scatter"}


def over_axis(loss: Loss, axis_name: AxisName) -> Loss:
    """The mean of `loss` over the replicas of an axis, or of several axes; `loss` itself if there is no axis.

    `w` and `alphas` are the same on all replicas. So are the value, the floating-point aux (means over the replicas)
    and derivatives of any order and mode; other aux stay those of the replica. A loss that already ends in
    `jax.lax.pmean` changes only by rounding. Calls with the same loss and axis return the same function object.
    """
    names = axis_names(axis_name)
    return _over_axes(loss, names) if names else loss


def axis_names(axis_name: AxisName) -> tuple:
    """The names as a tuple, empty for None; `UserError` if they cannot be names of axes."""
    names = axis_name if isinstance(axis_name, tuple) else () if axis_name is None else (axis_name,)
    if any(isinstance(name, (list, dict, set, bool)) or name is None for name in names):
        raise UserError(f"axis_name is {axis_name!r}; use the name of a mapped axis, a tuple of names, or None")
    return names


def check_replicated(names: Sequence, **trees: PyTree) -> None:
    """Raise `UserError` unless the axes are mapped and no array of `trees` has a type that varies over them."""
    bound = mapped_axes()
    for name in names:
        if name not in bound:
            raise UserError(
                f"axis_name is {name!r}, but no such axis is mapped here; call the estimator inside jax.pmap, "
                "jax.shard_map or jax.vmap with this axis, or leave axis_name out"
            )
        for what, tree in trees.items():
            for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
                if name in varying_axes(leaf):
                    raise UserError(
                        f"{what}{jax.tree_util.keystr(path)} differs between the replicas of axis {name!r}, by its "
                        "type; pass an array that is the same on all replicas (in_specs P(), or jax.lax.pmean of it)"
                    )


def check_reduced(loss: Loss, w: PyTree, alphas: PyTree, batch: PyTree) -> None:
    """Raise `UserError` if `loss` communicates over an axis without types and its gradient differs between replicas.

    The check assumes that `w`, `alphas`, PRNG keys, integer scalars and the batch entries that micro-batches share are
    the same on all replicas. Outside mapped axes it traces nothing.
    """
    axes = frozenset(name for name in mapped_axes() if not is_typed(name))
    if not axes:
        return
    arrays, rebuild, _ = split_arrays(batch)

    def gradient(w, alphas, arrays):
        full = rebuild(arrays)
        return jax.grad(lambda w_, alphas_: loss(w_, alphas_, full)[0], argnums=(0, 1))(w, alphas)

    closed = jax.make_jaxpr(gradient)(w, alphas, arrays)
    communicated = frozenset(_communicated(closed.jaxpr)) & axes
    if not communicated:
        return
    same = [frozenset()] * len(jax.tree.leaves((w, alphas)))
    given = [
        frozenset() if _is_shared(path, leaf) else communicated
        for path, leaf in jax.tree_util.tree_flatten_with_path(batch)[0]
        if hasattr(leaf, "dtype")
    ]
    differing = frozenset().union(*_varying(closed, [*same, *given], communicated)) & communicated
    if differing:
        name = min(differing, key=str)
        raise UserError(
            f"the loss {getattr(loss, '__name__', 'loss')!r} communicates over axis {name!r}, which is mapped without "
            "types (pmap, vmap, shard_map with check_vma=False), so derivatives would be those of one replica; give "
            f"the estimator axis_name={name!r}"
        )


def check_whole(values: PyTree, point: PyTree) -> None:
    """Raise `UserError` if, by their types, losses differ between replicas with the same `point` (w and alphas).

    JAX would return the gradient of the sum over the replicas, not of the mean.
    """
    own = frozenset().union(*map(varying_axes, jax.tree.leaves(values)))
    for name in sorted(own.difference(*map(varying_axes, jax.tree.leaves(point))), key=str):
        raise UserError(
            f"the loss differs between the replicas of axis {name!r} while w and alphas do not, so its gradient would "
            f"be the sum over them; give the estimator axis_name={name!r}"
        )


@functools.lru_cache(maxsize=64)
def _over_axes(loss, names):
    @functools.wraps(loss)
    def mean(w, alphas, batch):
        for name in names:
            w, alphas = averaging_gradients((w, alphas), name)
        result = loss(w, alphas, batch)
        for name in names:
            result = jax.tree.map(lambda leaf, name=name: pmean(leaf, name) if _is_real(leaf) else leaf, result)
        return result

    return mean


def _is_real(leaf):
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def _is_shared(path, leaf) -> bool:
    entry = bool(path) and isinstance(path[0], jax.tree_util.DictKey) and path[0].key in SHARED_ENTRIES
    key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return entry or key or (jnp.ndim(leaf) == 0 and jnp.issubdtype(leaf.dtype, jnp.integer))


def _names(eqn: JaxprEqn) -> tuple:
    found = eqn.params.get("axes", eqn.params.get("axis_name", ()))
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)


def _bodies(eqn: JaxprEqn) -> Iterator[ClosedJaxpr | Jaxpr]:
    for value in eqn.params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, (ClosedJaxpr, Jaxpr)):
                yield item


def _open(body: ClosedJaxpr | Jaxpr) -> Jaxpr:
    return body.jaxpr if isinstance(body, ClosedJaxpr) else body


def _communicated(jaxpr: Jaxpr) -> Iterator:
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in _COMMUNICATING:
            yield from _names(eqn)
        for body in _bodies(eqn):
            yield from _communicated(_open(body))


def _varying(body: ClosedJaxpr | Jaxpr, inputs: Sequence[frozenset], axes: frozenset) -> list[frozenset]:
    """The axes over which each output may vary, given the axes of the inputs. Traced values of a closure may vary."""
    jaxpr = _open(body)
    known: dict[Any, frozenset] = dict(zip(jaxpr.invars, inputs, strict=True))
    known |= dict.fromkeys(jaxpr.constvars, axes)
    if isinstance(body, ClosedJaxpr):
        held = zip(jaxpr.constvars, body.consts, strict=True)
        known |= {variable: frozenset() for variable, value in held if not isinstance(value, Tracer)}
    for eqn in jaxpr.eqns:
        given = [frozenset() if isinstance(v, Literal) else known[v] for v in eqn.invars]
        known |= dict(zip(eqn.outvars, _outputs(eqn, given, axes), strict=True))
    return [frozenset() if isinstance(v, Literal) else known[v] for v in jaxpr.outvars]


def _outputs(eqn: JaxprEqn, given: list[frozenset], axes: frozenset) -> list[frozenset]:
    name, count, bodies = eqn.primitive.name, len(eqn.outvars), list(_bodies(eqn))
    if name in CALLS and len(bodies) == 1 and len(_open(bodies[0]).invars) == len(given):
        return _varying(bodies[0], given, axes)
    if name in _REDUCING and eqn.params.get("axis_index_groups") is None:
        return [varies - frozenset(_names(eqn)) for varies in (given if len(given) == count else given * count)]
    if name == "axis_index":
        return [frozenset(_names(eqn)) & axes]
    # In loops and branches, every value that varies, inside or outside, may reach every output.
    inside = [axes for body in bodies if _asks_for_index(_open(body))]
    return [frozenset().union(*given, *inside)] * count


def _asks_for_index(jaxpr: Jaxpr) -> bool:
    return any(
        eqn.primitive.name == "axis_index" or any(_asks_for_index(_open(body)) for body in _bodies(eqn))
        for eqn in jaxpr.eqns
    )
