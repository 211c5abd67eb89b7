"""SETN (Dong & Yang, ICCV 2019, arXiv:1910.05733): uniform paths train the weights, the softmax mixture the alphas.

The weights move first, on one uniformly random op an edge (no gradient clipping in the code); the alphas move by the
whole mixture on validation data. At the end the 100 most probable architectures are evaluated with the shared weights
on one validation batch, and the best is returned. NAS-Bench-201: 250 epochs; 87.64 (first release), 86.19 ± 4.63.
"""

from jdarts import relaxation
from jdarts.config.ranges import CandidateCount
from jdarts.derivation import best_of, most_probable, refuse_stacks_of_nasbench201
from jdarts.methods.method import Method
from jdarts.methods.published import NESTEROV, on_nasbench201
from jdarts.methods.registry import register


@register
def setn(*, candidates: CandidateCount = 100) -> Method:
    """SETN; `candidates` architectures are evaluated at the end."""

    def derive(space, p, evaluate, key):
        if evaluate is None:
            return space.derive(p)
        return best_of(space, most_probable(space, p, candidates, key, log=True), evaluate)

    return Method(
        name="setn",
        paper="Dong & Yang, ICCV 2019, arXiv:1910.05733",
        summary="weights trained on uniformly random paths; the best of the most probable cells",
        relax_weights=lambda alphas, key, clock, space: relaxation.uniform_one_hot(alphas, key),
        hypergradient="first_order",
        order="weights_first",
        derive=derive,
        check=refuse_stacks_of_nasbench201,
        compares=True,
        log_scores=True,
        published=(
            on_nasbench201(
                "CIFAR-10 test accuracy 86.19 ± 4.63 % (arXiv:2001.00326, later release)",
                {**NESTEROV, "search.epochs": 250, "search.weight_optimizer.gradient_clip": 0.0},
            ),
        ),
    )
