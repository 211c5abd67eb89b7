"""Single-DARTS (Hou, Jin, Chen 2021, arXiv:2108.08128): one level, one batch and one backward pass for both.

Weights and alphas move at once by the gradients of the same training loss; op weights are sigmoids. NAS-Bench-201: 50
epochs, batch 64, SGD 0.005, argmax derivation; 94.36 in five of five runs. `sigmoid_star` starts the alphas where a
sigmoid is 1/|O| (−ln(|O| − 1)). The paper's code is not available; the alphas' learning rate (3e-4, as in DARTS) and
the weight decays are not verified.

With sigmoids `none` is never derived. It adds zero to its edge, so its alpha has no gradient: the alpha stays where it
starts, and says nothing about the edge. With a softmax its gradient comes from the normalisation, and NAS-Bench-201
takes the plain argmax. DIFF: the paper does not say how its derivation treats `none`; the cell that it finds has none.

Its three-way ablation of the data for the alphas' gradient: `batches="same"` (the method), "same_split" (another batch
of the training split), "two_splits" (bilevel, a batch of the validation split).
"""

import math
from typing import Literal

from jdarts import relaxation
from jdarts.methods.method import Method
from jdarts.methods.published import ALL_IMAGES, HALVES, on_cells, on_nasbench201
from jdarts.methods.registry import register


@register
def single_darts(
    *,
    weights: Literal["sigmoid", "sigmoid_star", "softmax"] = "sigmoid",
    batches: Literal["same", "same_split", "two_splits"] = "same",
) -> Method:
    """Single-DARTS; `weights` is the relaxation."""
    sigmoid = weights != "softmax"
    settings = {
        **(HALVES if batches == "two_splits" else ALL_IMAGES),
        "search.weight_optimizer.learning_rate": 0.005,
        "search.weight_optimizer.learning_rate_min": 0.0,
    }
    return Method(
        name="single_darts",
        paper="Hou, Jin, Chen, 2021, arXiv:2108.08128",
        summary="single level: weights and alphas move by one gradient of one batch; sigmoid relaxation",
        relax=_sigmoid if sigmoid else None,
        derive_weights=relaxation.sigmoid if sigmoid else None,
        init_alphas=_at_softmax_mean if weights == "sigmoid_star" else None,
        without_none=sigmoid or None,
        hypergradient="single_level" if batches == "same" else "first_order",
        alpha_data="train" if batches == "same_split" else None,
        published=(
            on_cells("CIFAR-10 test error 2.46 %, of a cell searched on ImageNet; settings of NAS-Bench-201", settings),
            on_nasbench201("CIFAR-10 test accuracy 94.36 ± 0 %, five runs", settings),
        ),
    )


def _sigmoid(alphas, key, clock, space):
    del key, clock, space
    return relaxation.sigmoid(alphas)


def _at_softmax_mean(space, key, scale):
    alphas = space.init_alphas(key, scale)
    return {name: a - math.log(a.shape[1] - 1) for name, a in alphas.items()}
