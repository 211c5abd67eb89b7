"""DARTS+ (Liang et al. 2019, arXiv:1909.06035): first-order DARTS that stops before it collapses.

Criterion "skips": stop after the first epoch whose derived normal cell has two skip connections or more. Criterion
"ranking": stop when, on every edge, the order of the ops with weights has not changed for ten epochs. No official code;
this library reads the paper's ranking as one over the ops with weights, edge by edge. CIFAR-10 2.37 ± 0.13 % with
2,000 epochs of retraining.
"""

from typing import Annotated, Literal

from jdarts.config.options import Unless
from jdarts.config.ranges import PositiveInt
from jdarts.methods.method import Method
from jdarts.methods.published import on_cells
from jdarts.methods.registry import register
from jdarts.stopping import stable_ranking, too_many_skips


@register
def darts_plus(
    *,
    criterion: Literal["skips", "ranking"] = "skips",
    skips: Annotated[PositiveInt, Unless("criterion", "ranking")] = 2,
    patience: Annotated[PositiveInt, Unless("criterion", "skips")] = 10,
) -> Method:
    """DARTS+ with either stop rule."""
    return Method(
        name="darts_plus",
        paper="Liang et al., 2019, arXiv:1909.06035",
        summary="first-order DARTS, stopped at the second skip connection or at a stable ranking",
        hypergradient="first_order",
        stop=too_many_skips(skips) if criterion == "skips" else stable_ranking(patience),
        published=(on_cells("CIFAR-10 test error 2.37 ± 0.13 %, after retraining for 2,000 epochs"),),
    )
