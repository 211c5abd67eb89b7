"""PR-DARTS (Zhou et al., NeurIPS 2020, arXiv:2006.16537): sparse hard-concrete gates and a path-depth term.

The gate of an op is `g = clip(a + (b − a) σ((α + logit u) / τ), 0, 1)` with a = −0.1, b = 1.1 and u uniform; τ falls
from 1 to 0.1. Op dropout (0.4) removes gates at random. Of the others the two largest of each edge run, with
straight-through gradients. The weights move first. The genotype has the two best (edge, op) pairs of each node.

The validation loss gains 0.01 R_skip + 0.005 (R_other + R_pool) − 0.005 R_path. Let `π = σ(α − τ ln(−a/b))`, the
probability of an open gate. R of a group of ops is the mean π of its sampled entries minus 0.20, at least 0. R_path is
the product, over the edges from each node to the next one, of the mean π of the sampled ops with weights.

DIFF: this follows the code, with three groups and thresholds; the paper has two groups, and τ starts at 10.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jdarts import relaxation
from jdarts.config.ranges import Fraction, NonNegative, Positive
from jdarts.derivation import best_pairs
from jdarts.methods.method import Method
from jdarts.methods.published import NESTEROV, on_cells
from jdarts.methods.registry import register
from jdarts.ops.candidates import has_weights
from jdarts.schedules import ramp

LOW, HIGH = -0.1, 1.1
POOLS, SKIPS = ("max_pool_3x3", "avg_pool_3x3"), ("skip_connect",)


@register
def pr_darts(
    *,
    temperature_start: Positive = 1.0,
    temperature_end: Positive = 0.1,
    op_dropout: Fraction = 0.4,
    skip_weight: NonNegative = 0.01,
    other_weight: NonNegative = 0.005,
    path_weight: NonNegative = 0.005,
) -> Method:
    """PR-DARTS with the weights of its three terms."""
    temperature = ramp(temperature_start, temperature_end)

    def relax(alphas, key, clock, space):
        del space
        return {c: a[1] for c, a in _gates(alphas, key, temperature(clock), op_dropout).items()}

    def regularizer(alphas, key, clock, space):
        tau = temperature(clock)
        sampled = {c: a[0] for c, a in _gates(alphas, key, tau, op_dropout).items()}
        active = {c: jax.nn.sigmoid(a - tau * jnp.log(-LOW / HIGH)) for c, a in alphas.items()}
        groups = {c: _groups(space.tables[c]) for c in alphas}
        total = 0.0
        for group, weight in (("skip", skip_weight), ("other", other_weight), ("pool", other_weight)):
            means = [_mean(active[c], sampled[c] * groups[c][group]) for c in alphas]
            total += weight * jnp.maximum(sum(means) / len(means) - 0.2, 0)
        paths = [_path(active[c], sampled[c] * groups[c]["weights"], space.edges) for c in alphas]
        return total - path_weight * sum(paths) / len(paths)

    return Method(
        name="pr_darts",
        paper="Zhou et al., NeurIPS 2020, arXiv:2006.16537",
        summary="sparse hard-concrete gates, regularised by groups of ops and by path depth",
        relax=relax,
        derive_weights=relaxation.softmax,
        regularizer=regularizer,
        hypergradient="first_order",
        order="weights_first",
        derive=lambda space, p, evaluate, key: best_pairs(space, p),
        published=(
            on_cells(
                "CIFAR-10 test error 2.32 % (recalled)",
                {**NESTEROV, "space.cells": 6, "search.epochs": 200, "search.batch_size": 250},
            ),
        ),
    )


def _gates(alphas, key, tau, op_dropout):
    """`(0/1 mask of the two ops that run, straight-through op weights)`, each `[edges, ops]`, by cell type."""

    def one(a, k):
        gate_key, drop_key, tie_key = jax.random.split(k, 3)
        u = jax.random.uniform(gate_key, a.shape, a.dtype, 1e-6, 1 - 1e-6)
        g = jnp.clip(LOW + (HIGH - LOW) * jax.nn.sigmoid((a + jnp.log(u) - jnp.log1p(-u)) / tau), 0, 1)
        rank = lax.stop_gradient(g) - jax.random.bernoulli(drop_key, op_dropout, a.shape)
        rank += 1e-6 * jax.random.uniform(tie_key, a.shape)
        second = jnp.sort(rank, -1)[:, -min(2, a.shape[-1])][:, None]
        mask = (rank >= second).astype(a.dtype)
        return mask, lax.stop_gradient(mask - g) + g

    keys = jax.random.split(key, len(alphas))
    return {c: one(alphas[c], k) for c, k in zip(sorted(alphas), keys, strict=True)}


def _groups(table):
    member = {
        "skip": lambda op: op in SKIPS,
        "pool": lambda op: op in POOLS,
        "weights": lambda op: has_weights(op, 1),
        "other": lambda op: op not in SKIPS and op not in POOLS,
    }
    return {name: jnp.array([[float(test(op)) for op in ops] for ops in table]) for name, test in member.items()}


def _mean(values, mask):
    return jnp.sum(values * mask) / jnp.maximum(jnp.sum(mask), 1)


def _path(active, mask, edges):
    """Product of the mean activity of the sampled ops over the edges from each node to the next one.

    Edges without a sampled op are skipped.
    """
    product = jnp.ones(())
    for row, (source, target) in enumerate(edges):
        if target == source + 1:
            product *= jnp.where(jnp.sum(mask[row]) > 0, _mean(active[row], mask[row]), 1.0)
    return product
