"""DrNAS (Chen et al., ICLR 2021, arXiv:2006.10355): op weights sampled from a Dirichlet distribution.

One sample an edge and forward pass, concentration ELU(α) + 1, differentiated through; bilevel, first order. The prior
pulls the alphas to 0: by Adam's decay 1e-3, or by `kl` times the divergence from Dirichlet(1). NAS-Bench-201: 100
epochs, 94.36 ± 0. The progressive stages on S0 (partial channels, then pruning and widening) are not included; compose
with pc_darts for partial channels alone.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln

from jdarts import relaxation
from jdarts.config import is_off
from jdarts.methods.method import Method
from jdarts.methods.registry import register


@register
def drnas(*, kl: float = 0.0) -> Method:
    """DrNAS; `kl` weighs the divergence from the uniform Dirichlet distribution (1e-3 in the code's variant)."""
    return Method(
        name="drnas",
        paper="Chen et al., ICLR 2021, arXiv:2006.10355",
        summary="op weights sampled from a Dirichlet distribution, with its reparameterised gradient",
        relax=lambda alphas, key, clock, space: relaxation.dirichlet(alphas, key),
        derive_weights=relaxation.softmax,
        hypergradient="first_order",
        regularizer=(lambda alphas, key, clock, space: kl * divergence(alphas)) if not is_off(kl) else None,
    )


def divergence(alphas):
    """Mean over the edges of KL(Dirichlet(ELU(α) + 1) ‖ Dirichlet(1))."""

    def one(a):
        c = jax.nn.elu(a) + 1
        total = jnp.sum(c, -1)
        entropic = jnp.sum((c - 1) * (digamma(c) - digamma(total)[:, None]), -1)
        return gammaln(total) - jnp.sum(gammaln(c), -1) - gammaln(float(a.shape[-1])) + entropic

    return jnp.mean(jnp.concatenate([one(a) for a in alphas.values()]))
