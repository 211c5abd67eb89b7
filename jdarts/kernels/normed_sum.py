"""The weighted sum of batch-normalised images, for CPUs, in primitives.

Most ops of a mixed edge end in a batch norm. Its derivative needs the sums Σ y_k·c over the pixels of each channel,
where y_k is the output of the norm of op k and c the gradient of the edge. The gradient by the op weights needs Σ y_k·c
over all pixels and channels, which is the sum of these numbers. One function of weights p and images x computes both in
one pass. The gradients p_k·c of the ops are never stored, and second derivatives store c once instead of once per op.
With f_k and means over pixels as in `jdarts.kernels.norm_primitives`:

    normed_sum(p, x)            →  Σ_k p_k·y_k, y, mean, var, f
    tangent(p, f, y, dp, dx)    →  the tangents of these results
    gradient(p, f, y, c)        →  (Σ y_k·c)_k, p_k·f_k·(c − mean(c) − y_k·mean(y_k·c)), mean(c), mean(y_k·c)

`tangent` is linear in (dp, dx), and `gradient` is linear in c. The first results of each are the transpose of the
other. A fourth primitive, `gradient_jvp`, has the tangents of the results of `gradient` for tangents of p, f, y and c.
"""

from collections.abc import Sequence
from math import prod

import jax
import jax.numpy as jnp
from jax.interpreters import ad

from jdarts.kernels.norm_primitives import channel_mean, once, project, standardise_and_factor
from jdarts.kernels.own_primitives import bind_alike, make_primitive, transpose_linear
from jdarts.kernels.weighted_sum import entries, mix, mix_p


def _split(values: Sequence, *counts: int) -> list:
    """Consecutive parts of `values`: a list for a count above 0, a single value for a count of 0."""
    parts, rest = [], list(values)
    for count in counts:
        parts.append(rest[:count] if count else rest[0])
        rest = rest[count or 1 :]
    return parts


def _normed_sum(p, *x, eps: float):
    y, mean, var, factor = zip(*(standardise_and_factor(image, eps=eps) for image in x), strict=True)
    return [*mix(p, *y), *y, *mean, *var, *factor]


def _tangent(*args):
    k = (len(args) - 2) // 3
    p, factor, y, dp, dx = _split(args, 0, k, k, 0, k)
    dy, dmean, _, dvar, dfactor = zip(*map(project, factor, y, dx), strict=True)
    return [mix(dp, *y)[0] + mix(p, *dy)[0], *dy, *dmean, *dvar, *dfactor]


def _gradient(*args):
    k = (len(args) - 2) // 2
    p, factor, y, c = _split(args, 0, k, k, 0)
    pixels = prod(c.shape[:3])
    mean = channel_mean(c)
    along = [channel_mean(once(image) * c) for image in y]
    slopes = [weight * f for weight, f in zip(entries(p), factor, strict=True)]
    moved = [once(s * (c - mean - image * a)) for s, image, a in zip(slopes, y, along, strict=True)]
    return [pixels * jnp.stack([jnp.sum(a) for a in along]), *moved, mean, *along]


def _gradient_jvp(*args):
    k = (len(args) - 5) // 5
    p, factor, y, c, mean, along, dp, dfactor, dy, dc = _split(args, 0, k, k, 0, 0, k, 0, k, k, 0)
    pixels = prod(c.shape[:3])
    dmean = channel_mean(dc)
    dalong = [channel_mean(dimage * once(c) + once(image) * dc) for image, dimage in zip(y, dy, strict=True)]
    moved = []
    for weight, f, dweight, df, image, dimage, a, da in zip(
        entries(p), factor, entries(dp), dfactor, y, dy, along, dalong, strict=True
    ):
        slope, dslope = weight * f, dweight * f + weight * df
        moved.append(once(dslope * (c - mean - image * a) + slope * (dc - dmean - dimage * a - image * da)))
    return [pixels * jnp.stack([jnp.sum(a) for a in dalong]), *moved, dmean, *dalong]


# --- primitives and their derivatives -----------------------------------------------------------------------------


def _sum_shapes(image, k: int):
    return [image.shape] * (1 + k) + [image.shape[-1:]] * (3 * k)


def _gradient_shapes(image, k: int):
    return [(k,), *[image.shape] * k, *[image.shape[-1:]] * (1 + k)]


normed_sum_p = make_primitive("normed_sum", _normed_sum, lambda p, *x: _sum_shapes(x[0], p.size), ("eps",))
tangent_p = make_primitive("normed_sum_tangent", _tangent, lambda p, *rest: _sum_shapes(rest[-1], p.size))
gradient_p = make_primitive("normed_sum_gradient", _gradient, lambda p, *rest: _gradient_shapes(rest[-1], p.size))
gradient_jvp_p = make_primitive(
    "normed_sum_gradient_jvp", _gradient_jvp, lambda p, *rest: _gradient_shapes(rest[-1], p.size)
)


def _zeros(tangents):
    return map(ad.instantiate_zeros, tangents)


def _all_zero(tangents) -> bool:
    return all(type(t) is ad.Zero for t in tangents)


def _unmoved(results):
    return [ad.Zero(jax.typeof(result)) for result in results]


def _jvp_of_normed_sum(primals, tangents, *, eps: float):
    results = normed_sum_p.bind(*primals, eps=eps)
    p, k = primals[0], len(primals) - 1
    _, y, _, _, factor = _split(results, 0, k, k, k, k)
    if _all_zero(tangents[1:]):
        return results, [*bind_alike(mix_p, tangents[0], *y), *_unmoved(results[1:])]
    return results, bind_alike(tangent_p, p, *factor, *y, *_zeros(tangents))


def _jvp_of_tangent(primals, tangents):
    return jax.jvp(_tangent, primals, tuple(_zeros(tangents)))


def _jvp_of_gradient(primals, tangents):
    results = bind_alike(gradient_p, *primals)
    k = primals[0].size
    if _all_zero(tangents[1:-1]):
        return results, _without_moved_images(primals, results, tangents[0], tangents[-1])
    return results, bind_alike(gradient_jvp_p, *primals, *results[1 + k :], *_zeros(tangents))


def _without_moved_images(primals, results, dp, dc):
    """The derivative if only p and c move; of the results of `gradient`, only the K images depend on p, linearly."""
    along_p, along_c = _unmoved(results), _unmoved(results)
    k = primals[0].size
    if type(dp) is not ad.Zero:
        along_p[1 : 1 + k] = bind_alike(gradient_p, dp, *primals[1:])[1 : 1 + k]
    if type(dc) is not ad.Zero:
        along_c = bind_alike(gradient_p, *primals[:-1], dc)
    return [ad.add_tangents(a, b) for a, b in zip(along_p, along_c, strict=True)]


def _jvp_of_gradient_jvp(primals, tangents):
    return jax.jvp(_gradient_jvp, primals, tuple(_zeros(tangents)))


def _transpose_of_tangent(cts, *args):
    known = len(args) - 1 - args[0].size
    if not _all_zero(cts[1:]):
        return transpose_linear(_tangent, cts, args, known)
    found = bind_alike(gradient_p, *args[:known], ad.instantiate_zeros(cts[0]))[: len(args) - known]
    return [None] * known + [v if ad.is_undefined_primal(a) else None for v, a in zip(found, args[known:], strict=True)]


def _transpose_of_gradient(cts, *args):
    k = (len(args) - 2) // 2
    if ad.is_undefined_primal(args[0]):  # the K images are linear in p, see `_without_moved_images`
        ones = jnp.ones(k, args[0].aval.dtype)
        images = bind_alike(gradient_p, ones, *args[1:])[1 : 1 + k]
        pairs = zip(_zeros(cts[1 : 1 + k]), images, strict=True)
        return [jnp.stack([jnp.sum(ct * image) for ct, image in pairs])] + [None] * (len(args) - 1)
    if not _all_zero(cts[1 + k :]):
        return transpose_linear(_gradient, cts, args, len(args) - 1)
    return [None] * (len(args) - 1) + [bind_alike(tangent_p, *args[:-1], *_zeros(cts[: 1 + k]))[0]]


def _transpose_of_gradient_jvp(cts, *args):
    return transpose_linear(_gradient_jvp, cts, args, len(args) - 2 - 2 * args[0].size)


ad.primitive_jvps[normed_sum_p] = _jvp_of_normed_sum
ad.primitive_jvps[tangent_p] = _jvp_of_tangent
ad.primitive_jvps[gradient_p] = _jvp_of_gradient
ad.primitive_jvps[gradient_jvp_p] = _jvp_of_gradient_jvp
ad.primitive_transposes[tangent_p] = _transpose_of_tangent
ad.primitive_transposes[gradient_p] = _transpose_of_gradient
ad.primitive_transposes[gradient_jvp_p] = _transpose_of_gradient_jvp


def normed_sum(
    weights: jax.Array, images: Sequence[jax.Array], eps: float
) -> tuple[jax.Array, list[jax.Array], list[jax.Array]]:
    """`Σ_k weights_k · (x_k − mean) / √(var + eps)` for `weights [K]` and K ≥ 1 images `x_k [N, H, W, C]`.

    Mean and variance are those of the batch, per channel. Returns `(sum, K means [C], K biased variances [C])`, in
    float32 also for 16-bit images.
    """
    wide = [x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in images]
    results = bind_alike(normed_sum_p, weights.astype(wide[0].dtype), *wide, eps=eps)
    total, _, means, variances, _ = _split(results, 0, *[len(images)] * 4)
    return total, means, variances
