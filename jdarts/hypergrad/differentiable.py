"""Derivatives of losses: several ways to compute one value are tried; one clear error is raised if none works."""

from collections.abc import Callable, Hashable

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from jdarts.errors import UserError
from jdarts.hypergrad.checks import first_line, name_of
from jdarts.hypergrad.types import Loss, split_arrays

_ERRORS = (TypeError, ValueError, NotImplementedError)  # raised by JAX for operations without a derivative


def once(loss: Loss, derivative: Callable) -> Callable:
    """`derivative`, a first derivative of `loss`, with one clear error if JAX cannot take it."""

    def taken(*arguments):
        try:
            return derivative(*arguments)
        except _ERRORS as error:
            raise UserError(f"the loss {name_of(loss)} cannot be differentiated: {first_line(error)}") from error

    return taken


def twice(
    loss: Loss,
    *ways: Callable,
    instead: str = "first_order, single_level and finite_difference take only one derivative",
) -> Callable:
    """The first of `ways` that JAX can trace, chosen at every call; all compute the same second derivative of `loss`.

    Raises `UserError` if none works; `instead` says what else to do. JAX raises its error about a `custom_vjp` in
    forward mode only at compilation, so the trace is searched for one.
    """
    known: dict[Hashable, list[Callable]] = {}

    def taken(*arguments):
        arrays, rebuild, rest = split_arrays(arguments)
        causes: dict[str, Exception | None] = {}
        if rest not in known:
            known[rest] = [jax.jit(_of_arrays(way, rebuild)) for way in ways]
        for way in known[rest]:
            try:
                closed = jax.make_jaxpr(way)(arrays)
            except _ERRORS as error:
                causes.setdefault(first_line(error), error)
                continue
            if not _pushes_custom_vjp(closed.jaxpr):
                return way(arrays)  # not traced again
            causes.setdefault("a jax.custom_vjp has no forward-mode derivative", None)
        told = " | ".join(causes)
        raise UserError(f"the loss {name_of(loss)} cannot be differentiated twice: {told}; {instead}") from next(
            (error for error in causes.values() if error is not None), None
        )

    return taken


def _of_arrays(way, rebuild):
    return lambda arrays: way(*rebuild(arrays))


def _pushes_custom_vjp(jaxpr: Jaxpr) -> bool:
    return any(
        eqn.primitive.name == "custom_lin"
        or any(
            _pushes_custom_vjp(item.jaxpr if isinstance(item, ClosedJaxpr) else item)
            for value in eqn.params.values()
            for item in (value if isinstance(value, (tuple, list)) else (value,))
            if isinstance(item, (ClosedJaxpr, Jaxpr))
        )
        for eqn in jaxpr.eqns
    )
