"""DropNAS (Hong et al., IJCAI 2020, arXiv:2207.04969): ops dropped in two groups, one level.

In every step each op of an edge is dropped with probability r^(1/|group|), r = 3e-5. The groups are the ops with
weights and those without; at least one op of each group survives. The softmax runs over the kept ops. Dropped alphas do
not move, and the kept ones are shifted after their step so that their total probability stays the same. 76 epochs, 14
cells, SGD 0.0375 → 0.0015, clip 3; derivation compares raw alphas; CIFAR-10 97.42 ± 0.14 %. DIFF: the code decays
weights and alphas in a second step through Adam, masked by gradient size, and lets Adam's momentum move dropped alphas;
here decay is the optimisers' coupled one, and dropped alphas do not move.
"""

import jax
import jax.numpy as jnp

from jdarts import relaxation
from jdarts.config.ranges import Fraction
from jdarts.methods.method import Method
from jdarts.methods.published import ALL_IMAGES, on_cells
from jdarts.methods.registry import register
from jdarts.ops.candidates import has_weights

SETTINGS = {
    **ALL_IMAGES,
    "space.cells": 14,
    "search.epochs": 76,
    "search.batch_size": 96,
    "search.weight_optimizer.learning_rate": 0.0375,
    "search.weight_optimizer.learning_rate_min": 0.0015,
    "search.weight_optimizer.gradient_clip": 3.0,
}


@register
def drop_nas(*, rate: Fraction = 3e-5) -> Method:
    """DropNAS; `rate` is r, the probability that a whole group would be dropped."""
    return Method(
        name="drop_nas",
        paper="Hong et al., IJCAI 2020, arXiv:2207.04969",
        summary="grouped dropout of candidate ops, single level",
        relax=lambda alphas, key, clock, space: relaxation.masked_softmax(alphas, draw_mask(alphas, key, space, rate)),
        derive_weights=lambda alphas: dict(alphas),
        hypergradient="single_level",
        post_update=lambda old, new, key, clock, space: adjust(old, new, draw_mask(old, key, space, rate)),
        published=(on_cells("CIFAR-10 test error 2.58 ± 0.14 %", SETTINGS),),
    )


def draw_mask(alphas, key, space, rate: float):
    """0/1 masks `[edges, ops]` of the ops that run, by cell type; at least one op of each group of an edge runs."""
    return {
        name: _draw_mask(a, jax.random.fold_in(key, i), space.tables[name], rate)
        for i, (name, a) in enumerate(sorted(alphas.items()))
    }


def _draw_mask(a, key, table, rate):
    with_weights = jnp.array([[has_weights(op, 1) for op in ops] for ops in table])
    keep = jnp.zeros(a.shape, bool)
    drop_key, rescue_key = jax.random.split(key)
    draw, rescue = jax.random.uniform(drop_key, a.shape), jax.random.uniform(rescue_key, a.shape)
    for group in (with_weights, ~with_weights):
        size = jnp.sum(group, -1, keepdims=True)
        survives = group & (draw >= rate ** (1 / jnp.maximum(size, 1)))
        one = group & (rescue == jnp.max(jnp.where(group, rescue, -1.0), -1, keepdims=True))
        keep |= jnp.where(jnp.any(survives, -1, keepdims=True), survives, one)
    return keep.astype(a.dtype)


def adjust(old, new, keep):
    """`new` alphas, but the old ones where an op was dropped; on such an edge the others are shifted together, so that
    their total probability stays the same.
    """

    def one(a, b, k):
        b = jnp.where(k > 0, b, a)
        before = jax.nn.logsumexp(jnp.where(k > 0, a, -jnp.inf), axis=-1, keepdims=True)
        after = jax.nn.logsumexp(jnp.where(k > 0, b, -jnp.inf), axis=-1, keepdims=True)
        some = jnp.any(k == 0, -1, keepdims=True)
        return jnp.where((k > 0) & some, b + before - after, b)

    return {name: one(old[name], new[name], keep[name]) for name in new}
