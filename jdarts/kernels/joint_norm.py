"""Batch normalisation of many images at once, for accelerators: few kernels, and no stored values that are cheap.

A batch norm takes several kernels of a few microseconds each, and a mixed edge has nine batch norms. Here the
statistics of all images that are available at the same time are computed by one pair of reductions: each image is
summed in blocks of pixels, and one more kernel adds up the blocks of all images. `mix_standardised` also includes the
weighted sum over the ops in the derivative, because batch norm and the gradient by the op weights need the same sums.

The derivative consists of two maps that are linear in each argument and each other's transposes:

    scaled(v, images) → v · image, channel by channel        dots(images, others) → Σ over pixels of image · other

`grad`, `jvp` and any composition of them therefore keep the joint form. Where a derivative needs the standardised
images, they are recomputed from the images (`jax.checkpoint`); a backward pass stores only the images.

Letters: N images, H × W pixels, C channels. `[Σ C]` is a vector of the channels of all images, concatenated.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import gcd, isqrt, prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.interpreters import ad

from jdarts.kernels.own_primitives import bind_alike, linear_in, make_primitive

_SAVED = "jdarts_saved"


def saved(x: jax.Array) -> jax.Array:
    """Mark a value that the backward pass of `recomputing` stores; it recomputes most other values."""
    return checkpoint_name(x, _SAVED)


def _is_saved(primitive, *_, **params) -> bool:
    return primitive.name in ("conv_general_dilated", "dot_general") or params.get("name") == _SAVED


def recomputing(function: Callable) -> Callable:
    """`function` with a backward pass that stores only convolutions, matrix products and `saved` values.

    All other values are recomputed in the kernels that need them. On an accelerator this is faster than writing and
    reading them.
    """
    return jax.checkpoint(function, policy=_is_saved, prevent_cse=False)


def by_image(vector: jax.Array, images: Sequence[jax.Array]) -> list[jax.Array]:
    """Cut a vector `[Σ C]` into one vector `[C]` per image."""
    return list(lax.split(vector, [x.shape[-1] for x in images]))


def block_sums(x: jax.Array) -> jax.Array:
    """Sums of `x [N, H, W, C]` over blocks of pixels, `[blocks, C]`; about √(N·H·W) blocks of √(N·H·W) pixels."""
    pixels = prod(x.shape[:-1])
    blocks = gcd(pixels, 1 << (isqrt(pixels).bit_length() - 1))
    return jnp.sum(x.reshape(blocks, pixels // blocks, x.shape[-1]), 1)


def _sums(images: Sequence[jax.Array]) -> jax.Array:
    """Sums over pixels, `[Σ C]`, by at most one kernel per image and one kernel for the blocks of all images."""
    blocks = lax.optimization_barrier([block_sums(x) for x in images])  # or XLA merges both into one slow reduction
    return jnp.sum(jnp.concatenate(blocks, -1), 0)


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


# --- two maps and their derivatives -------------------------------------------------------------------------------


def _scaled(vector, *images):
    return [x * v for x, v in zip(images, by_image(vector, images), strict=True)]


def _dots(*images):
    half = len(images) // 2
    return [_sums([a * b for a, b in zip(images[:half], images[half:], strict=True)])]


_scaled_p = make_primitive("scaled", _scaled, lambda vector, *images: [x.shape for x in images])
_dots_p = make_primitive("dots", _dots, lambda *images: [(sum(x.shape[-1] for x in images[: len(images) // 2]),)])


def scaled(vector: jax.Array, images: Sequence[jax.Array]) -> list[jax.Array]:
    """Every image `[N, H, W, C]` times its part of `vector [Σ C]`, channel by channel; the shapes do not change."""
    return bind_alike(_scaled_p, vector, *images)


def dots(images: Sequence[jax.Array], others: Sequence[jax.Array]) -> jax.Array:
    """Sums over pixels of the products of two lists of images `[N, H, W, C]` → `[Σ C]`."""
    return bind_alike(_dots_p, *images, *others)[0]


linear_in(_scaled_p, lambda n: (range(1), range(1, n)))
linear_in(_dots_p, lambda n: (range(n // 2), range(n // 2, n)))


def _transpose_scaled(cts, vector, *images):
    cts = [ad.instantiate_zeros(ct) for ct in cts]
    if ad.is_undefined_primal(vector):
        return [dots(cts, images).astype(vector.aval.dtype), *(None for _ in images)]
    grads = scaled(vector, cts)
    return [None, *(g.astype(x.aval.dtype) for g, x in zip(grads, images, strict=True))]


def _transpose_dots(cts, *images):
    (ct,) = cts
    half = len(images) // 2
    unknown = slice(0, half) if ad.is_undefined_primal(images[0]) else slice(half, None)
    known = images[half:] if unknown.start == 0 else images[:half]
    result: list[Any] = [None] * len(images)
    if type(ct) is not ad.Zero:
        grads = scaled(ct, known)
        result[unknown] = [g.astype(x.aval.dtype) for g, x in zip(grads, images[unknown], strict=True)]
    return result


ad.primitive_transposes[_scaled_p] = _transpose_scaled
ad.primitive_transposes[_dots_p] = _transpose_dots


# --- batch normalisation ------------------------------------------------------------------------------------------


def moments(images: Sequence[jax.Array], axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance of every channel of every image, `[Σ C]` each; each image is read once.

    The first pixel is subtracted before squaring, so that a large mean does not cancel significant digits. With
    `axis_name` the moments are also over that mesh axis.
    """
    wide = [_wide(x) for x in images]
    origins = [x[:1, :1, :1] for x in wide]
    distances = [x - origin for x, origin in zip(wide, origins, strict=True)]
    sums = _sums([*distances, *(d * d for d in distances)]) / prod(images[0].shape[:-1])
    first, second = jnp.split(sums, 2)
    mean = jnp.concatenate([origin.reshape(-1) for origin in origins]) + first
    var = second - first * first
    if axis_name is not None:
        common = lax.pmean(mean, axis_name)
        mean, var = common, lax.pmean(var + (mean - common) ** 2, axis_name)
    return mean, var


def _standard(images, mean, factor):
    return [
        (_wide(x) - m) * f for x, m, f in zip(images, by_image(mean, images), by_image(factor, images), strict=True)
    ]


def _mean_dots(tangents, images, axis_name: str | None):
    """Means over pixels of `tangents`, and of `tangents` times `images`, `[Σ C]` each."""
    ones = [jnp.ones_like(x) for x in images]
    sums = dots([*tangents, *tangents], [*ones, *images]) / prod(images[0].shape[:-1])
    return jnp.split(sums if axis_name is None else lax.pmean(sums, axis_name), 2)


_again = partial(jax.checkpoint, prevent_cse=False)  # derivatives recompute the values that they need


def _saved_moments(results):
    value, mean, var = results
    return value, saved(mean), saved(var)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def standardise_each(images: list[jax.Array], rectified: tuple[bool, ...], eps: float, axis_name: str | None = None):
    """`(x − mean) / √(var + eps)` per channel, for several images `[N, H, W, C]` with the same number of pixels.

    Returns `(list of results, mean [Σ C], biased variance [Σ C])`, in float32 also for 16-bit images. Results of
    `rectified` images are max(·, 0).
    """
    mean, var = moments(images, axis_name)
    standard = _standard(images, mean, lax.rsqrt(var + eps))
    return [jnp.maximum(y, 0) if r else y for y, r in zip(standard, rectified, strict=True)], mean, var


@standardise_each.defjvp
def _standardise_each_jvp(rectified, eps, axis_name, primals, tangents):
    (images,) = primals
    results, mean, var = _saved_moments(standardise_each(images, rectified, eps, axis_name))

    @_again
    def tangent(images, mean, factor, changes):
        standard = _standard(images, mean, factor)
        changes = [_wide(dx) for dx in changes]
        dmean, along = _mean_dots(changes, standard, axis_name)
        ones = [jnp.ones_like(y) for y in standard]
        count = len(images)
        terms = scaled(jnp.concatenate([-factor * dmean, -factor * along]), [*ones, *standard])
        moved = [a + b + c for a, b, c in zip(scaled(factor, changes), terms[:count], terms[count:], strict=True)]
        moved = [jnp.where(y > 0, d, 0) if r else d for d, y, r in zip(moved, standard, rectified, strict=True)]
        return moved, dmean, 2 * along / factor

    return (results, mean, var), tangent(images, mean, lax.rsqrt(var + eps), *tangents)


@partial(jax.custom_jvp, nondiff_argnums=(4, 5))
def mix_standardised(
    images: list[jax.Array],
    weights: list[jax.Array],
    plain: list[jax.Array],
    plain_weights: list[jax.Array],
    eps: float,
    axis_name: str | None = None,
):
    """Σ weight · (x − mean) / √(var + eps) over `images` + Σ weight · x over `plain`; all `[N, H, W, C]` of one shape.

    Weights are `[C]`. Returns `(sum [N, H, W, C], mean [Σ C], biased variance [Σ C])` with the statistics of `images`,
    in float32 also for 16-bit images.
    """
    mean, var = moments(images, axis_name)
    standard = _standard(images, mean, lax.rsqrt(var + eps))
    pairs = zip([*standard, *plain], [*weights, *plain_weights], strict=True)
    return _total([_wide(y) * _wide(p) for y, p in pairs]), mean, var


@mix_standardised.defjvp
def _mix_standardised_jvp(eps, axis_name, primals, tangents):
    total, mean, var = _saved_moments(mix_standardised(*primals, eps, axis_name))

    @_again
    def tangent(primals, mean, factor, tangents):
        images, weights, plain, plain_weights = primals
        changes, weight_changes, plain_changes, plain_weight_changes = ([_wide(d) for d in ds] for ds in tangents)
        standard = _standard(images, mean, factor)
        dmean, along = _mean_dots(changes, standard, axis_name)
        slopes = jnp.concatenate([_wide(p) for p in weights]) * factor
        constant = _total(by_image(-slopes * dmean, images))
        linear = jnp.concatenate(weight_changes) - slopes * along
        ones = jnp.ones_like(standard[0])
        values = [ones, *standard, *(_wide(x) for x in plain)]
        terms = scaled(jnp.concatenate([constant, linear, *plain_weight_changes]), values)
        terms += scaled(jnp.concatenate([slopes, *(_wide(p) for p in plain_weights)]), [*changes, *plain_changes])
        return _total(terms), dmean, 2 * along / factor

    return (total, mean, var), tangent(primals, mean, lax.rsqrt(var + eps), tangents)


def _total(terms):
    return sum(terms[1:], terms[0])
