"""DARTS- (Chu et al., ICLR 2021, arXiv:2009.01027): an auxiliary skip on every edge, whose weight β decays to 0.

`y = β_t · skip(x) + Σ_o softmax(α)_o o(x)`; the skip among the candidates stays. First order, the alphas first, all
settings are DARTS'. β = 1 falls linearly over the 50 epochs (0.02 in the last); in longer searches only over the last
50 (`last_epochs=50`). Derivation drops the auxiliary skip. Published: CIFAR-10 2.59 ± 0.08 %; NAS-Bench-201 93.80 ±
0.40. DIFF: the published cosine counts from epoch 0 even where the decay begins later; here it counts from the start of
the decay. The step form is in the paper's ablation without milestones (`jdarts.schedules.decay`).
"""

from typing import Annotated, Literal

from jdarts.config.options import Unless
from jdarts.config.ranges import NonNegative, Range
from jdarts.methods.method import Method
from jdarts.methods.published import NESTEROV, on_cells, on_nasbench201
from jdarts.methods.registry import register
from jdarts.networks.edges import EdgeSettings
from jdarts.schedules import decay as decay_schedule

_WITH_SKIP = Unless("beta", 0.0)


@register
def darts_minus(
    *,
    beta: NonNegative = 1.0,
    decay: Annotated[Literal["linear", "cosine", "slow_cosine", "step"], _WITH_SKIP] = "linear",
    last_epochs: Annotated[int, Range(0, note="0 is all epochs"), _WITH_SKIP] = 0,
    auxiliary: Annotated[Literal["identity", "conv1"], _WITH_SKIP] = "identity",
) -> Method:
    """DARTS-; `auxiliary="conv1"` uses a 1 × 1 convolution that starts as the identity instead of the skip."""
    return Method(
        name="darts_minus",
        paper="Chu et al., ICLR 2021, arXiv:2009.01027",
        summary="auxiliary skip connection next to the candidates, fading out",
        hypergradient="first_order",
        edge=EdgeSettings(auxiliary_skip=auxiliary),
        edge_values={"auxiliary_skip": decay_schedule(beta, decay, last_epochs=last_epochs)},
        published=(
            on_cells("CIFAR-10 test error 2.59 ± 0.08 %"),
            on_nasbench201("CIFAR-10 test accuracy 93.80 ± 0.40 %", NESTEROV),
        ),
    )
