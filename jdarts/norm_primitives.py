"""Batch normalisation of one image after the other, as CPUs want it, in primitives.

A trace holds one equation for a batch norm, for its derivative, and for the derivative of that, where the formulas have
a dozen, three dozen and a hundred; a third of what JAX traces of a supernet was batch norms. With the means taken
over the pixels of a channel, f = 1/√(var + eps) and y = f·(x − mean):

    standardise(x)      →  y, mean, var, f
    project(f, y, dx)   →  f·(dx − mean(dx) − y·along), mean(dx), along = mean(y·dx), and the changes of var and f

The second is linear in dx, and its first result is its own transpose, so it serves backward passes too. The third,
`project_jvp`, is the change of the second with f, y and dx.
"""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.interpreters import ad

from jdarts.own_primitives import bind_alike, make_primitive

# An image that is kept passes such a barrier, so that nobody copies it. What a sum reads is behind one of its own: if
# it is the same for all that is mapped, XLA then repeats it inside the sum, not in memory for all who read it.
_once = lax.optimization_barrier


def _channel_mean(x, axis_name: str | None = None):
    mean = jnp.sum(x, (0, 1, 2)) / prod(x.shape[:3])
    return mean if axis_name is None else lax.pmean(mean, axis_name)


def _standardise(x, *, eps: float, axis_name: str | None = None):
    mean = _channel_mean(x, axis_name)
    centred = x - mean
    var = _channel_mean(centred * centred, axis_name)
    factor = lax.rsqrt(var + eps)
    return _once(centred * factor), mean, var, factor


def _project(factor, y, dx, *, axis_name: str | None = None):
    dmean = _channel_mean(dx, axis_name)
    along = _channel_mean(_once(y) * dx, axis_name)
    return _once(factor * (dx - dmean - y * along)), dmean, along, 2 * along / factor, -factor * factor * along


def _project_jvp(factor, y, dx, dmean, along, dfactor, dy, ddx):
    """The last three are the changes of the first three; `dmean` and `along` are what `_project` found."""
    ddmean = _channel_mean(ddx)
    dalong = _channel_mean(dy * _once(dx) + _once(y) * ddx)
    moved = dfactor * (dx - dmean - y * along) + factor * (ddx - ddmean - dy * along - y * dalong)
    relative = dfactor / factor
    dvar = 2 * (dalong - along * relative) / factor
    return _once(moved), ddmean, dalong, dvar, -factor * factor * (dalong + 2 * along * relative)


# --- primitives and their derivatives -----------------------------------------------------------------------------


def _shapes(image, vectors: int):
    return [image.shape, *(image.shape[-1:] for _ in range(vectors))]


standardise_p = make_primitive("standardise", _standardise, lambda x: _shapes(x, 3), ("eps",))
project_p = make_primitive("standardise_project", _project, lambda factor, y, dx: _shapes(y, 4))
project_jvp_p = make_primitive("standardise_project_jvp", _project_jvp, lambda factor, y, *_: _shapes(y, 4))


def _jvp_of_standardise(primals, tangents, *, eps: float):
    results = standardise_p.bind(*primals, eps=eps)
    y, _, _, factor = results
    moved, dmean, _, dvar, dfactor = bind_alike(project_p, factor, y, ad.instantiate_zeros(tangents[0]))
    return results, [moved, dmean, dvar, dfactor]


def _jvp_of_project(primals, tangents):
    results = bind_alike(project_p, *primals)
    factor, y, _ = primals
    if type(tangents[0]) is type(tangents[1]) is ad.Zero:
        return results, bind_alike(project_p, factor, y, tangents[2])
    _, dmean, along, _, _ = results
    return results, bind_alike(project_jvp_p, *primals, dmean, along, *map(ad.instantiate_zeros, tangents))


def _jvp_of_project_jvp(primals, tangents):
    return jax.jvp(_project_jvp, primals, tuple(map(ad.instantiate_zeros, tangents)))


def _transpose_of_project(cts, factor, y, dx):
    if all(type(ct) is ad.Zero for ct in cts[1:]):
        return [None, None, bind_alike(project_p, factor, y, cts[0])[0]]
    return [None, None, *_transposed(partial(_project, factor, y), cts, [dx])]


def _transpose_of_project_jvp(cts, *arguments):
    known, changes = arguments[:5], arguments[5:]
    unknown = [ad.is_undefined_primal(change) for change in changes]

    def in_unknown(*values):
        rest = iter(values)
        zeros = map(jnp.zeros_like, known)  # the map is linear in all changes together
        return _project_jvp(*known, *(next(rest) if u else zero for u, zero in zip(unknown, zeros, strict=False)))

    found = iter(_transposed(in_unknown, cts, [change for change, u in zip(changes, unknown, strict=True) if u]))
    return [None] * 5 + [next(found) if u else None for u in unknown]


def _transposed(function: Callable, cts, arguments) -> Any:
    like = [jax.ShapeDtypeStruct(a.aval.shape, a.aval.dtype) for a in arguments]
    return jax.linear_transpose(function, *like)(tuple(map(ad.instantiate_zeros, cts)))


ad.primitive_jvps[standardise_p] = _jvp_of_standardise
ad.primitive_jvps[project_p] = _jvp_of_project
ad.primitive_jvps[project_jvp_p] = _jvp_of_project_jvp
ad.primitive_transposes[project_p] = _transpose_of_project
ad.primitive_transposes[project_jvp_p] = _transpose_of_project_jvp


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _over_axis(x, eps: float, axis_name: str):
    return _standardise(x, eps=eps, axis_name=axis_name)


@_over_axis.defjvp
def _over_axis_jvp(eps, axis_name, primals, tangents):
    results = _over_axis(*primals, eps, axis_name)
    y, _, _, factor = results
    moved, dmean, _, dvar, dfactor = _project(factor, y, *tangents, axis_name=axis_name)
    return results, (moved, dmean, dvar, dfactor)


def standardise(x: jax.Array, eps: float, axis_name: str | None = None) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`(x − mean) / √(var + eps)` per channel with the batch statistics of `x [N, H, W, C]`.

    Returns `(y, mean [C], biased variance [C])`, in float32 also for 16-bit `x`; with `axis_name` the statistics are
    means over that mesh axis too.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    results = standardise_p.bind(wide, eps=eps) if axis_name is None else _over_axis(wide, eps, axis_name)
    return results[0], results[1], results[2]
