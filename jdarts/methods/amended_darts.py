"""Amended-DARTS (Bi et al. 2019, arXiv:1910.11831): ηH instead of the inverse Hessian of the implicit gradient.

`∂_α L_val − η ∇²_{αw} L_train H v` at the current weights, η = 0.1 (from memory of the paper; there is no official
code). The products are exact; the published form takes two finite differences (`jdarts.hypergrad.amended`).
"""

from jdarts.config.ranges import NonNegative
from jdarts.methods.method import Method
from jdarts.methods.published import on_cells
from jdarts.methods.registry import register


@register
def amended_darts(*, coefficient: NonNegative = 0.1) -> Method:
    """Amended-DARTS; `coefficient` is η."""
    return Method(
        name="amended_darts",
        paper="Bi et al., 2019, arXiv:1910.11831",
        summary="second-order correction with a sign guarantee, no unrolling",
        hypergradient="amended",
        hypergradient_options={"coefficient": coefficient},
        published=(on_cells("CIFAR-10 test error about 2.6 to 2.7 % (recalled)"),),
    )
