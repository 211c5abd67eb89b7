"""DrNAS (Chen et al., ICLR 2021, arXiv:2006.10355): op weights sampled from a Dirichlet distribution.

Each forward pass draws one sample for every edge, with concentration ELU(α) + 1, and gradients pass through the sample.
Bilevel, first order. The prior pulls the alphas to 0, either as Adam's weight decay of 1e-3 or as `kl` times the
divergence from Dirichlet(1). NAS-Bench-201: 100 epochs, 94.36 ± 0.

`drnas_progressive` is the form for S0 (7 ops, 20 cells, 36 channels, CIFAR-10 2.46 ± 0.03 %): two stages of 25 epochs,
in each of which the alphas are frozen for the first 10. In the first stage 1/6 of the channels pass through the ops.
For the second every edge keeps its 4 ops with the largest softmax, and the supernet keeps its weights and is widened to
1/4 of the channels (`search.drivers.drnas`). SGD 0.1 → 0, batch 64, Adam 6e-4. For NAS-Bench-201: parts=1,1, keep=3, 50
+ 50 epochs.
"""

from dataclasses import replace
from typing import Annotated

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln

from jdarts import relaxation
from jdarts.config.ranges import CountOrOff, NonNegative, PositiveInt, Range
from jdarts.config.swept import is_off
from jdarts.errors import UserError
from jdarts.methods.method import Method
from jdarts.methods.published import on_cells, on_nasbench201
from jdarts.methods.registry import register
from jdarts.networks.edges import EdgeSettings

PROGRESSIVE = {
    "space.name": "darts_cnn_7",
    "space.channels": 36,
    "space.cells": 20,
    "search.weight_optimizer.learning_rate": 0.1,
    "search.weight_optimizer.learning_rate_min": 0.0,
    "search.alpha_optimizer.learning_rate": 6e-4,
}


@register
def drnas(*, kl: NonNegative = 0.0) -> Method:
    """DrNAS; `kl` weighs the divergence from the uniform Dirichlet distribution (1e-3 in the code's variant)."""
    return Method(
        name="drnas",
        paper="Chen et al., ICLR 2021, arXiv:2006.10355",
        summary="op weights sampled from a Dirichlet distribution, with its reparameterised gradient",
        relax=lambda alphas, key, clock, space: relaxation.dirichlet(alphas, key),
        derive_weights=relaxation.softmax,
        hypergradient="first_order",
        regularizer=(lambda alphas, key, clock, space: kl * divergence(alphas)) if not is_off(kl) else None,
        published=(on_nasbench201("CIFAR-10 test accuracy 94.36 ± 0 % (README of its code)", {"search.epochs": 100}),),
    )


@register
def drnas_progressive(
    *,
    parts: tuple[PositiveInt, ...] = (6, 4),
    keep: Annotated[int, Range(2)] = 4,
    frozen: CountOrOff = 10,
    kl: NonNegative = 0.0,
) -> Method:
    """DrNAS in two stages, each half of the epochs; `parts` is K by stage, `keep` the number of ops in the second.

    Raises `UserError` unless `parts` has two values, the second no larger.
    """
    if len(parts) != 2 or parts[1] > parts[0]:
        raise UserError(f"parts of drnas_progressive is {parts}; give K of both stages, the second no larger, e.g. 6,4")
    return replace(
        drnas(kl=kl),
        name="drnas_progressive",
        summary="drnas in two stages: fewer ops and more channels in the second, weights kept",
        edge=EdgeSettings(partial_channels=parts[0]),
        alpha_start=frozen or None,
        driver="drnas",
        options={"parts": parts, "keep": keep, "frozen": frozen},
        published=(on_cells("CIFAR-10 test error 2.46 ± 0.03 % (README of its code)", PROGRESSIVE),),
    )


def divergence(alphas):
    """Mean over the edges of KL(Dirichlet(ELU(α) + 1) ‖ Dirichlet(1)), of alphas `[edges, ops]` by cell type."""

    def one(a):
        c = jax.nn.elu(a) + 1
        total = jnp.sum(c, -1)
        expected_log = jnp.sum((c - 1) * (digamma(c) - digamma(total)[:, None]), -1)
        return gammaln(total) - jnp.sum(gammaln(c), -1) - gammaln(float(a.shape[-1])) + expected_log

    return jnp.mean(jnp.concatenate([one(a) for a in alphas.values()]))
