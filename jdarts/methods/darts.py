"""DARTS (Liu, Simonyan, Yang 2019, arXiv:1806.09055): softmax, bilevel, first or exact second order.

Published: 50 epochs, batch 64; weights SGD 0.025 → 0.001 cosine, momentum 0.9, decay 3e-4, clip 5; alphas Adam 3e-4,
betas (0.5, 0.999), coupled decay 1e-3; the alphas move first. CIFAR-10 test error 3.00 ± 0.14 % (first order), 2.76 ±
0.09 % (second). DIFF: the paper starts the alphas at zero, its code at 1e-3 · N(0, 1), and ends the cosine at 0 and
0.001; the code is followed. The code's second order is a finite difference; `unrolled` is the exact product, and
`finite_difference` remains available as a hypergradient.
"""

from typing import Literal

from jdarts.methods.method import Method
from jdarts.methods.published import NESTEROV, on_cells, on_nasbench201
from jdarts.methods.registry import register


@register
def darts(*, order: Literal["first", "second"] = "second") -> Method:
    """DARTS with its first-order or exact second-order hypergradient."""
    return Method(
        name="darts",
        paper="Liu, Simonyan, Yang, ICLR 2019, arXiv:1806.09055",
        summary="softmax relaxation, alphas on validation data through one training step",
        hypergradient="unrolled" if order == "second" else "first_order",
        published=(
            on_cells("CIFAR-10 test error 2.76 ± 0.09 %, first order 3.00 ± 0.14 %, the best of four searches"),
            on_nasbench201("CIFAR-10 test accuracy 54.30 ± 0 %, first and second order (arXiv:2001.00326)", NESTEROV),
        ),
    )
