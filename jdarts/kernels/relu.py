"""ReLU for CPUs, which stores only one byte per pixel for its derivative.

JAX's derivative selects between a gradient and an image of zeros. A compiled piece of a network stores this image, like
all values that are known before the gradient. Here the selection is a primitive, `gate(mask, g)`, which is linear in g
and its own transpose.
"""

import jax
import jax.numpy as jnp
from jax.interpreters import ad

from jdarts.kernels.own_primitives import bind_alike, linear_in, make_primitive

gate_p = make_primitive("gate", lambda mask, g: [jnp.where(mask, g, 0)], lambda mask, g: [g.shape])


def _transpose_of_gate(cts, mask, g):
    (ct,) = cts
    return [None, ad.Zero(g.aval) if type(ct) is ad.Zero else bind_alike(gate_p, mask, ct)[0]]


linear_in(gate_p, lambda count: (range(1, 2),))
ad.primitive_transposes[gate_p] = _transpose_of_gate


@jax.custom_jvp
def relu(x: jax.Array) -> jax.Array:
    """`max(x, 0)`, with derivative 0 at 0, like `flax.linen.relu`."""
    return jnp.maximum(x, 0)


@relu.defjvp
def _relu_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return relu(x), bind_alike(gate_p, x > 0, dx)[0]
