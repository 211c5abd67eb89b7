"""JAX primitives made from functions of arrays.

A primitive is a single equation in a trace, and it has its own rules for derivatives and transposes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jdarts.jax_versions import varying_axes

Shape = tuple[int, ...]


def make_primitive(
    name: str, body: Callable, shapes: Callable[..., Sequence[Shape]], params: tuple[str, ...] = ()
) -> Primitive:
    """A primitive of `body`, which takes arrays and, by name, the hashable `params`, and returns a list of arrays.

    `shapes(*types of the arguments)` returns the shapes of the results. Their dtype is the widest of the arguments'.
    """
    primitive = Primitive(f"jdarts_{name}")
    primitive.multiple_results = True
    jitted = jax.jit(body, static_argnames=params)  # traced once for all programs

    def abstract(*avals, **_):
        dtype = jnp.result_type(*(a.dtype for a in avals))
        return [avals[0].update(shape=tuple(shape), dtype=dtype, weak_type=False) for shape in shapes(*avals)]

    def batch(args, dims, **values):
        results = jax.vmap(partial(body, **values), list(dims))(*args)
        return results, [0] * len(results)

    primitive.def_impl(jitted)
    primitive.def_abstract_eval(abstract)
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(jitted, multiple_results=True))
    return primitive


def bind_alike(primitive: Primitive, *args, **params):
    """Bind after making all arguments vary over the same mesh axes (`shard_map` with `check_vma`)."""
    axes = [varying_axes(a) for a in args]
    union = frozenset().union(*axes)
    args = [
        lax.pcast(a, tuple(sorted(union - have)), to="varying") if union - have else a
        for a, have in zip(args, axes, strict=True)
    ]
    return primitive.bind(*args, **params)


def linear_in(primitive: Primitive, groups: Callable[[int], Sequence[range]]) -> None:
    """Declare that a primitive without parameters is linear in each of several groups of arguments.

    `groups(number of arguments)` returns the places of each group. Arguments in no group have no derivative.
    """

    def jvp(primals, tangents):
        out = bind_alike(primitive, *primals)
        totals: list[Any] = [None] * len(out)
        for group in groups(len(primals)):
            if all(type(tangents[i]) is ad.Zero for i in group):
                continue
            args = [ad.instantiate_zeros(tangents[i]) if i in group else primals[i] for i in range(len(primals))]
            moved = bind_alike(primitive, *args)
            totals = [b if a is None else a + b for a, b in zip(totals, moved, strict=True)]
        return out, [ad.Zero(jax.typeof(o)) if t is None else t for o, t in zip(out, totals, strict=True)]

    ad.primitive_jvps[primitive] = jvp


def transpose_linear(function: Callable, cts: Sequence[Any], args: Sequence[Any], known: int) -> list[Any]:
    """The transpose of `function(*args) -> results`, which is jointly linear in all arguments from place `known` on.

    It is a transpose rule for a primitive: `cts` may be symbolic zeros, and known arguments get None.
    """
    changes = args[known:]
    unknown = [ad.is_undefined_primal(change) for change in changes]

    def in_unknown(*values):
        rest = iter(values)
        filled = (next(rest) if u else jnp.zeros_like(c) for u, c in zip(unknown, changes, strict=True))
        return tuple(function(*args[:known], *filled))

    asked = [change.aval for change, u in zip(changes, unknown, strict=True) if u]
    like = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in asked]
    found = iter(jax.linear_transpose(in_unknown, *like)(tuple(map(ad.instantiate_zeros, cts))))
    return [None] * known + [next(found) if u else None for u in unknown]
