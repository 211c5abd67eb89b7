"""DARTS-PT (Wang et al., ICLR 2021, arXiv:2108.04392): derivation by the loss of accuracy, not by the alphas.

After any search, edges are decided one after the other, in random order. An edge keeps the op whose removal costs the
most validation accuracy (its weight is set to 0, those of the others stay; batch norms use batch statistics). After
each decision the supernet, alphas included, is tuned for a few epochs with a tenth of the search's learning rate. Then,
in DARTS cells, nodes in random order keep the two edges whose removal costs the most.

Compose it with the search method: `compose(sdarts_rs(), darts_pt())`; alone it follows first-order DARTS.
`fixed_alphas` is the blank variant: the op weights stay uniform. CIFAR-10 2.61 ± 0.08 %, NAS-Bench-201 error 11.89
(blank 6.20) %. The driver is `jdarts.search.drivers.darts_pt`.
"""

import jax.numpy as jnp

from jdarts.config.ranges import CountOrOff
from jdarts.methods.method import Method
from jdarts.methods.published import on_cells, on_nasbench201
from jdarts.methods.registry import register


@register
def darts_pt(*, tune_epochs: CountOrOff = 5, fixed_alphas: bool = False) -> Method:
    """DARTS-PT; `tune_epochs` epochs of tuning follow each decision."""
    blank = (
        (lambda space, key, scale: {c: jnp.zeros(s) for c, s in space.alpha_shapes.items()}) if fixed_alphas else None
    )
    return Method(
        name="darts_pt",
        paper="Wang et al., ICLR 2021, arXiv:2108.04392",
        summary="perturbation-based derivation with tuning between decisions",
        hypergradient="first_order",
        init_alphas=blank,
        alphas_fixed=fixed_alphas or None,
        driver="darts_pt",
        options={"tune_epochs": tune_epochs},
        published=(
            on_cells("CIFAR-10 test error 2.61 ± 0.08 %"),
            on_nasbench201("CIFAR-10 test error 11.89 %", {"search.epochs": 100}),
        ),
    )
