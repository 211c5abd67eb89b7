"""Batch normalisation of one image at a time, for CPUs, in primitives.

A trace has one equation each for a batch norm, its derivative and its second derivative, where the formulas have a
dozen, three dozen and a hundred. With the formulas, batch norms were a third of the trace of a supernet. Means are
taken over the pixels of a channel, f = 1/√(var + eps), y = f·(x − mean):

    standardise(x)      →  y, mean, var, f
    project(f, y, dx)   →  f·(dx − mean(dx) − y·along), mean(dx), along = mean(y·dx), tangents of var and f

`project` is linear in dx. As a function of dx, its first result is its own transpose, so backward passes use it, too.
A third primitive, `project_jvp`, has the tangents of the results of `project` for tangents of f, y and dx.

A batch norm with scale s and shift b has two primitives of its own. The transpose of the second is one `project`, whose
means are also the gradients of s and b: four sums over the image become two, and g·s is not stored.

    normalise(x, s, b)               →  s·y + b, y, mean, var, f
    moved(f, s, y, dx, ds, db)       →  s·dy + ds·y + db, dy, tangents of mean, var and f    with dy = project(f, y, dx)
"""

from functools import partial
from math import prod

import jax
import jax.numpy as jnp
from jax import lax
from jax.interpreters import ad

from jdarts.kernels.own_primitives import bind_alike, make_primitive, transpose_linear

# An image that is stored passes through this barrier, so that it is not copied. The operand of a sum passes through
# another one: if `vmap` does not map the operand, XLA broadcasts it inside the sum and not in memory for all readers.
once = lax.optimization_barrier


def channel_mean(x, axis_name: str | None = None):
    """The mean over the pixels of a channel: `[N, H, W, C]` → `[C]`."""
    mean = jnp.sum(x, (0, 1, 2)) / prod(x.shape[:3])
    return mean if axis_name is None else lax.pmean(mean, axis_name)


def standardise_and_factor(x, *, eps: float, axis_name: str | None = None):
    """`(y, mean, var, f)`; see the module's docstring."""
    mean = channel_mean(x, axis_name)
    centred = x - mean
    var = channel_mean(centred * centred, axis_name)
    factor = lax.rsqrt(var + eps)
    return once(centred * factor), mean, var, factor


def project(factor, y, dx, *, axis_name: str | None = None):
    """`(f·(dx − mean(dx) − y·along), mean(dx), along, tangent of var, tangent of f)`; see the module's docstring."""
    dmean = channel_mean(dx, axis_name)
    along = channel_mean(once(y) * dx, axis_name)
    return once(factor * (dx - dmean - y * along)), dmean, along, 2 * along / factor, -factor * factor * along


def _project_jvp(factor, y, dx, dmean, along, *tangents):
    """The tangents of the results of `project(factor, y, dx)` for `tangents` of its three arguments.

    `dmean` and `along` are results of `project`.
    """
    dfactor, dy, ddx = tangents
    ddmean = channel_mean(ddx)
    dalong = channel_mean(dy * once(dx) + once(y) * ddx)
    moved = dfactor * (dx - dmean - y * along) + factor * (ddx - ddmean - dy * along - y * dalong)
    relative = dfactor / factor
    dvar = 2 * (dalong - along * relative) / factor
    return once(moved), ddmean, dalong, dvar, -factor * factor * (dalong + 2 * along * relative)


def _normalise(x, scale, bias, *, eps: float):
    y, mean, var, factor = standardise_and_factor(x, eps=eps)
    return once(scale * y + bias), y, mean, var, factor


def _moved(factor, scale, y, dx, dscale, dbias):
    dy, dmean, _, dvar, dfactor = project(factor, y, dx)
    return scale * dy + dscale * y + dbias, dy, dmean, dvar, dfactor


# --- primitives and their derivatives -----------------------------------------------------------------------------


def _shapes(image, vectors: int):
    return [image.shape, *(image.shape[-1:] for _ in range(vectors))]


standardise_p = make_primitive("standardise", standardise_and_factor, lambda x: _shapes(x, 3), ("eps",))
project_p = make_primitive("standardise_project", project, lambda factor, y, dx: _shapes(y, 4))
project_jvp_p = make_primitive("standardise_project_jvp", _project_jvp, lambda factor, y, *_: _shapes(y, 4))


def _shapes_of_normalised(image):
    return [image.shape, image.shape, *(image.shape[-1:] for _ in range(3))]


normalise_p = make_primitive("normalise", _normalise, lambda x, *_: _shapes_of_normalised(x), ("eps",))
moved_p = make_primitive("normalise_moved", _moved, lambda factor, scale, y, *_: _shapes_of_normalised(y))


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
    return transpose_linear(project, cts, (factor, y, dx), 2)


def _transpose_of_project_jvp(cts, *arguments):
    return transpose_linear(_project_jvp, cts, arguments, 5)


def _jvp_of_normalise(primals, tangents, *, eps: float):
    results = normalise_p.bind(*primals, eps=eps)
    _, y, _, _, factor = results
    return results, bind_alike(moved_p, factor, primals[1], y, *map(ad.instantiate_zeros, tangents))


def _jvp_of_moved(primals, tangents):
    return jax.jvp(_moved, primals, tuple(map(ad.instantiate_zeros, tangents)))


def _transpose_of_moved(cts, factor, scale, y, *changes):
    if type(cts[0]) is ad.Zero or not all(type(ct) is ad.Zero for ct in cts[1:]):
        return transpose_linear(_moved, cts, (factor, scale, y, *changes), 3)
    back, mean, along, _, _ = bind_alike(project_p, factor * scale, y, cts[0])
    pixels = prod(y.shape[:3])
    found = (back, pixels * along, pixels * mean)
    asked = (each if ad.is_undefined_primal(change) else None for each, change in zip(found, changes, strict=True))
    return [None, None, None, *asked]


ad.primitive_jvps[normalise_p] = _jvp_of_normalise
ad.primitive_jvps[moved_p] = _jvp_of_moved
ad.primitive_transposes[moved_p] = _transpose_of_moved
ad.primitive_jvps[standardise_p] = _jvp_of_standardise
ad.primitive_jvps[project_p] = _jvp_of_project
ad.primitive_jvps[project_jvp_p] = _jvp_of_project_jvp
ad.primitive_transposes[project_p] = _transpose_of_project
ad.primitive_transposes[project_jvp_p] = _transpose_of_project_jvp


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _over_axis(x, eps: float, axis_name: str):
    return standardise_and_factor(x, eps=eps, axis_name=axis_name)


@_over_axis.defjvp
def _over_axis_jvp(eps, axis_name, primals, tangents):
    results = _over_axis(*primals, eps, axis_name)
    y, _, _, factor = results
    moved, dmean, _, dvar, dfactor = project(factor, y, *tangents, axis_name=axis_name)
    return results, (moved, dmean, dvar, dfactor)


def standardise(x: jax.Array, eps: float, axis_name: str | None = None) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`(x − mean) / √(var + eps)` per channel with the batch statistics of `x [N, H, W, C]`.

    Returns `(y, mean [C], biased variance [C])`, in float32 also for 16-bit `x`. With `axis_name` the statistics are
    also means over that mesh axis.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    results = standardise_p.bind(wide, eps=eps) if axis_name is None else _over_axis(wide, eps, axis_name)
    return results[0], results[1], results[2]


def normalise(x: jax.Array, scale: jax.Array, bias: jax.Array, eps: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`scale · (x − mean) / √(var + eps) + bias` with the batch statistics of `x [N, H, W, C]`, float32 or wider.

    Returns `(result, mean [C], biased variance [C])`.
    """
    result, _, mean, var, _ = bind_alike(normalise_p, x, scale, bias, eps=eps)
    return result, mean, var
