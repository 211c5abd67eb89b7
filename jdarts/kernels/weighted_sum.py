"""The weighted sum over the ops of a mixed edge as a primitive, so that it is one equation in a trace.

For K weights p, K images y and one image c, the number Σ_k p_k·⟨y_k, c⟩ is linear in each of the three. Its three
gradients are bilinear maps and each other's transposes:

    mix(p, y) = Σ_k p_k·y_k        spread(p, c) = (p_k·c)_k        match(y, c) = (⟨y_k, c⟩)_k
"""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add

import jax
import jax.numpy as jnp
from jax import lax
from jax.interpreters import ad

from jdarts.kernels.own_primitives import bind_alike, linear_in, make_primitive


def entries(p):
    """The entries of `p [K]` as a list of scalars."""
    return [lax.reshape(entry, ()) for entry in lax.split(p, [1] * p.size)]


def mix(p, *y):
    """`[Σ_k p_k·y_k]`."""
    return [reduce(add, (weight * image for weight, image in zip(entries(p), y, strict=True)))]


def _spread(p, c):
    return [weight * c for weight in entries(p)]


def _match(c, *y):
    pairs = [lax.optimization_barrier((image, c)) for image in y]  # for mapped images, see `norm_primitives._once`
    return [jnp.stack([jnp.sum(image * own) for image, own in pairs])]


mix_p = make_primitive("mix", mix, lambda p, *y: [y[0].shape])
spread_p = make_primitive("spread", _spread, lambda p, c: [c.shape] * p.size)
match_p = make_primitive("match", _match, lambda c, *y: [(len(y),)])


def _given(found: Callable[[], list[jax.Array]], *arguments) -> list[jax.Array | None]:
    """`found()` for undefined primals among the `arguments`, None for known arguments."""
    asked = [ad.is_undefined_primal(argument) for argument in arguments]
    if not any(asked):
        return [None] * len(arguments)
    return [v.astype(a.aval.dtype) if ask else None for v, a, ask in zip(found(), arguments, asked, strict=True)]


def _transpose_mix(cts, p, *y):
    (c,) = map(ad.instantiate_zeros, cts)
    return [*_given(lambda: bind_alike(match_p, c, *y), p), *_given(lambda: bind_alike(spread_p, p, c), *y)]


def _transpose_spread(cts, p, c):
    cts = [ad.instantiate_zeros(ct) for ct in cts]
    return [*_given(lambda: bind_alike(match_p, c, *cts), p), *_given(lambda: bind_alike(mix_p, p, *cts), c)]


def _transpose_match(cts, c, *y):
    (p,) = map(ad.instantiate_zeros, cts)
    return [*_given(lambda: bind_alike(mix_p, p, *y), c), *_given(lambda: bind_alike(spread_p, p, c), *y)]


for _primitive, _transpose in ((mix_p, _transpose_mix), (spread_p, _transpose_spread), (match_p, _transpose_match)):
    linear_in(_primitive, lambda count: (range(1), range(1, count)))
    ad.primitive_transposes[_primitive] = _transpose


def weighted_sum(weights: jax.Array, images: Sequence[jax.Array]) -> jax.Array:
    """Σ_k weights_k · images_k, for `weights [K]` and K ≥ 1 arrays of one shape."""
    return bind_alike(mix_p, weights, *images)[0]
