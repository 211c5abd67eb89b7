"""β-DARTS (Ye et al., CVPR 2022, arXiv:2203.01665): a growing penalty on the logsumexp of every edge.

Outer loss `L_val + λ_e · mean_edges logsumexp(α)`; λ_e = 50 e / 100 over the 100 epochs on NAS-Bench-201 (94.36 ± 0),
and with the same slope to 25 over 50 epochs on S0 (from memory). First order; Adam's decay 1e-3 stays. Large alphas are
pulled down more strongly: the gradient is λ softmax(α) / edges.
"""

import jax
import jax.numpy as jnp

from jdarts.config.ranges import NonNegative
from jdarts.methods.method import Method
from jdarts.methods.published import on_cells, on_nasbench201
from jdarts.methods.registry import register
from jdarts.schedules import ramp


@register
def beta_darts(*, weight: NonNegative = 50.0) -> Method:
    """β-DARTS; `weight` is the value of λ one epoch after the last."""
    strength = ramp(0.0, weight, reached="after")
    return Method(
        name="beta_darts",
        paper="Ye et al., CVPR 2022, arXiv:2203.01665",
        summary="regularises the softmax-activated alphas by their logsumexp, ever more strongly",
        hypergradient="first_order",
        regularizer=lambda alphas, key, clock, space: strength(clock) * mean_logsumexp(alphas),
        published=(
            on_cells("CIFAR-10 test error 2.53 ± 0.08 % (recalled, and so is weight=25)", options=("weight=25",)),
            on_nasbench201("CIFAR-10 test accuracy 94.36 ± 0 %", {"search.epochs": 100}),
        ),
    )


def mean_logsumexp(alphas):
    """Mean over all edges of `logsumexp(α)`, of alphas `[edges, ops]` by cell type."""
    return jnp.mean(jnp.concatenate([jax.nn.logsumexp(a, axis=-1) for a in alphas.values()]))
