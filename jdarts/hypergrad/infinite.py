"""Products along a direction u with infinite or NaN coordinates.

A coordinate whose weight does not influence the differentiated function (for example, the weight of an input that is
always zero) contributes nothing, however large its entry of u. If there are such coordinates, a second product, along a
finite direction on these coordinates alone, shows whether the weights have influence.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jdarts.hypergrad.types import PyTree


def along(product: Callable, u: PyTree, singular: bool, *start: PyTree) -> PyTree:
    """`product(u, *start)`, which is `start` plus a part linear in u.

    Non-finite coordinates of u count as zero in each element of the result that does not depend on them; an element
    that depends on one is NaN. `singular` is true if u can have such coordinates. If it is false, this is
    `product(u, *start)` at no extra cost.
    """
    if not singular:
        return product(u, *start)
    wrong = jax.tree.map(lambda leaf: ~jnp.isfinite(leaf), u)
    result = product(jax.tree.map(lambda leaf, bad: jnp.where(bad, 0, leaf), u, wrong), *start)
    nowhere = jax.tree.map(jnp.zeros_like, result)

    def influence():
        return product(jax.tree.map(generic, u, wrong), *jax.tree.map(jnp.zeros_like, start))

    probe = jax.lax.cond(anywhere(wrong), influence, lambda: nowhere)
    return jax.tree.map(lambda leaf, effect: jnp.where(effect != 0, jnp.nan, leaf), result, probe)


def anywhere(masks: PyTree) -> jax.Array:
    """True if a mask holds anywhere."""
    return jnp.stack([jnp.any(mask) for mask in jax.tree.leaves(masks)]).any()


def generic(leaf: jax.Array, where: jax.Array) -> jax.Array:
    """A direction on the coordinates `where`; its entries differ, so that effects do not cancel by chance."""
    numbers = 1.5 + jnp.sin(jnp.arange(leaf.size, dtype=jnp.result_type(float)) ** 2)
    return jnp.where(where, numbers.reshape(leaf.shape).astype(leaf.dtype), 0)
